"""Durable writers, and writers that spool, as an application has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.stores.writer.sinks import Kept, numbered
from tests.support.disk import on_a_disk
from tests.support.waiting import until

from tonnage import BatchWriter
from tonnage.errors import (
    ConfigError,
    RecordsRejectedError,
    SpoolError,
    WriterClosedError,
    WriterFullError,
)
from tonnage.stores import background
from tonnage.stores.sinks.sink import Batch
from tonnage.stores.writer.delivery import Delivery
from tonnage.stores.writer.durable import DurableWriter
from tonnage.stores.writer.options import WriterOptions
from tonnage.stores.writer.rejected import Rejected
from tonnage.stores.writer.spool import Spool


class KeptWithIds(Kept):
    """A sink that keeps the ids too, also those of batches that it has refused."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tried: list[tuple[str, ...]] = []

    async def write(self, batch: Batch) -> None:
        """Store all of it, or nothing."""
        assert batch.ids is not None
        self.tried.append(tuple(batch.ids))
        await super().write(batch)
        self.ids += batch.ids


class Looking(Spool):
    """A spool that counts how often it is looked for journals of the dead."""

    looked = 0

    async def adopt(self) -> bool:
        """Look for them."""
        self.looked += 1
        return await super().adopt()


@pytest.fixture
def sink() -> KeptWithIds:
    """Return a sink that keeps all."""
    return KeptWithIds()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk."""
    with on_a_disk(tmp_path) as found:
        yield found


def durable(sink: Kept, directory: Path, **options: Any) -> BatchWriter:
    """Return a durable writer that stores soon."""
    given: dict[str, Any] = {
        "flush_seconds": 0.01,
        "durable": True,
        "spool_dir": directory,
    } | options
    return BatchWriter("events", sink, **given)


async def test_what_was_added_is_stored_with_its_id(sink: KeptWithIds, directory: Path) -> None:
    """By one and by many, in a loop and in a thread."""
    async with durable(sink, directory) as writer:
        assert await writer.add({"n": 0})
        assert await writer.add_many(numbered(1, 4)) == 3
        assert await asyncio.to_thread(writer.put, {"n": 4})
        assert await asyncio.to_thread(writer.put_many, numbered(5, 8)) == 3
        await writer.flush()
        assert sink.numbers == list(range(8))
        assert len(set(sink.ids)) == 8
        found = writer.statistics()
        assert (found.total_added, found.total_flushed, found.spooled) == (8, 8, 0)
        assert (found.buffer_size, found.total_dropped, found.spooled_bytes) == (0, 0, 0)
    assert list((directory / "events").iterdir()) == []
    with pytest.raises(WriterClosedError):
        await writer.add({"n": 8})


async def test_what_is_tried_again_has_the_same_ids(sink: KeptWithIds, directory: Path) -> None:
    """What is tried again has the same ids."""
    sink.errors = [ConnectionError("gone")]
    async with durable(sink, directory) as writer:
        await writer.add_many(numbered(0, 3))
        await writer.flush()
    assert sink.numbers == [0, 1, 2]
    assert sink.tried[0] == sink.tried[1] == tuple(sink.ids)


async def test_a_record_at_fault_is_set_aside_and_the_rest_goes_on(
    sink: KeptWithIds, directory: Path
) -> None:
    """A record at fault is set aside, and the rest goes on."""
    sink.rejects = lambda record: record["n"] == 2
    async with durable(sink, directory) as writer:
        await writer.add_many(numbered(0, 5))
        await writer.flush()
        assert sink.numbers == [0, 1, 3, 4]
        found = writer.statistics()
        assert (found.total_flushed, found.total_failed, found.spooled) == (4, 1, 0)


async def test_what_is_left_is_delivered_by_the_next_before_it_is_asked_anything(
    sink: KeptWithIds, directory: Path
) -> None:
    """What is left is delivered by the next, before that is asked anything."""
    sink.shut()
    writer = durable(sink, directory)
    await writer.add_many(numbered(0, 5))
    await until(lambda: sink.asked == 1)
    assert writer.statistics().spooled == 5
    assert writer.statistics().lag_seconds > 0
    await writer.close(seconds=0.01)
    assert writer.statistics().spooled == 5

    other = KeptWithIds()
    async with durable(other, directory) as after:
        background.begin()
        await until(lambda: len(other.records) == 5)
        assert tuple(other.ids) == sink.tried[0]
        await until(lambda: after.statistics().total_flushed == 5)


async def test_closing_does_not_wait_for_a_sink_that_fails(
    sink: KeptWithIds, directory: Path
) -> None:
    """Closing does not wait for a sink that fails: all is on disk."""
    sink.errors = [ConnectionError("gone")] * 1000
    writer = durable(sink, directory)
    await writer.add({"n": 1})
    async with asyncio.timeout(5):
        await writer.close(seconds=60)
    assert writer.statistics().spooled == 1
    assert sink.closed == 1


async def test_closing_ends_in_time_with_a_sink_that_hangs(
    sink: KeptWithIds, directory: Path
) -> None:
    """Also where it swallows its cancellation; nothing is lost."""
    may_end = asyncio.Event()

    async def hang(batch: Batch) -> None:
        sink.asked += 1
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    sink.write = hang  # type: ignore[method-assign]
    writer = durable(sink, directory)
    await writer.add_many(numbered(0, 5))
    await until(lambda: sink.asked == 1)
    async with asyncio.timeout(1):
        await writer.close(0.1)
    may_end.set()
    assert writer.statistics().spooled == 5

    other = KeptWithIds()
    async with durable(other, directory):
        background.begin()
        await until(lambda: other.numbers == [0, 1, 2, 3, 4])


async def test_a_directory_that_is_not_fit_is_said_once(
    sink: KeptWithIds, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not each time that it is looked for journals, nor with each record; and again if it changes.

    The line names the writer once.
    """
    place = directory / "spool"
    place.write_text("")
    options = WriterOptions("events", 1000, 1 << 20, 0.01, "drop", True, 1.0, None, place, 1 << 20)
    spool = Looking("events", directory=place, max_bytes=1 << 20)
    delivery = Delivery("events", sink, rejected=Rejected("events"))
    writer = DurableWriter(options, delivery, spool, adopt_seconds=0, pause_seconds=0.001)
    for _ in range(3):
        with pytest.raises(SpoolError):
            await writer.add({"n": 1})
    await until(lambda: spool.looked > 5)
    (line,) = caplog.messages
    assert line.startswith("writer 'events' cannot keep records in")
    place.unlink()
    await writer.add({"n": 2})
    await until(lambda: sink.numbers == [2])
    await writer.close(1)
    assert len([each for each in caplog.messages if "cannot keep" in each]) == 1


async def test_what_an_earlier_process_has_spooled_is_delivered_by_the_next(
    sink: KeptWithIds, directory: Path
) -> None:
    """What an earlier process has spooled is delivered by the next, before that is asked."""
    sink.shut()
    writer = durable(sink, directory)
    await writer.add_many(numbered(0, 5))
    await writer.close(seconds=0.01)

    other = Kept()
    async with BatchWriter("events", other, overflow="spool", spool_dir=directory) as after:
        background.begin()
        await until(lambda: len(other.records) == 5)
        await until(lambda: after.statistics().spooled == 0)


async def test_who_waits_for_room_gets_it_when_another_process_makes_some(
    sink: KeptWithIds, directory: Path
) -> None:
    """Who waits for room gets it when another process makes some."""
    other = KeptWithIds()
    async with durable(other, directory, spool_bytes="1M", overflow="wait") as waiting:
        large = {"text": "x" * 10_000}
        for number in range(3):
            await waiting.add(large | {"n": number})
        await waiting.flush()
        sink.shut()
        full = durable(sink, directory, spool_bytes="1M")
        with pytest.raises(WriterFullError):
            await full.add_many([large | {"n": -1}] * 200)
        # It has nothing to deliver, and rests, when this finds no room in its file.
        adding = asyncio.create_task(waiting.add(large | {"n": 3}))
        await until(lambda: waiting.statistics().waiting == 1)
        sink.open()
        async with asyncio.timeout(5):
            await adding
            await waiting.flush()
        assert other.numbers == [0, 1, 2, 3]
        await full.close()


async def test_what_cannot_be_adopted_is_said_once_and_tried_again(
    sink: KeptWithIds, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that fails there keeps nobody's own records waiting, nor what others have left."""
    for number in (1, 3):
        left = Spool("events", directory=directory, max_bytes=1 << 20)
        await left.add([{"n": number}])
        await left.close()
    position = min(directory.rglob("delivered"))  # noqa: ASYNC240  (some names)
    position.unlink()
    position.mkdir()
    options = WriterOptions(
        "events", 1000, 1 << 20, 0.01, "drop", True, 1.0, None, directory, 1 << 20
    )
    spool = Looking("events", directory=directory, max_bytes=1 << 20)
    delivery = Delivery("events", sink, rejected=Rejected("events"))
    writer = DurableWriter(options, delivery, spool, adopt_seconds=0.01, pause_seconds=0.001)
    await writer.add({"n": 2})
    await until(lambda: sorted(sink.numbers) == [2, 3] and spool.looked > 2)
    assert sum("Is a directory" in each for each in caplog.messages) == 1
    position.rmdir()
    await until(lambda: sink.numbers[2:] == [1])
    await writer.close(1)


async def test_records_wait_for_others_but_not_for_long(sink: KeptWithIds, directory: Path) -> None:
    """Records wait for others, but not for long; and not where there are enough."""
    async with durable(sink, directory, flush_seconds=0.1, max_records=40) as writer:
        await asyncio.gather(*(writer.add(each) for each in numbered(0, 10)))
        await until(lambda: len(sink.records) == 10)
        assert len(sink.batches) == 1
    async with durable(sink, directory, flush_seconds=60, max_records=40) as writer:
        await writer.add_many(numbered(10, 35))
        await until(lambda: len(sink.records) == 35)


@dataclass
class Click:
    """A typed record."""

    n: int
    where: tuple[int, int]


async def test_typed_records_are_kept_as_mappings(sink: KeptWithIds, directory: Path) -> None:
    """Typed records are kept as mappings; what cannot be kept is refused, not taken."""
    async with durable(sink, directory) as writer:
        await writer.add(Click(1, (2, 3)))
        with pytest.raises(RecordsRejectedError, match="object"):
            await writer.add({"n": object()})
        with pytest.raises(TypeError):
            await writer.add(7)
        await writer.flush()
    assert [dict(each) for each in sink.records] == [{"n": 1, "where": [2, 3]}]


async def test_a_flush_returns_while_others_keep_adding(sink: KeptWithIds, directory: Path) -> None:
    """A flush returns while others keep adding."""
    async with durable(sink, directory, flush_seconds=60) as writer:

        async def keep_adding() -> None:
            while True:
                await writer.add({"n": -1})

        adding = asyncio.create_task(keep_adding())
        for number in range(5):
            await writer.add({"n": number})
            await asyncio.wait_for(writer.flush(), 5)
            assert number in sink.numbers
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding


async def test_what_does_not_fit_into_memory_goes_to_disk_and_comes_back_in_order(
    directory: Path,
) -> None:
    """What does not fit into memory goes to disk, and comes back in order."""
    sink = Kept()
    writer = BatchWriter(
        "events", sink, max_records=100, flush_seconds=0.01, overflow="spool", spool_dir=directory
    )
    async with writer:
        await writer.add({"n": -1})
        await writer.flush()
        sink.shut()
        for begin in range(0, 5000, 50):
            await writer.add_many(numbered(begin, begin + 50))
        await until(lambda: writer.statistics().spooled > 4000)
        assert writer.statistics().buffer_size <= 100
        sink.open()
        await writer.flush()
        assert sink.numbers == list(range(-1, 5000))
        found = writer.statistics()
        assert (found.total_added, found.total_flushed, found.spooled) == (5001, 5001, 0)
        assert found.total_dropped == 0


def test_a_spool_that_holds_nothing_is_refused(sink: Kept, directory: Path) -> None:
    """A spool that holds nothing is refused."""
    with pytest.raises(ConfigError, match="spool_bytes"):
        durable(sink, directory, spool_bytes="10K")
