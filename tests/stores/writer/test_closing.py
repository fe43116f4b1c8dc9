"""Flushing and closing, of writers in memory and on disk: who asks, how often, and who gives up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.stores.beside import settled
from tests.stores.writer.sinks import Kept, numbered
from tests.support.disk import on_a_disk
from tests.support.waiting import until

from tonnage import BatchWriter

Make = Callable[[Kept], BatchWriter]


@pytest.fixture(params=["in memory", "with a spool", "durable"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Return what makes a writer of each kind."""
    if request.param == "in memory":
        yield lambda sink: BatchWriter("test", sink)
        return
    with on_a_disk(tmp_path) as directory:
        is_durable = request.param == "durable"
        yield lambda sink: BatchWriter(
            "test",
            sink,
            durable=is_durable,
            overflow="drop" if is_durable else "spool",
            spool_dir=directory,
        )


def futures() -> int:
    """Return how many there are in this process."""
    gc.collect()
    return sum(type(each) is asyncio.Future for each in gc.get_objects())


async def test_who_gives_up_a_flush_leaves_nothing(make: Make) -> None:
    """However many do while the sink is down; who stays is told."""
    sink = Kept()
    sink.shut()
    writer = make(sink)
    await writer.add({"n": 1})
    stays = asyncio.create_task(writer.flush())
    await until(lambda: sink.asked)
    before = futures()
    for _ in range(2):
        flushes = [asyncio.create_task(writer.flush()) for _ in range(50)]
        await until(lambda: futures() >= before + 50)
        for each in flushes:
            each.cancel()
        await asyncio.wait(flushes)
        flushes.clear()
    await until(lambda: futures() < before + 10)
    sink.open()
    await stays
    assert sink.numbers == [1]
    await writer.close()


async def test_a_flush_after_the_end_returns_at_once(make: Make) -> None:
    """There is nothing left that it could wait for."""
    sink = Kept()
    writer = make(sink)
    await writer.add({"n": 1})
    await writer.close()
    async with asyncio.timeout(5):
        await writer.flush()
    assert sink.numbers == [1]


async def test_one_that_was_never_used_lets_go_of_its_sink(make: Make) -> None:
    """And asks it for nothing."""
    sink = Kept()
    await make(sink).close()
    assert (sink.asked, sink.closed) == (0, 1)


async def test_all_who_close_it_wait_until_it_is_closed(make: Make) -> None:
    """All is stored by then, and the sink is closed once."""
    sink = Kept()
    sink.shut()
    writer = make(sink)
    await writer.add_many(numbered(0, 10))
    found = []

    async def close() -> None:
        await writer.close()
        found.append((len(sink.records), sink.closed))

    closing = [asyncio.create_task(close()) for _ in range(3)]
    await until(lambda: sink.asked)
    # Whoever does not wait would be back by now.
    await settled()
    sink.open()
    await asyncio.gather(*closing)
    assert found == [(10, 1)] * 3


async def test_who_gives_up_closing_has_nothing_more_delivered(make: Make) -> None:
    """As if the time were up, for all who close it: nothing is left without being counted."""
    sink = Kept()
    sink.shut()
    writer = make(sink)
    await writer.add_many(numbered(0, 10))
    gives_up, stays = (asyncio.create_task(writer.close(60)) for _ in range(2))
    await until(lambda: sink.asked)
    gives_up.cancel()
    async with asyncio.timeout(10):
        await stays
    found = writer.statistics()
    assert (found.total_dropped + found.spooled, found.buffer_size) == (10, 0)
    assert sink.closed == 1
