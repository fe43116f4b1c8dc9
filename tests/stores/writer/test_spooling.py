"""A writer that puts on disk what does not fit into memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.stores.writer.sinks import Kept, numbered
from tests.support.forking import await_in_child
from tests.support.waiting import until

from tonnage import BatchWriter
from tonnage.stores.background import begin
from tonnage.stores.sinks.sink import Batch
from tonnage.stores.statistics import WriterStatistics
from tonnage.stores.writer.backlog import SHUT_SECONDS


def spooling(sink: Kept, directory: Path, **options: Any) -> BatchWriter:
    """Return a small writer with a spool."""
    given: dict[str, Any] = {"max_records": 10, "flush_seconds": 60, "spool_dir": directory}
    return BatchWriter("test", sink, overflow="spool", **(given | options))


def in_all(found: WriterStatistics) -> int:
    """Return how many records wait, in memory and on disk."""
    return found.spooled + found.buffer_size


async def test_what_does_not_fit_goes_to_disk_and_comes_back_in_order(tmp_path: Path) -> None:
    """Nothing is dropped, and no more is in memory than may be."""
    sink = Kept()
    sink.shut()
    async with spooling(sink, tmp_path) as writer:
        for begin in range(0, 1000, 7):
            count = min(7, 1000 - begin)
            assert await writer.add_many(numbered(begin, begin + count)) == count
            assert writer.statistics().buffer_size <= 10
        # While a batch is on its way from memory to disk, both have it.
        await until(lambda: in_all(writer.statistics()) == 1000)
        assert writer.statistics().spooled_bytes > 0
        sink.open()
        await writer.flush()
        found = writer.statistics()
        assert (found.total_flushed, found.spooled, found.total_dropped) == (1000, 0, 0)
    assert sink.numbers == list(range(1000))


async def test_a_sink_that_keeps_up_needs_no_disk(tmp_path: Path) -> None:
    """Nothing is spooled."""
    sink = Kept()
    async with spooling(sink, tmp_path, max_records=1000) as writer:
        for n in range(0, 1000, 100):
            await writer.add_many(numbered(n, n + 100))
            assert writer.statistics().spooled == 0
            await writer.flush()
    assert sink.numbers == list(range(1000))


async def test_what_is_left_in_the_end_is_stored_by_the_next(tmp_path: Path) -> None:
    """None is dropped, and all but those that were on their way are in order."""
    sink = Kept()
    sink.shut()
    writer = spooling(sink, tmp_path)
    await writer.add_many(numbered(0, 100))
    await writer.close(0.02)
    assert writer.statistics().total_dropped == 0
    sink.open()
    async with spooling(sink, tmp_path) as after:
        await after.add_many(numbered(100, 105))
        await until(lambda: len(sink.records) == 105)
    assert sorted(sink.numbers) == list(range(105))
    assert [n for n in sink.numbers if n >= 5] == list(range(5, 105))


async def test_what_cannot_be_taken_over_keeps_nothing_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that fails for a journal of the dead takes new records; it is said, once."""
    sink = Kept()
    sink.shut()
    before = spooling(sink, tmp_path)
    await before.add_many(numbered(0, 100))
    await before.close(0.02)
    (position,) = tmp_path.rglob("delivered")  # noqa: ASYNC240  (some names)
    position.unlink()
    position.mkdir()
    writer = spooling(sink, tmp_path)
    await writer.add_many(numbered(100, 200))
    await writer.close(0.02)
    assert writer.statistics().total_dropped == 0
    assert sum("Is a directory" in each for each in caplog.messages) == 1


async def test_short_memory_has_it_spooled(tmp_path: Path) -> None:
    """All that waits, if the sink stands still."""
    sink = Kept()
    sink.shut()
    async with spooling(sink, tmp_path, max_records=100) as writer:
        await writer.add_many(numbered(0, 50))
        await until(lambda: sink.asked == 1)
        await writer.add_many(numbered(50, 60))
        writer.shrink(0)
        await until(lambda: writer.statistics().spooled == 10)
        await until(lambda: writer.statistics().buffer_size == 50)
        sink.open()
        await writer.flush()
    assert sink.numbers == list(range(60))


async def test_a_full_spool_drops_and_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was spooled before is stored."""
    sink = Kept()
    sink.shut()
    writer = spooling(sink, tmp_path, spool_bytes="1M", max_bytes="128K")
    async with writer:
        for n in range(0, 1000, 5):
            await writer.add_many({"n": m, "text": "x" * 10_000} for m in range(n, n + 5))
        found = writer.statistics()
        await asyncio.sleep(0.01)
        assert found.total_dropped > 500
        sink.open()
        await writer.flush()
        found = writer.statistics()
        assert found.total_flushed + found.total_dropped == found.total_added == 1000
    assert sink.numbers == sorted(sink.numbers)
    assert "records dropped, not spooled" in caplog.text


async def test_a_record_for_which_the_disk_has_no_room_is_not_taken(tmp_path: Path) -> None:
    """Whoever adds is told so; what was taken is stored, all of it, in order."""
    sink = Kept()
    sink.shut()
    writer = spooling(sink, tmp_path, spool_bytes="1M", max_bytes="128K")
    async with writer:
        taken = [n for n in range(400) if await writer.add({"n": n, "text": "x" * 10_000})]
        assert 50 < len(taken) < 150
        assert await writer.add_many({"n": n, "text": "x" * 10_000} for n in range(5)) == 0
        assert not await asyncio.to_thread(writer.put, {"n": 0, "text": "x" * 10_000})
        assert writer.statistics().total_dropped == 406 - len(taken)
        sink.open()
        await writer.flush()
        found = writer.statistics()
        assert (found.total_flushed, found.total_dropped) == (len(taken), 406 - len(taken))
    assert sink.numbers == taken


async def test_without_a_disk_it_works_from_memory_and_drops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for ever, and the log says why; once there is a disk it is used."""
    place = tmp_path / "spool"
    place.write_text("")
    sink = Kept()
    async with spooling(sink, place) as writer:
        await writer.add_many(numbered(0, 5))
        await writer.flush()
        sink.shut()
        await writer.add_many(numbered(5, 100))
        await until(lambda: writer.statistics().total_dropped >= 85)
        assert writer.statistics().total_dropped == 85
        place.unlink()
        await asyncio.sleep(SHUT_SECONDS)
        assert await writer.add_many(numbered(100, 200)) == 100
        await until(lambda: writer.statistics().spooled > 50)
        sink.open()
        await writer.flush()
        found = writer.statistics()
        assert found.total_flushed + found.total_dropped == found.total_added == 200
        assert found.total_dropped == 85
    assert sink.numbers == sorted(sink.numbers)
    assert sum("cannot keep records in" in line for line in caplog.messages) <= 3
    assert sum("name a directory that can be written" in line for line in caplog.messages) >= 1
    assert "records dropped, not spooled" in caplog.text


async def test_a_worker_that_begins_stores_what_was_left(tmp_path: Path) -> None:
    """Before anything is added."""
    sink = Kept()
    sink.shut()
    writer = spooling(sink, tmp_path)
    await writer.add_many(numbered(0, 100))
    await writer.close(0.02)
    sink.open()
    async with spooling(sink, tmp_path):
        begin()
        await until(lambda: len(sink.records) == 100)


@pytest.mark.parametrize("durable", [True, False])
async def test_a_forked_worker_counts_what_was_left(tmp_path: Path, durable: bool) -> None:
    """It was its own writer that stored it, and not the one that the import had before the fork."""
    sink = Kept()
    sink.shut()
    made: dict[str, Any] = {"durable": durable, "overflow": "drop" if durable else "spool"}
    writer = BatchWriter("test", sink, spool_dir=tmp_path, max_records=10, **made)
    await writer.add_many(numbered(0, 10))
    await writer.close(0.02)
    del writer
    sink.open()
    imported = BatchWriter("test", sink, spool_dir=tmp_path, max_records=10, **made)

    async def serve() -> None:
        begin()
        await until(lambda: imported.statistics().total_flushed == 10)

    assert await await_in_child(serve) == 0


async def test_a_sink_that_is_now_fast_now_slow_gets_all_in_order(tmp_path: Path) -> None:
    """From memory and from disk by turns."""

    class Moody(Kept):
        async def write(self, batch: Batch) -> None:
            await asyncio.sleep((self.asked * 7 % 5) / 1000)
            await super().write(batch)

    sink = Moody()
    async with spooling(sink, tmp_path) as writer:
        spooled = 0
        for begin in range(0, 1500, 3):
            await writer.add_many(numbered(begin, begin + 3))
            spooled += writer.statistics().spooled > 0
            if begin % 50 == 0:
                await asyncio.sleep(0.005)
        await writer.flush()
        assert spooled > 0
    assert sink.numbers == list(range(1500))


async def test_a_record_that_cannot_be_written_is_set_aside_by_itself(tmp_path: Path) -> None:
    """Its neighbours go to disk, and are stored in order."""
    sink = Kept()
    sink.shut()
    async with spooling(sink, tmp_path) as writer:
        await writer.add_many(numbered(0, 10))
        await writer.add_many([{"n": 10}, {"n": 11, "key": object()}, *numbered(12, 40)])
        await until(lambda: writer.statistics().total_failed == 1)
        sink.open()
        await writer.flush()
        assert writer.statistics().total_dropped == 0
    assert sink.numbers == [n for n in range(40) if n != 11]


async def test_who_waits_for_room_is_spooled_past_a_full_memory(tmp_path: Path) -> None:
    """All of memory is on its way to a sink that stands still: nobody waits for that."""
    sink = Kept()
    sink.shut()
    async with spooling(sink, tmp_path, max_records=1) as writer:
        await writer.add({"n": 0})
        await until(lambda: sink.asked)
        assert await writer.add_many(numbered(1, 5)) == 4
        assert writer.statistics().spooled == 4
        sink.open()
        await writer.flush()
    assert sink.numbers == list(range(5))
