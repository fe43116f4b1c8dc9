"""The connections of four workers to one PostgreSQL: bounded, and whole again after every fault.

``python -m benchmarks pools`` measures it against SQLAlchemy with its default pools.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from benchmarks import timeline
from benchmarks.pools import NAME
from benchmarks.timeline import Answer, ask, counting
from tests.support.postgres import PostgresServer
from tests.support.server import Running
from tests.support.slowness import SLOWNESS

pytestmark = pytest.mark.real

WORKERS = 4
LIMIT = 5
MOST = WORKERS * LIMIT
CLIENTS = 200
BACK_SECONDS = 0.75 * SLOWNESS


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """Yield a server with room for no more than the workers' connections and three of ours."""
    # The superuser, who we are, may have those that are reserved for superusers.
    with PostgresServer(max_connections=str(MOST + 3)) as server:
        yield server


@pytest.fixture(params=[pytest.param("engine", marks=pytest.mark.soak), "async_pool", "pool"])
def server(postgres: PostgresServer, request: pytest.FixtureRequest) -> Iterator[Running]:
    """Yield four workers with five connections each."""
    environment = {
        "DATABASE_URL": f"{postgres.url}&connection_limit={LIMIT}",
        "POOLED": request.param,
        "POOLED_NAME": NAME,
    }
    arguments = ["benchmarks.pooled:app", "--workers", str(WORKERS), "--memory", "512M"]
    with Running(*arguments, env=environment) as running:
        yield running


def statuses(answers: Sequence[Answer]) -> Counter[int]:
    """Return how many answers there are of each status."""
    return Counter(answer.status for answer in answers)


async def run(postgres: PostgresServer, statement: str) -> Any:
    """Return the first value of the server's answer to *statement*."""
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(postgres.url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_never_more_connections_than_was_said_and_all_faults_pass(
    postgres: PostgresServer, server: Running
) -> None:
    """Never more connections than was said, and all faults pass."""
    async with counting(postgres.url, NAME) as seen:
        await many_ask(server)
        await restart(postgres, server)
        await end_one(postgres, server)
    assert seen.looks > 50 / SLOWNESS
    assert LIMIT < seen.most <= MOST
    assert server.stop() == 0
    assert await run(postgres, _COUNT) == 0
    assert "database connection closed" in server.log.rpartition("stopping")[2]
    assert "too many" not in server.log
    assert "Traceback" not in server.log


async def many_ask(server: Running) -> None:
    """All of 200 clients are served, each in its turn."""
    answers = await ask(server.port, "/ask?ms=10", clients=CLIENTS, seconds=2)
    assert statuses(answers) == {200: len(answers)}
    assert len(answers) > CLIENTS
    assert max(answer.seconds for answer in answers) < 10 * SLOWNESS


async def restart(postgres: PostgresServer, server: Running) -> None:
    """Requests fail while the server is away, and at no other time."""
    asking = asyncio.create_task(
        ask(server.port, "/ask?ms=10", clients=50, seconds=1.5 + BACK_SECONDS)
    )
    await asyncio.sleep(0.5)
    killed_at, up_at = await timeline.restart(postgres, 0.3)
    answers = await asking
    failed = [answer for answer in answers if answer.status != 200]
    assert statuses(failed) == {503: len(failed)}
    assert {json.loads(answer.body)["error"] for answer in failed} <= {
        "database_away",
        "database_connection_lost",
    }
    # Each worker tries ten times a second, and has to get a processor for it.
    assert all(killed_at < answer.done_at < up_at + BACK_SECONDS for answer in failed)
    # They heard at once.
    waited = sorted(answer.seconds for answer in failed)
    assert waited[len(waited) // 2] < 0.5 * SLOWNESS
    # However long it took to start: by now it is back.
    await asyncio.sleep(up_at + BACK_SECONDS - time.monotonic())
    served = await ask(server.port, "/ask?ms=10", clients=50, seconds=0.3)
    assert statuses(served) == {200: len(served)}


async def end_one(postgres: PostgresServer, server: Running) -> None:
    """A connection that is ended under a request is that request's error alone."""
    asking = asyncio.create_task(ask(server.port, "/ask?ms=5000", clients=1, seconds=0))
    while not await run(postgres, _END):  # noqa: ASYNC110 - of the server
        await asyncio.sleep(0.01)
    (answer,) = await asking
    assert answer.status == 503
    assert json.loads(answer.body)["error"] == "database_connection_lost"
    answers = await ask(server.port, "/ask?ms=1", clients=CLIENTS, seconds=0.5)
    assert statuses(answers) == {200: len(answers)}


_COUNT = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{NAME}'"
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    f" WHERE application_name = '{NAME}' AND state = 'active' AND query LIKE '%pg_sleep%'"
)
