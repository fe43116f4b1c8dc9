"""The writer: when it stores, what it does without room, and how it ends."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.stores.beside import settled
from tests.stores.writer.sinks import Kept, numbered
from tests.support.disk import on_a_disk
from tests.support.forking import fork, status_of
from tests.support.waiting import until

from tonnage import BatchWriter
from tonnage.errors import ConfigError, WriterClosedError
from tonnage.governor.consumers import registry
from tonnage.units import KIB


@pytest.fixture
def sink() -> Kept:
    """Return a sink that keeps all."""
    return Kept()


@pytest.fixture
async def writers(sink: Kept) -> AsyncIterator[Any]:
    """Yield what makes writers into *sink*; they are closed in the end."""
    made = []

    def make(**options: Any) -> BatchWriter:
        made.append(BatchWriter("test", sink, **({"flush_seconds": 60} | options)))
        return made[-1]

    yield make
    sink.open()
    for each in made:
        await each.close()


async def test_what_was_added_is_stored_in_order(writers: Any, sink: Kept) -> None:
    """By one and by many, in a loop and in a thread."""
    writer = writers()
    assert await writer.add({"n": 0})
    assert await writer.add_many(numbered(1, 4)) == 3
    assert writer.put({"n": 4})
    assert writer.put_many(iter(numbered(5, 8))) == 3
    await writer.flush()

    assert sink.numbers == list(range(8))
    found = writer.statistics()
    assert (found.total_added, found.total_flushed, found.buffer_size) == (8, 8, 0)
    assert (found.used_bytes, found.lag_seconds) == (0, 0)


async def test_a_subclass_has_its_own_way_of_adding(sink: Kept) -> None:
    """A subclass that overrides the method is not passed by."""

    class Stamped(BatchWriter):
        async def add(self, record: Any) -> bool:
            return await super().add({"stamp": 1} | record)

    async with Stamped("test", sink) as writer:
        assert await writer.add({"n": 0})
        await writer.flush()
    assert sink.records == [{"stamp": 1, "n": 0}]


async def test_it_is_stored_when_half_of_the_records_wait(writers: Any, sink: Kept) -> None:
    """And not before."""
    writer = writers(max_records=10)
    await writer.add_many(numbered(0, 4))
    await settled()
    assert not sink.asked
    await writer.add({"n": 4})
    await until(lambda: len(sink.records) == 5)


async def test_it_is_stored_when_half_of_the_bytes_wait(writers: Any, sink: Kept) -> None:
    """And not before."""
    writer = writers(max_bytes="64K")
    for n in range(3):
        await writer.add({"n": n, "text": "x" * 8 * KIB})
    await settled()
    assert not sink.asked
    await writer.add({"n": 3, "text": "x" * 8 * KIB})
    await until(lambda: len(sink.records) == 4)


async def test_it_is_stored_after_some_time(writers: Any, sink: Kept) -> None:
    """However little it is; each time anew."""
    writer = writers(flush_seconds=0.02)
    for n in range(3):
        await writer.add({"n": n})
        await until(lambda: sink.numbers == list(range(n + 1)))  # noqa: B023 - at once


async def test_adding_goes_on_while_a_batch_is_on_its_way(writers: Any, sink: Kept) -> None:
    """Until those on their way and those that wait are as many as may be."""
    writer = writers(max_records=10)
    sink.shut()
    assert await writer.add_many(numbered(0, 5)) == 5
    await until(lambda: sink.asked == 1)
    assert await writer.add_many(numbered(5, 12)) == 5
    assert writer.statistics().buffer_size == 10
    sink.open()
    await writer.flush()
    assert sink.batches == [5, 5]


async def test_without_room_records_are_dropped_and_counted(
    writers: Any, sink: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for all of them."""
    writer = writers(max_records=10, overflow="drop")
    sink.shut()
    taken = await writer.add_many(numbered(0, 1000))
    taken += [await writer.add({"n": n}) for n in range(1000, 2000)].count(True)
    taken += [writer.put({"n": n}) for n in range(2000, 3000)].count(True)

    found = writer.statistics()
    assert (taken, found.buffer_size, found.total_dropped) == (10, 10, 2990)
    assert found.total_added == 3000
    assert sum("buffer full, dropping" in line for line in caplog.messages) == 1
    await writer.close(0.01)
    assert writer.statistics().total_dropped == 3000
    told = [record.args for record in caplog.records if "buffer full" in record.message]
    assert sum(each[0] for each in told if isinstance(each, tuple)) == 2990  # type: ignore[misc]


async def test_of_many_as_many_are_taken_as_fit(writers: Any, sink: Kept) -> None:
    """Also where the room ends within some that go in together."""
    writer = writers(max_records=64, overflow="drop")
    sink.shut()
    assert await writer.add_many(numbered(0, 62)) == 62
    assert await writer.add_many(numbered(62, 66)) == 2
    assert writer.statistics().total_dropped == 2
    sink.open()
    await writer.flush()
    assert sink.numbers == list(range(64))


async def test_bytes_are_bounded_with_records_of_all_sizes(writers: Any, sink: Kept) -> None:
    """What does not fit is dropped, what fits beside it is not."""
    writer = writers(max_bytes="64K", overflow="drop")
    sink.shut()
    texts = [{"n": n, "text": "x" * (n % 7) * 8 * KIB} for n in range(200)]
    taken = await writer.add_many(texts)
    found = writer.statistics()
    assert 40 * KIB < found.used_bytes <= 64 * KIB
    assert taken == found.buffer_size == 200 - found.total_dropped
    assert taken > 10


async def test_what_is_larger_than_the_buffer_is_never_taken(writers: Any) -> None:
    """Nor waited with."""
    for overflow in ("drop", "wait"):
        writer = writers(max_bytes="64K", overflow=overflow)
        assert not await writer.add({"n": 0, "text": "x" * 64 * KIB})
        assert await writer.add_many([{"n": 1, "text": "x" * 64 * KIB}, {"n": 2}]) == 1
        assert not writer.put({"n": 0, "text": "x" * 64 * KIB})
        assert writer.statistics().total_dropped == 3


async def test_who_waits_for_room_gets_it_in_order(writers: Any, sink: Kept) -> None:
    """Nobody passes, and nothing is dropped."""
    writer = writers(max_records=4, overflow="wait")
    sink.shut()
    adding = [asyncio.create_task(writer.add_many(numbered(n, n + 4))) for n in (0, 4, 8, 12)]
    adding += [asyncio.create_task(writer.add({"n": n})) for n in range(16, 40)]
    await until(lambda: writer.statistics().waiting == 27)
    assert writer.statistics().buffer_size == 4
    sink.open()
    assert await asyncio.gather(*adding) == [4] * 4 + [True] * 24
    await writer.flush()
    assert sink.numbers == list(range(40))
    assert max(sink.batches) <= 4


async def test_who_stops_waiting_takes_back_what_was_not_taken(writers: Any, sink: Kept) -> None:
    """And those behind go on."""
    writer = writers(max_records=4, overflow="wait")
    sink.shut()
    await writer.add_many(numbered(0, 4))
    gone = asyncio.create_task(writer.add_many(numbered(10, 20)))
    stays = asyncio.create_task(writer.add({"n": 4}))
    await until(lambda: writer.statistics().waiting == 2)
    gone.cancel()
    await asyncio.wait([gone])
    sink.open()
    assert await stays
    await writer.flush()
    assert sink.numbers == [0, 1, 2, 3, 4]
    assert writer.statistics().total_added == 5


async def test_a_thread_waits_for_as_long_as_it_likes(writers: Any, sink: Kept) -> None:
    """What was not taken by then is dropped and counted."""
    writer = writers(max_records=4, overflow="wait")
    sink.shut()
    writer.put_many(numbered(0, 4))
    assert not writer.put({"n": 9}, timeout_seconds=0.01)
    assert writer.put_many(numbered(90, 99), timeout_seconds=0.01) == 0
    assert writer.statistics().total_dropped == 10
    threading.Timer(0.01, sink.open).start()
    assert await asyncio.to_thread(writer.put, {"n": 4}, 10)
    await writer.flush()
    assert sink.numbers == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("options", [{"overflow": "wait"}, {"durable": True}])
async def test_infinity_is_for_ever(
    writers: Any, sink: Kept, tmp_path: Path, options: dict[str, Any]
) -> None:
    """As None is; what is told not to be taken is not stored."""
    with on_a_disk(tmp_path) as directory:
        writer = writers(max_records=1, spool_dir=directory, **options)
        sink.shut()
        threading.Timer(0.01, sink.open).start()
        for n in range(2):
            assert await asyncio.to_thread(writer.put, {"n": n}, math.inf)
        await writer.flush()
        assert sink.numbers == [0, 1]
        await writer.close()


async def test_many_threads_and_tasks_add_at_once(writers: Any, sink: Kept) -> None:
    """Each record is stored once, in the order of whoever added it."""
    writer = writers(max_records=50, overflow="wait")

    def put(who: int) -> None:
        for n in range(200):
            assert writer.put({"n": n, "who": who})

    async def add(who: int) -> None:
        for n in range(0, 200, 10):
            assert await writer.add_many({"n": m, "who": who} for m in range(n, n + 10)) == 10

    threads = [threading.Thread(target=put, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(add(who) for who in range(4, 8)))
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    await writer.flush()
    for who in range(8):
        assert [each["n"] for each in sink.records if each["who"] == who] == list(range(200))
    assert len(sink.records) == 1600


async def test_closing_stores_what_is_there(sink: Kept) -> None:
    """And closes the sink, once; nothing is taken any more."""
    async with BatchWriter("test", sink) as writer:
        await writer.add_many(numbered(0, 10))
    assert (sink.numbers, sink.closed) == (list(range(10)), 1)
    await writer.close()
    assert sink.closed == 1
    with pytest.raises(WriterClosedError):
        await writer.add({"n": 1})
    with pytest.raises(WriterClosedError):
        writer.put_many(numbered(0, 2))
    assert writer.name not in [use.name for use in registry.uses()]


async def test_closing_ends_in_time(sink: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """What is left then is dropped, counted and logged; who waits for room is told."""
    writer = BatchWriter("test", sink, max_records=4, overflow="wait")
    sink.shut()
    waits = asyncio.create_task(writer.add_many(numbered(0, 10)))
    flushing = asyncio.create_task(writer.flush())
    await until(lambda: writer.statistics().waiting == 1)
    await writer.close(0.02)
    with pytest.raises(WriterClosedError):
        await waits
    await flushing
    found = writer.statistics()
    assert (found.total_dropped, found.total_added, found.buffer_size) == (4, 4, 0)
    assert "4 records dropped at the end" in caplog.text


async def test_what_was_stored_in_part_is_dropped_in_part(sink: Kept) -> None:
    """When it ends while it looks for the record at fault."""
    sink.rejects = lambda record: bool(record["n"] == 3)
    writer = BatchWriter("test", sink, max_records=8, overflow="drop")
    stored = sink.write

    async def store_then_stand(batch: Any) -> None:
        if sink.records:
            sink.shut()
        await stored(batch)

    sink.write = store_then_stand  # type: ignore[method-assign]
    await writer.add_many(numbered(0, 4))
    await until(lambda: len(sink.records) == 2)
    await writer.close(0.02)
    found = writer.statistics()
    assert (found.total_flushed, found.total_failed, found.total_dropped) == (2, 0, 2)


async def test_short_memory_has_it_stored_at_once(writers: Any, sink: Kept) -> None:
    """Nothing comes free at once, and nobody waits for it."""
    writer = writers()
    assert writer.shrink(0) == 0
    await writer.add({"n": 0})
    assert writer.used_bytes > 0
    assert registry.shrink("test", 0) == 0
    await until(lambda: sink.numbers == [0])


async def test_statistics_have_the_names_that_pages_know(writers: Any) -> None:
    """As JSON has them."""
    assert {"bufferSize", "totalFlushed", "totalFailed", "totalDropped"} < set(
        writers().statistics().as_json()
    )


async def test_a_bound_without_sense_is_refused(sink: Kept) -> None:
    """When the writer is made."""
    for options in (
        {"max_records": 0},
        {"max_bytes": 10},
        {"overflow": "perhaps"},
        {"flush_seconds": 0},
    ):
        with pytest.raises(ConfigError, match="writer 'test'"):
            BatchWriter("test", sink, **options)


def test_a_child_begins_with_an_empty_one(sink: Kept) -> None:
    """What its parent has added is the parent's; nothing is stored twice."""
    writer = BatchWriter("test", sink, flush_seconds=60)
    writer.put_many(numbered(0, 5))

    def child() -> None:
        assert writer.statistics().buffer_size == 0
        writer.put({"n": 100})
        asyncio.run(writer.close())
        assert sink.numbers == [100]

    assert status_of(fork(child)) == 0
    assert writer.statistics().buffer_size == 5
    asyncio.run(writer.close())
    assert sink.numbers == [0, 1, 2, 3, 4]


_PRINTS = """
import asyncio, gc, sys, threading
from tonnage import BatchWriter
from tonnage.governor.consumers import registry

class Prints:
    async def write(self, batch):
        print("stored", len(batch), flush=True)
    async def close(self):
        print("closed", flush=True)

def write():
    writer = BatchWriter("test", Prints())
    assert threading.active_count() == 1, "making one started a thread"
    assert "asyncpg" not in sys.modules and "tenacity" not in sys.modules
    writer.put({"n": 1})
    return writer
"""

_HELD = """
gc.collect()
print([use.name for use in registry.uses() if use.used_bytes], flush=True)
"""


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("writer = write()", ["['test']", "stored 1", "closed"]),
        ("write()", ["['test']", "stored 1", "closed"]),
        ("asyncio.run(write().close())", ["stored 1", "closed", "[]"]),
    ],
)
def test_what_is_there_when_python_ends_is_stored(use: str, said: list[str]) -> None:
    """Under any server, or none, whoever keeps the writer; until then it counts as held."""
    done = subprocess.run(
        [sys.executable, "-c", _PRINTS + use + _HELD], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout.splitlines(), done.stderr) == (said, "")
