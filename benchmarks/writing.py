"""The ways to get records into PostgreSQL that are compared; each in a process of its own.

    python -m benchmarks.writing WAY URL RECORDS BATCH       # prints one JSON object

The records are made on the way, so that what is measured holds none but those under way.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

TABLE = "CREATE TABLE events (at timestamptz, player integer, kind text, amount float8, note text)"
COLUMNS = ("at", "player", "kind", "amount", "note")
#: Records that arrive together: as of a client that sends what has gathered.
ARRIVING = 100
POINTS = 10

_AT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
_KINDS = ("start", "finish", "purchase", "level")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Way = Callable[[str, int, int, Callable[[int], None]], Coroutine[Any, Any, dict[str, Any]]]


def rows(begin: int, count: int) -> list[tuple[Any, ...]]:
    """Return records as rows."""
    return [
        (_AT, number, _KINDS[number & 3], number * 0.25, f"note {number & 1023}")
        for number in range(begin, begin + count)
    ]


def records(begin: int, count: int) -> list[dict[str, Any]]:
    """Return the same records as an application has them."""
    return [
        {
            "at": _AT,
            "player": number,
            "kind": _KINDS[number & 3],
            "amount": number * 0.25,
            "note": f"note {number & 1023}",
        }
        for number in range(begin, begin + count)
    ]


async def copy(url: str, count: int, batch: int, note: Callable[[int], None]) -> dict[str, Any]:
    """Store rows by COPY, as asyncpg does that, one batch after the other."""
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(url)
    for begin in _steps(count, batch):
        await connection.copy_records_to_table(
            "events", columns=COLUMNS, records=rows(begin, min(batch, count - begin))
        )
        note(begin)
    await connection.close()
    return {}


async def insert(url: str, count: int, batch: int, note: Callable[[int], None]) -> dict[str, Any]:
    """Store rows one by one: a prepared INSERT each."""
    import asyncpg

    connection = await asyncpg.connect(url)
    for begin in _steps(count, batch):
        for row in rows(begin, min(batch, count - begin)):
            await connection.execute("INSERT INTO events VALUES ($1, $2, $3, $4, $5)", *row)
        note(begin)
    await connection.close()
    return {}


async def sink(url: str, count: int, batch: int, note: Callable[[int], None]) -> dict[str, Any]:
    """Hand records to the sink itself, one batch after the other."""
    from tonnage.sinks import Batch, PostgresSink

    own = PostgresSink(url, "events")
    for begin in _steps(count, batch):
        await own.write(Batch(records(begin, min(batch, count - begin))))
        note(begin)
    await own.close()
    return {}


async def writer(
    url: str, count: int, batch: int, note: Callable[[int], None], *, singly: bool = False
) -> dict[str, Any]:
    """Hand records to a writer: as they arrive, or one by one."""
    from tonnage import BatchWriter
    from tonnage.sinks import PostgresSink

    counting = _Counting(PostgresSink(url, "events"))
    own = BatchWriter("events", counting, max_records=2 * batch, max_bytes="64M", overflow="wait")
    for begin in _steps(count, ARRIVING):
        arrived = records(begin, min(ARRIVING, count - begin))
        if singly:
            for record in arrived:
                await own.add(record)
        else:
            await own.add_many(arrived)
        # As a server's loop does between two requests.
        await asyncio.sleep(0)
        note(begin)
    await own.flush()
    await own.close()
    return {"batch": count / counting.batches, "statistics": own.statistics().as_json()}


async def writer_singly(
    url: str, count: int, batch: int, note: Callable[[int], None]
) -> dict[str, Any]:
    """Hand records to a writer one by one."""
    return await writer(url, count, batch, note, singly=True)


WAYS: dict[str, Way] = {
    "copy": copy,
    "sink": sink,
    "writer": writer,
    "writer-singly": writer_singly,
    "insert": insert,
}


class _Counting:
    """A sink that counts what it passes on."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.batches = 0
        self.close = inner.close

    async def write(self, batch: Any) -> None:
        self.batches += 1
        await self._inner.write(batch)


def _steps(count: int, step: int) -> Iterator[int]:
    return iter(range(0, count, step))


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES


def main() -> None:
    """Run one way; print what it took and how large the process was on the way."""
    name, url, count, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    points = [count * part // POINTS for part in range(1, POINTS)]
    resident: list[int] = []

    def note(done: int) -> None:
        if len(resident) < len(points) and done >= points[len(resident)]:
            resident.append(_resident_bytes())

    began = time.perf_counter()
    used = time.process_time()
    found = asyncio.run(WAYS[name](url, count, batch, note))
    took_seconds = time.perf_counter() - began
    found["per_second"] = count / took_seconds
    found["cpu_us"] = (time.process_time() - used) / count * 1e6
    found["resident_bytes"] = [*resident, _resident_bytes()]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
