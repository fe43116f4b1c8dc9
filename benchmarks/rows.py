"""A table of millions of rows, selected whole: with the guard, streamed, and as SQLAlchemy has it.

Each way is a process of its own (:mod:`benchmarks.reading`) in a memory cgroup of its own, which
the database is not in. Beside it, what the guard costs queries that are small: both engines take
turns in one process, without a limit; ratios are of one turn, and the table has their median.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.support.postgres import PostgresServer, why_not

from benchmarks.box import MemoryBox
from benchmarks.reading import DRIVERS, statements
from benchmarks.record import Result, machine

SUMMARY = "a large table selected: guarded, streamed, and by plain SQLAlchemy; and the guard's cost"

WAYS = ("plain", "guarded", "stream")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    parser.add_argument("--rows", type=int, default=2_000_000, help="in the table")
    parser.add_argument("--limit-mb", type=int, default=512, help="of the cgroup of each way")
    parser.add_argument("--rounds", type=int, default=9, help="turns of small queries")
    parser.add_argument("--drivers", default=",".join(DRIVERS), help="which of them, with commas")


def run(chosen: argparse.Namespace) -> Result:
    """Read the table in each way, with each driver."""
    reason = why_not()
    if reason is not None:
        sys.exit(f"no PostgreSQL: {reason}")
    before = machine()
    found: dict[str, Any] = {}
    drivers = chosen.drivers.split(",")
    for names in (["sqlite"], ["asyncpg", "psycopg"]):
        names = [name for name in names if name in drivers]
        if not names:
            continue
        with database(chosen.rows, is_sqlite=names == ["sqlite"]) as url:
            for driver in names:
                for way in WAYS:
                    found[f"{driver}: {way}"] = read(way, driver, url, chosen.limit_mb)
                    print(driver, way, found[f"{driver}: {way}"], flush=True)
                found[f"{driver}: small"] = small(driver, url, chosen.rounds)
                print(driver, found[f"{driver}: small"], flush=True)
    return Result(
        name="rows",
        title=f"{chosen.rows:,} rows of 4 columns selected, in {chosen.limit_mb} MB of memory",
        columns=["driver and way", "outcome", "rows", "seconds", "MB more than before"],
        rows=[row for name, each in found.items() for row in _rows(name, each)],
        notes=[
            "plain: execute(select(table)).all() on SQLAlchemy's default engine. guarded: the same"
            " with the guard at its defaults (10,000 rows, 32 MB). stream: db.stream().",
            "Small queries: what the guard makes of the time of plain SQLAlchemy, which is on the"
            " left; server and client share the machine, on a Unix socket.",
            "MB: the peak of the resident size, above what it was after the engine's first query.",
        ],
        machine=before,
        details={"found": found},
    )


@contextmanager
def database(rows: int, *, is_sqlite: bool) -> Iterator[str]:
    """Yield the URL of a database with the table."""
    made = statements(rows, is_sqlite=is_sqlite)
    if is_sqlite:
        with tempfile.TemporaryDirectory(prefix="tonnage-rows-") as directory:
            path = f"{directory}/rows.db"
            with closing(sqlite3.connect(path)) as connection, connection:
                for statement in made:
                    connection.execute(statement)
            yield f"sqlite:///{path}"
        return
    with PostgresServer(max_wal_size="4GB") as server:
        asyncio.run(_fill(server.url, made))
        yield server.url


def read(way: str, driver: str, url: str, limit_mb: int) -> dict[str, Any]:
    """Read the table in one way, in a process of its own within a limit."""
    with MemoryBox(limit_mb * 2**20) as box:
        command = [sys.executable, "-m", "benchmarks.reading", way, driver, url]
        done = subprocess.run(box.wrap(command), stdout=subprocess.PIPE, text=True, timeout=600)
        if box.kernel_kills:
            return {"outcome": "killed by the kernel", "rows": 0}
        if done.returncode:
            raise RuntimeError(f"{driver} {way} failed with status {done.returncode}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def small(driver: str, url: str, rounds: int) -> dict[str, Any]:
    """Compare small queries with and without the guard."""
    command = [sys.executable, "-m", "benchmarks.reading", "small", driver, url, str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def _fill(url: str, made: list[str]) -> None:
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(url)
    await connection.execute("; ".join([*made, "ANALYZE events"]))
    await connection.close()


def _rows(name: str, found: dict[str, Any]) -> Iterator[list[str]]:
    if "outcome" in found:
        seconds, grown_bytes = found.get("seconds"), found.get("grown_bytes")
        yield [
            name, found["outcome"], f"{found['rows']:,}",
            "-" if seconds is None else f"{seconds:.2f}",
            "-" if grown_bytes is None else f"{grown_bytes / 2**20:.1f}",
        ]  # fmt: skip
        return
    for query, each in found.items():
        micros = f"{each['plain_seconds'] * 1e6:,.0f} us"
        yield [f"{name.split(':')[0]}: {query}", f"{micros} x {each['ratio']:.2f}", "", "", ""]
