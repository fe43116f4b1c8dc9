"""Writers whose sinks do what no sink should: raise anything, hang, not let go."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from contextvars import Context, ContextVar
from pathlib import Path
from typing import Any

import pytest
from tests.stores.writer.sinks import Kept, numbered
from tests.support.disk import on_a_disk
from tests.support.waiting import until

from tonnage import BatchWriter
from tonnage.stores.sinks.sink import Batch


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk."""
    with on_a_disk(tmp_path) as found:
        yield found


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(1), KeyboardInterrupt()])
async def test_what_ends_tasks_and_processes_ends_no_writer(
    directory: Path, error: BaseException, durable: bool
) -> None:
    """Neither this one, which tries again, nor another."""
    bad, good = Kept(), Kept()
    bad.errors = [error] * 2
    options: dict[str, Any] = {"durable": durable, "spool_dir": directory, "flush_seconds": 0.01}
    async with BatchWriter("bad", bad, **options) as one, BatchWriter("good", good) as other:
        await one.add({"n": 1})
        await one.flush()
        await other.add({"n": 2})
        await other.flush()
        assert (bad.numbers, good.numbers) == ([1], [2])


async def test_a_sink_that_cancels_the_writers_task_does_not_end_it() -> None:
    """What was on its way is counted."""

    class Rages(Kept):
        async def write(self, batch: Batch) -> None:
            if not self.asked:
                for task in asyncio.all_tasks():
                    if task.get_name() == "writer test":
                        task.cancel()
            await super().write(batch)

    sink = Rages()
    async with BatchWriter("test", sink, flush_seconds=0.01) as writer:
        await writer.add({"n": 1})
        await until(lambda: sink.asked)
        await writer.add({"n": 2})
        await writer.flush()
        assert sink.numbers[-1] == 2
        found = writer.statistics()
        assert found.total_flushed + found.total_dropped == found.total_added == 2


@pytest.mark.parametrize("overflow", ["drop", "spool"])
async def test_closing_ends_in_time_with_a_sink_that_swallows_its_cancellation(
    directory: Path, overflow: Any
) -> None:
    """What was in it is dropped, and counted, or spooled."""
    may_end = asyncio.Event()

    class Deaf(Kept):
        async def write(self, batch: Batch) -> None:
            self.asked += 1
            while not may_end.is_set():
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)

    sink = Deaf()
    writer = BatchWriter("test", sink, max_records=10, overflow=overflow, spool_dir=directory)
    await writer.add_many(numbered(0, 10))
    await until(lambda: sink.asked == 1)
    async with asyncio.timeout(1):
        await writer.close(0.1)
    may_end.set()
    found = writer.statistics()
    assert found.total_added == found.total_dropped + found.spooled == 10
    assert found.spooled == (10 if overflow == "spool" else 0)
    assert sink.closed == 1


_HANGS = """
import asyncio, sys, time
from tonnage import BatchWriter
from tonnage.stores import background

begun = []

class Hangs:
    async def write(self, batch):
        begun.append(batch)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
    close = lambda self: self.write(None)

for name in ("one", "two", "three"):
    writer = BatchWriter(name, Hangs(), flush_seconds=0.01, durable=name == "three",
                         spool_dir=sys.argv[1])
    writer.put({"n": 1})
while len(begun) < 3:
    time.sleep(0.001)
begin = time.monotonic()
background.close(1.0)
print(time.monotonic() - begin)
"""


def test_sinks_that_hang_are_closed_within_the_servers_deadline(directory: Path) -> None:
    """Their own closing included; what was not stored is said."""
    done = subprocess.run(
        [sys.executable, "-c", _HANGS, str(directory)], capture_output=True, text=True, timeout=30
    )
    assert float(done.stdout) < 1.0
    assert "did not finish" not in done.stderr
    assert done.stderr.count("1 records dropped at the end") == 2
    assert done.stderr.count("1 records are left on disk") == 1
    assert done.stderr.count("the sink could not be closed") == 3


async def test_drops_are_said_while_the_sink_stands_still(caplog: pytest.LogCaptureFixture) -> None:
    """The rest a second later: nothing has to happen for that."""
    sink = Kept()
    sink.shut()
    async with BatchWriter("test", sink, max_records=10) as writer:
        for n in range(100):
            await writer.add({"n": n})
        begin = time.monotonic()
        await until(lambda: "89 records (no room)" in caplog.text)
        assert time.monotonic() - begin < 2
        sink.open()


request_data: ContextVar[object] = ContextVar("request_data")


class Large:
    """What a request holds."""


@pytest.mark.parametrize("durable", [False, True])
async def test_the_request_that_wakes_a_writer_is_not_kept(directory: Path, durable: bool) -> None:
    """Nor what it has in its context."""
    sink = Kept()
    options: dict[str, Any] = {"durable": durable, "spool_dir": directory, "flush_seconds": 0.01}
    async with BatchWriter("test", sink, **options) as writer:
        large = Large()
        gone = weakref.ref(large)

        async def request(large: Large) -> None:
            request_data.set(large)
            await writer.add({"n": 1})

        await asyncio.create_task(request(large), context=Context())
        del large
        await until(lambda: sink.numbers == [1])
        gc.collect()
        assert gone() is None
