"""Connections of four workers to PostgreSQL: Tonnage's engine against SQLAlchemy's default pools.

The same application (:mod:`benchmarks.pooled`) with the same database, which allows
``--max-connections``, in turn. After a warm-up the clients ask at once three times: with nothing
amiss, while the server is killed and started again, and while connections are ended under their
requests.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tests.support.postgres import PostgresServer, why_not

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.memory import tree_kilobytes
from benchmarks.peers import PEERS
from benchmarks.record import Result, machine, milliseconds, quantile
from benchmarks.server import REST_SECONDS, Server
from benchmarks.timeline import Answer, ask, counting, restart

SUMMARY = "connections to PostgreSQL: our pools against SQLAlchemy's, with faults"

WAYS = {
    "plain": ("uvicorn", "SQLAlchemy, default pool, uvicorn"),
    "engine": ("tonnage-workers", "db.async_engine"),
    "threads": ("tonnage-workers", "db.engine, in threads"),
    "async_pool": ("tonnage-workers", "db.async_pool"),
    "pool": ("tonnage-workers", "db.pool, in threads"),
}
#: What all connections of ours are called at the server.
NAME = "pooled"
WARM_SECONDS = 3.0
AWAY_SECONDS = 0.5
ENDED = 20
"""Connections that are ended under their requests, one after another."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one way has shown."""

    way: str
    most_connections: int
    served: int
    failed: dict[int, int]
    p50_seconds: float
    p99_seconds: float
    worst_seconds: float
    per_second: float
    pss_kilobytes: int
    # While the server was restarted, and before and after that.
    failed_before_gap: int
    failed_in_gap: int
    failed_afterwards: int
    back_seconds: float
    ended: int
    failed_by_ends: int

    def row(self) -> list[str]:
        """Return the row of the table."""
        return [
            WAYS[self.way][1], str(self.most_connections), f"{self.per_second:,.0f}",
            f"{self.served:,}", f"{sum(self.failed.values()):,}",
            milliseconds(self.p50_seconds), milliseconds(self.p99_seconds),
            milliseconds(self.worst_seconds), f"{self.failed_in_gap:,}",
            f"{self.failed_afterwards:,}", milliseconds(self.back_seconds),
            f"{self.failed_by_ends:,} of {self.ended}", f"{self.pss_kilobytes / 1024:.1f}",
        ]  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_limit(parser)
    parser.add_argument(
        "--ways", default="plain,engine,threads,async_pool,pool", help="with commas"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of the three loads")
    parser.add_argument("--clients", type=int, default=200, help="that ask at once")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--pool", type=int, default=5, help="connections of each worker")
    parser.add_argument("--max-connections", type=int, default=50, help="that the server allows")
    parser.add_argument("--ms", type=int, default=20, help="how long each query takes")


def run(chosen: argparse.Namespace) -> Result:
    """Measure each way."""
    reason = why_not()
    if reason is not None:
        sys.exit(f"no PostgreSQL: {reason}")
    before = machine()
    found = []
    for way in chosen.ways.split(","):
        found.append(_measure(way, chosen))
        print(" | ".join(found[-1].row()), flush=True)
        time.sleep(REST_SECONDS)
    return result(found, chosen, before)


def result(found: Sequence[Found], chosen: argparse.Namespace, before: dict[str, Any]) -> Result:
    """Return the table of what was *found*, on the machine as it was *before*."""
    return Result(
        name="pools",
        title=f"{chosen.clients} clients, {chosen.workers} workers, {chosen.pool} connections each,"
        f" queries of {chosen.ms} ms, {chosen.max_connections} connections allowed",
        columns=["way", "most connections", "requests/s", "served", "failed", "p50", "p99",
                 "longest", "failed in the gap", "failed afterwards", "back after",
                 "failed of those ended", "PSS MB"],
        rows=[each.row() for each in found],
        notes=[
            "most connections: of the application, asked from the server the whole time by another"
            " connection. The superuser asks, for whom no connection is reserved.",
            f"gap: the server is killed, and started again {AWAY_SECONDS:g} s later; until a probe"
            " beside the application, which tries all the time, has a connection. back after: from"
            " then until the last request that failed.",
            f"ended: pg_terminate_backend, {ENDED} times, each under a request that runs; those are"
            " to fail, and no other.",
            "PSS: of all processes of the server after the first load, PostgreSQL not among them."
            " Clients, workers and PostgreSQL share two cores.",
        ],
        machine=before,
        details={"found": [asdict(each) for each in found]},
    )  # fmt: skip


def _measure(way: str, chosen: argparse.Namespace) -> Found:
    peer = PEERS[WAYS[way][0]]
    with (
        PostgresServer(max_connections=str(chosen.max_connections)) as postgres,
        MemoryBox(chosen.limit) as box,
    ):
        url = postgres.url
        if way != "plain":
            url += f"&connection_limit={chosen.pool}"
        environment = peer.environment | {
            "DATABASE_URL": url,
            "POOLED": way,
            "POOLED_NAME": NAME,
        }
        named = replace(peer, environment=environment)
        with Server(named, box, app="benchmarks.pooled:app", workers=chosen.workers) as server:
            return asyncio.run(_load(way, chosen, postgres, server))


async def _load(
    way: str, chosen: argparse.Namespace, postgres: PostgresServer, server: Server
) -> Found:
    path = f"/ask?ms={chosen.ms}"
    async with counting(postgres.url, NAME) as seen:
        # What the first requests learn is not part of it: imports, plans, costs of routes.
        await ask(server.port, path, clients=chosen.clients, seconds=WARM_SECONDS)
        answers = await ask(server.port, path, clients=chosen.clients, seconds=chosen.seconds)
        pss_kilobytes = tree_kilobytes(server.box.pids)["Pss"]
        asking = asyncio.create_task(
            ask(server.port, path, clients=chosen.clients, seconds=chosen.seconds)
        )
        await asyncio.sleep(chosen.seconds / 3)
        killed_at, up_at = await restart(postgres, AWAY_SECONDS)
        gap = await asking
        asking = asyncio.create_task(
            ask(server.port, path, clients=chosen.clients, seconds=chosen.seconds)
        )
        ended = await _end_some(postgres, chosen.seconds / 2)
        answers_of_ends = await asking
    served = [answer for answer in answers if answer.status == 200]
    seconds = [answer.seconds for answer in served]
    failed = _failed(gap)
    late = [answer.done_at - up_at for answer in failed if answer.done_at > up_at]
    before = sum(answer.done_at < killed_at for answer in failed)
    return Found(
        way=way,
        most_connections=seen.most,
        served=len(served),
        failed=failures(answers),
        p50_seconds=quantile(seconds, 0.5),
        p99_seconds=quantile(seconds, 0.99),
        worst_seconds=max(answer.seconds for answer in answers),
        per_second=len(served) / chosen.seconds,
        pss_kilobytes=pss_kilobytes,
        failed_before_gap=before,
        failed_in_gap=len(failed) - before - len(late),
        failed_afterwards=len(late),
        back_seconds=max(late, default=0.0),
        ended=ended,
        failed_by_ends=len(_failed(answers_of_ends)),
    )


def failures(answers: Sequence[Answer]) -> dict[int, int]:
    """Return how many of *answers* there are of each status but 200."""
    return dict(Counter(answer.status for answer in _failed(answers)))


def _failed(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status != 200]


async def _end_some(postgres: PostgresServer, seconds: float) -> int:
    """End connections under their requests; return how many were found."""
    import asyncpg  # type: ignore[import-untyped]

    ended, until = 0, time.monotonic() + 2 * seconds
    connection: Any = await asyncpg.connect(postgres.url)
    try:
        while ended < ENDED and time.monotonic() < until:
            if await connection.fetchval(_END):
                ended += 1
                await asyncio.sleep(seconds / ENDED)
            else:
                await asyncio.sleep(0.002)
    finally:
        connection.terminate()
    return ended


_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    f" WHERE application_name = '{NAME}' AND state = 'active' AND query LIKE '%pg_sleep%' LIMIT 1"
)
