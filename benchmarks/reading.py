"""The ways to read a large table that are compared; each in a process of its own.

    python -m benchmarks.reading WAY DRIVER URL      # prints one JSON object

The table is there already (:func:`statements`). What a way takes is how far the process's resident
size rose above what it was after the engine had been used once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import column, create_engine, select, table
from sqlalchemy.ext.asyncio import create_async_engine

EVENTS = table("events", *(column(name) for name in ("id", "kind", "amount", "note")))
DRIVERS = {"asyncpg": "postgresql+asyncpg", "psycopg": "postgresql+psycopg", "sqlite": "sqlite"}
#: What is read again and again to see what the guard costs: how many times a round.
SMALL = {
    "by primary key": (select(EVENTS).where(EVENTS.c.id == 77), 300),
    "a page of 50": (select(EVENTS).where(EVENTS.c.id > 500).order_by(EVENTS.c.id).limit(50), 200),
    "10,000 rows": (select(EVENTS).where(EVENTS.c.id <= 10_000), 5),
}
_MAX_ROWS = 10_000


def statements(rows: int, *, is_sqlite: bool) -> list[str]:
    """Return what makes the table, with so many *rows* of about 60 bytes."""
    numbers = f"SELECT n FROM generate_series(1, {rows}) AS n"
    if is_sqlite:
        numbers = (
            "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s"
            f" WHERE n < {rows}) SELECT n FROM s"
        )
    return [
        "CREATE TABLE events (id integer PRIMARY KEY, kind text, amount float, note text)",
        "INSERT INTO events SELECT n, 'kind ' || n % 7, n * 0.25, 'a note of some length ' || n"
        f" FROM ({numbers}) AS numbers",
    ]


async def read_async(engine: Any, way: str, note: Callable[[], None]) -> int:
    """Read the whole table in one way; return how many rows there were."""
    from tonnage import db

    async with engine.connect() as connection:
        await connection.execute(select(EVENTS).limit(1))
        note()
        if way == "stream":
            count = 0
            async for _ in db.stream(connection, select(EVENTS)):
                count += 1
            return count
        return len((await connection.execute(select(EVENTS))).all())


def read(engine: Any, way: str, note: Callable[[], None]) -> int:
    """Do the same without async."""
    from tonnage import db

    with engine.connect() as connection:
        connection.execute(select(EVENTS).limit(1)).all()
        note()
        if way == "stream":
            return sum(1 for _ in db.stream(connection, select(EVENTS)))
        return len(connection.execute(select(EVENTS)).all())


def _engine(driver: str, url: str, *, is_guarded: bool) -> Any:
    from tonnage.db.guard import watch
    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.guard.slow import SlowQueries
    from tonnage.units import MIB

    given = f"{DRIVERS[driver]}:{url.split(':', 1)[1]}"
    made: Any = create_async_engine(given) if driver == "asyncpg" else create_engine(given)
    if is_guarded:
        bounds = Bounds(_MAX_ROWS, 32 * MIB, "stop", SlowQueries(0.5))
        watch(getattr(made, "sync_engine", made), bounds)
    return made


def _read_whole(way: str, driver: str, url: str) -> dict[str, Any]:
    from tonnage.errors import ResultTooLargeError

    engine = _engine(driver, url, is_guarded=way != "plain")
    began_seconds = before_bytes = 0.0

    def note() -> None:
        nonlocal began_seconds, before_bytes
        # So that the peak is that of what comes now.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        before_bytes = _status_bytes("VmRSS")
        began_seconds = time.perf_counter()

    async def run() -> int:
        try:
            return await read_async(engine, way, note)
        finally:
            await engine.dispose()

    try:
        rows = asyncio.run(run()) if driver == "asyncpg" else read(engine, way, note)
        outcome = "all read"
    except ResultTooLargeError:
        rows, outcome = 0, "stopped"
    seconds = time.perf_counter() - began_seconds
    grown_bytes = _status_bytes("VmHWM") - before_bytes
    return {"outcome": outcome, "rows": rows, "seconds": seconds, "grown_bytes": grown_bytes}


def _compare(driver: str, url: str, rounds: int) -> dict[str, Any]:
    """Return what small queries cost with the guard, by the turn, as ratios of each turn."""
    if driver == "asyncpg":
        return asyncio.run(_compare_async(url, rounds))
    engines = [_engine(driver, url, is_guarded=is_guarded) for is_guarded in (False, True)]
    found: dict[str, Any] = {}
    for name, (statement, times) in SMALL.items():
        turns = []
        for _ in range(rounds):
            turn = []
            for engine in engines:
                with engine.connect() as connection:
                    connection.execute(statement).all()
                    began = time.perf_counter()
                    for _ in range(times):
                        connection.execute(statement).all()
                    turn.append((time.perf_counter() - began) / times)
            turns.append(turn)
        found[name] = _medians(turns)
    for engine in engines:
        engine.dispose()
    return found


async def _compare_async(url: str, rounds: int) -> dict[str, Any]:
    engines = [_engine("asyncpg", url, is_guarded=is_guarded) for is_guarded in (False, True)]
    found: dict[str, Any] = {}
    for name, (statement, times) in SMALL.items():
        turns = []
        for _ in range(rounds):
            turn = []
            for engine in engines:
                async with engine.connect() as connection:
                    (await connection.execute(statement)).all()
                    began = time.perf_counter()
                    for _ in range(times):
                        (await connection.execute(statement)).all()
                    turn.append((time.perf_counter() - began) / times)
            turns.append(turn)
        found[name] = _medians(turns)
    for engine in engines:
        await engine.dispose()
    return found


def _medians(turns: Iterable[list[float]]) -> dict[str, float]:
    pairs = list(turns)
    return {
        "plain_seconds": statistics.median(plain for plain, _ in pairs),
        "ratio": statistics.median(guarded / plain for plain, guarded in pairs),
    }


def _status_bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    """Go one way; print what came of it."""
    way, driver, url = sys.argv[1:4]
    if way == "small":
        print(json.dumps(_compare(driver, url, int(sys.argv[4]))))
    else:
        print(json.dumps(_read_whole(way, driver, url)))


if __name__ == "__main__":
    main()
