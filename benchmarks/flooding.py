"""One flood of events into a writer whose sink stands still; prints what became of them, as JSON.

    python -m benchmarks.flooding POLICY EVENTS [DIRECTORY]

By policy: ``drop`` adds them all at once; with ``wait`` a hundred tasks do, for a second against
a sink that stands still; ``spool`` puts them into DIRECTORY. Then the sink goes on, and takes what
is left. Every event is a dict of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tonnage import BatchWriter
from tonnage.stores.sinks.sink import Batch

MAX_RECORDS = 10_000
MAX_BYTES = 8 << 20
TASKS = 100
STANDS_SECONDS = 1.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Stuck:
    """A sink that stores nothing until it is told to, and then counts."""

    def __init__(self) -> None:
        self.is_open = False
        self.stored = 0
        #: The numbers stored, each as one bit.
        self.seen = bytearray()
        self.twice = 0

    async def write(self, batch: Batch) -> None:
        """Count each record of *batch*, and which of them were there before."""
        while not self.is_open:  # noqa: ASYNC110 - set in another loop
            await asyncio.sleep(0.001)
        for record in batch.records:
            at, bit = record["number"] >> 3, 1 << (record["number"] & 7)
            self.twice += bool(self.seen[at] & bit)
            self.seen[at] |= bit
        self.stored += len(batch)

    async def close(self) -> None:
        """There is nothing to close."""


class Watch:
    """What is seen on the way: most that the buffer held, and resident memory at ten points."""

    def __init__(self, writer: BatchWriter, events: int) -> None:
        self._writer = writer
        self._every = max(1, events // 10)
        self.rss_bytes: list[int] = []
        self.most_records = self.most_bytes = self.most_waiting = 0

    def look(self, number: int) -> None:
        """Look, each thousand events."""
        if number % 1000 == 0:
            found = self._writer.statistics()
            self.most_records = max(self.most_records, found.buffer_size)
            self.most_bytes = max(self.most_bytes, found.used_bytes)
            self.most_waiting = max(self.most_waiting, found.waiting)
            if number % self._every == 0 and number:
                self.rss_bytes.append(rss_bytes())


def rss_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def events(begin: int, end: int, look: Callable[[int], None]) -> Iterator[dict[str, Any]]:
    """Yield events, as requests bring them."""
    for number in range(begin, end):
        look(number)
        yield {
            "number": number,
            "kind": "click",
            "session": f"{number * 2654435761 % 2**32:08x}",
            "path": f"/events/{number % 1000}",
            "value": number * 0.25,
        }


async def flood(policy: str, count: int, directory: str | None) -> dict[str, Any]:
    """Return what became of *count* events."""
    sink = Stuck()
    sink.seen = bytearray(count // 8 + 1)
    writer = BatchWriter(
        "flood",
        sink,
        max_records=MAX_RECORDS,
        max_bytes=MAX_BYTES,
        overflow=policy,  # type: ignore[arg-type]
        spool_dir=directory,
        spool_bytes="1G",
    )
    watch = Watch(writer, count)
    begun = time.monotonic()
    if policy == "wait":
        asyncio.get_running_loop().call_later(STANDS_SECONDS, setattr, sink, "is_open", True)
        taken = await _add_in_tasks(writer, count, watch)
    else:
        taken = await writer.add_many(events(0, count, watch.look))
    seconds = time.monotonic() - begun
    before = writer.statistics()
    watch.look(0)
    sink.is_open = True
    await writer.flush()
    drained_seconds = time.monotonic() - begun
    watch.rss_bytes.append(rss_bytes())
    after = writer.statistics()
    await writer.close()
    return {
        "policy": policy,
        "events": count,
        "seconds": seconds,
        "drained_seconds": drained_seconds,
        "taken": taken,
        "stored": sink.stored,
        "twice": sink.twice,
        "different": sum(map(int.bit_count, sink.seen)),
        "before": before.as_json(),
        "after": after.as_json(),
        "most_records": watch.most_records,
        "most_bytes": watch.most_bytes,
        "most_waiting": watch.most_waiting,
        "rss_bytes": watch.rss_bytes,
    }


async def _add_in_tasks(writer: BatchWriter, count: int, watch: Watch) -> int:
    """Add *count* events one by one, in :data:`TASKS` tasks; return how many were taken."""

    async def add(begin: int, end: int) -> int:
        return sum([await writer.add(event) for event in events(begin, end, watch.look)])

    share = -(-count // TASKS)
    begins = range(0, count, share)
    return sum(await asyncio.gather(*(add(n, min(n + share, count)) for n in begins)))


def main() -> None:
    """Flood, and print."""
    policy, count, *directory = sys.argv[1:]
    print(json.dumps(asyncio.run(flood(policy, int(count), directory[0] if directory else None))))


if __name__ == "__main__":
    main()
