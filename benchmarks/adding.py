"""One process that adds records and waits for the disk, for ``benchmarks.durable``.

    python -m benchmarks.adding WAY ADDERS RECORDS DIRECTORY

Prints JSON: records a second, and what the process has come to in memory. The sink takes all and
keeps nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tonnage import BatchWriter
from tonnage.host.processes import PAGE_BYTES
from tonnage.stores.sinks.sink import Batch

RECORD = {
    "kind": "click",
    "at": datetime(2026, 1, 1, 12),
    "session": "0123456789abcdef",
    "value": 1.5,
    "text": "x" * 100,
}


# As an application keeps it: in a module.
_kept: list[BatchWriter] = []


class Nowhere:
    """A sink that takes all."""

    async def write(self, batch: Batch) -> None:
        """Take it."""

    async def close(self) -> None:
        """Do nothing."""


def durable(adders: int, records: int, directory: Path) -> float:
    """Return how many records a second are on disk, one after the other by each adder."""
    return asyncio.run(_add(adders, records, durable=True, spool_dir=directory))


def memory(adders: int, records: int, directory: Path) -> float:
    """Return the same with a writer that holds them in memory."""
    return asyncio.run(_add(adders, records, overflow="wait"))


async def _add(adders: int, records: int, **options: Any) -> float:
    writer = BatchWriter("adding", Nowhere(), flush_seconds=0.2, **options)
    _kept.append(writer)

    async def add(count: int) -> None:
        for number in range(count):
            await writer.add(RECORD | {"number": number})

    await add(100)
    begun = time.perf_counter()
    await asyncio.gather(*(add(records // adders) for _ in range(adders)))
    seconds = time.perf_counter() - begun
    await writer.close()
    return records / seconds


def bare(adders: int, records: int, directory: Path) -> float:
    """Return how many writes of as many bytes a second, each with its fdatasync: the disk's own."""
    data = b"x" * 300
    fd = os.open(directory / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    begun = time.perf_counter()
    for _ in range(records):
        os.write(fd, data)
        os.fdatasync(fd)
    seconds = time.perf_counter() - begun
    os.close(fd)
    return records / seconds


def sqlite(adders: int, records: int, directory: Path) -> float:
    """Return how many records a second SQLite commits one by one (WAL, synchronous=FULL)."""
    connection = sqlite3.connect(directory / "events.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE events (kind, at, session, value, text, number)")
    values = [str(each) for each in RECORD.values()]
    begun = time.perf_counter()
    for number in range(records):
        connection.execute("INSERT INTO events VALUES (?,?,?,?,?,?)", [*values, number])
    seconds = time.perf_counter() - begun
    connection.close()
    return records / seconds


WAYS: dict[str, Callable[[int, int, Path], float]] = {
    "durable": durable,
    "memory": memory,
    "bare": bare,
    "sqlite": sqlite,
}


def main() -> None:
    """Add what was asked for."""
    way, adders, records, directory = sys.argv[1:]
    before = _resident_bytes()
    per_second = WAYS[way](int(adders), int(records), Path(directory))
    after = _resident_bytes()
    print(json.dumps({"per_second": per_second, "before": before, "after": after}))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


if __name__ == "__main__":
    main()
