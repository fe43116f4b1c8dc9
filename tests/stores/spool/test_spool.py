"""What was added is on the disk, and comes back until it is delivered."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import stat
import threading
import tracemalloc
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.stores.spool.disks import (
    FailingFiles,
    drained,
    files_in,
    filled,
    opened_files,
    segments_in,
    spool_in,
)
from tests.support.waiting import until

from tonnage.errors import (
    ConfigError,
    RecordsRejectedError,
    SpoolError,
    WriterClosedError,
    WriterFullError,
)
from tonnage.stores.writer.spool import Spool
from tonnage.stores.writer.spool.marks import Marks
from tonnage.stores.writer.spool.places import lock
from tonnage.units import KIB, MIB


async def test_what_was_added_comes_out_in_order_until_it_is_delivered(tmp_path: Path) -> None:
    """What was added comes out, in order, until it is delivered."""
    spool = spool_in(tmp_path)
    for number in range(5):
        await spool.add([{"number": number}])
    first = await spool.read(3, MIB)
    again = await spool.read(3, MIB)
    assert first is not None
    assert again is not None
    assert first.batch == again.batch
    assert [record["number"] for record in first.batch.records] == [0, 1, 2]
    assert spool.books.waiting == 5
    all_bytes = spool.books.used_bytes
    await spool.delivered(first)
    assert (spool.books.waiting, spool.books.used_bytes) == (2, all_bytes * 2 // 5)
    found = await drained(spool)
    assert [record["number"] for _, record in found] == [3, 4]
    assert first.batch.ids is not None
    assert len({*first.batch.ids, *(each for each, _ in found)}) == 5
    assert (spool.books.waiting, spool.books.used_bytes, spool.is_empty) == (0, 0, True)
    await spool.close()
    assert os.listdir(tmp_path / "events") == []


async def test_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    """Nothing is made before the first use."""
    threads = set(threading.enumerate())
    spool = spool_in(tmp_path)
    assert await spool.read(1, MIB) is None
    await spool.close()
    assert os.listdir(tmp_path) == []
    assert set(threading.enumerate()) <= threads


async def test_what_a_dead_process_has_left_is_adopted_with_its_ids(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a dead process has left is adopted, with its ids, before what is new; it is logged."""
    caplog.set_level(logging.INFO, "tonnage.stores")
    first = spool_in(tmp_path)
    await first.add([{"number": number} for number in range(4)])
    chunk = await first.read(2, MIB)
    assert chunk is not None
    await first.delivered(chunk)
    left = await first.read(10, MIB)
    assert left is not None
    assert left.batch.ids is not None

    other = spool_in(tmp_path)
    await other.adopt()
    assert not other.adopting, "it lives"
    (journal,) = {path.parent for path in segments_in(tmp_path)}
    await first.close()

    await other.add([{"number": 4}])
    assert await other.adopt()
    assert other.books.used_bytes > 100
    found = await drained(other)
    assert [record["number"] for _, record in found] == [2, 3, 4]
    assert [each for each, _ in found][:2] == list(left.batch.ids)
    assert other.books.used_bytes == 0
    assert caplog.messages == [
        "spool of writer events: a process ended before its records were delivered; they are now,"
        f" from {journal}",
        f"spool of writer events: {journal} is delivered",
    ]
    await other.close()
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", ["", "x" * 300])
async def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    """What was to be kept there is not taken."""
    spool = Spool(name, directory=tmp_path, max_bytes=MIB, in_memory=True)
    with pytest.raises(SpoolError, match="cannot be a writer's name"):
        await spool.add([{"number": 0}])
    await spool.close()
    assert os.listdir(tmp_path) == []


def test_a_journal_is_let_go_of_once(tmp_path: Path) -> None:
    """Any number of times, and never what has its number since."""
    held = lock(tmp_path)
    assert held is not None
    assert lock(tmp_path) is None
    held.close()
    other = lock(tmp_path)
    assert other is not None
    held.close()
    assert lock(tmp_path) is None
    other.close()


def test_since_when_many_wait_takes_little_to_know() -> None:
    """The more there are, the less often a time is noted; a queue that is empty begins anew."""
    marks = Marks()
    for number in range(1000):
        marks.add(number, float(number))
    assert marks.oldest_seconds(5000.0) == 0.0
    marks.remove(499)
    assert 499 < marks.oldest_seconds(5000.0) <= 516
    marks.remove(999)
    assert marks.oldest_seconds(5000.0) == 5000.0
    marks.add(1000, 6000.0)
    assert marks.oldest_seconds(7000.0) == 6000.0


async def test_many_who_add_at_once_share_an_fsync(tmp_path: Path) -> None:
    """Many who add at once share an fsync."""
    files = FailingFiles()
    spool = spool_in(tmp_path, files=files)
    await spool.add([{"number": -1}])
    before = files.syncs
    await asyncio.gather(*(spool.add([{"number": number}]) for number in range(500)))
    assert files.syncs - before <= 50
    assert [record["number"] for _, record in await drained(spool)] == list(range(-1, 500))
    await spool.close()


async def test_threads_add_too(tmp_path: Path) -> None:
    """Threads add too."""
    spool = spool_in(tmp_path)
    await asyncio.gather(
        *(asyncio.to_thread(spool.put, [{"number": number}], 10) for number in range(20))
    )
    found = {record["number"] for _, record in await drained(spool)}
    assert found == set(range(20))
    await spool.close()


async def test_a_full_spool_says_so_and_goes_on_when_some_is_delivered(tmp_path: Path) -> None:
    """A full spool says so, keeps what it has, and goes on when some is delivered."""
    spool = spool_in(tmp_path)
    taken = await filled(spool)
    with pytest.raises(WriterFullError, match=r"is full: 1 MB in .* wait for its sink"):
        await spool.add([{"number": taken, "text": "x" * 10_000}])
    assert sum(path.stat().st_size for path in segments_in(tmp_path)) <= MIB
    assert taken * 10_000 > 0.85 * MIB
    chunk = await spool.read(100, MIB)
    assert chunk is not None
    await spool.delivered(chunk)
    await spool.add([{"number": taken}])
    found = await drained(spool)
    numbers = [*(r["number"] for r in chunk.batch.records), *(r["number"] for _, r in found)]
    assert numbers == list(range(taken + 1))
    await spool.close()


async def test_of_many_the_first_ones_may_be_added(tmp_path: Path) -> None:
    """None that follows one for which there was no room, though it would fit."""
    spool = spool_in(tmp_path)
    # Two to a segment, and some room beside them.
    many = [{"number": number, "text": "x" * 16_000} for number in range(100)]
    with pytest.raises(WriterFullError):
        await spool.add([*many, {"number": 100, "text": "x" * 400}], first_ones=True)
    numbers = [record["number"] for _, record in await drained(spool)]
    assert 50 < len(numbers) < 70
    assert numbers == list(range(len(numbers)))
    await spool.close()


async def test_what_is_delivered_takes_no_room_any_more(tmp_path: Path) -> None:
    """Not even in a file without a name that somebody has open."""
    spool = spool_in(tmp_path)
    await filled(spool)
    count = len(segments_in(tmp_path))
    chunk = await spool.read(1000, 12 * MIB)
    assert chunk is not None
    await spool.delivered(chunk)
    assert len(segments_in(tmp_path)) == count - 1
    assert not [path for path in opened_files() if path.endswith(".records (deleted)")]
    await spool.close()


async def test_processes_share_the_bound(tmp_path: Path) -> None:
    """Processes share the bound."""
    spools = [spool_in(tmp_path) for _ in range(3)]
    full = 0
    while full < 3:
        full = 0
        for spool in spools:
            try:
                await spool.add([{"text": "x" * 15_000}])
            except WriterFullError:
                full += 1
    assert sum(path.stat().st_size for path in segments_in(tmp_path)) <= MIB
    for spool in spools:
        await spool.close()


async def test_one_process_at_a_time_looks_for_room(tmp_path: Path) -> None:
    """One process at a time looks for room, lest two take the last of it."""
    spool = spool_in(tmp_path)
    await spool.add([{"number": 1}])
    held = os.open(tmp_path / "events", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    other = spool_in(tmp_path)
    adding = asyncio.create_task(other.add([{"number": 2}]))
    await asyncio.sleep(0.05)
    assert not adding.done()
    os.close(held)
    await adding
    await other.close()
    await spool.close()


async def test_who_waits_for_room_gets_it(tmp_path: Path) -> None:
    """Who waits for room gets it, in order, and may give up."""
    spool = spool_in(tmp_path, waits=True)
    record = {"text": "x" * 10_000}

    async def fill() -> int:
        for number in range(300):
            await spool.add([record | {"number": number}])
        return number

    filling = asyncio.create_task(fill())
    await until(lambda: spool.is_blocked)
    impatient = asyncio.create_task(spool.add([{"number": "impatient"}]))
    await asyncio.sleep(0.01)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    with pytest.raises(WriterFullError, match="in time"):
        await asyncio.to_thread(spool.put, [{"number": "late"}], 0.01)
    assert not filling.done()
    found = []
    while not filling.done() or not spool.is_empty:
        found += await drained(spool)
        await asyncio.sleep(0)
    assert [each["number"] for _, each in found] == list(range(300))
    assert (spool.on_the_way, spool.on_the_way_bytes) == (0, 0)
    await spool.close()


async def test_all_who_wait_go_on_together(tmp_path: Path) -> None:
    """All who wait go on together, when there is room for all of them."""
    spool = spool_in(tmp_path, waits=True)
    full = asyncio.create_task(filled(spool))
    await until(lambda: spool.is_blocked)
    adding = [asyncio.create_task(spool.add([{"text": "x" * 10_000}])) for _ in range(2)]
    await asyncio.sleep(0)
    chunk = await spool.read(1000, 12 * MIB)
    assert chunk is not None
    assert len(chunk.batch) == 3
    await spool.delivered(chunk)
    async with asyncio.timeout(5):
        await asyncio.gather(*adding)
    full.cancel()
    with pytest.raises(asyncio.CancelledError):
        await full
    await spool.close()


async def test_who_waits_is_told_when_another_process_makes_room(tmp_path: Path) -> None:
    """Who waits is told when another process makes room: it is looked for."""
    other, spool = spool_in(tmp_path), spool_in(tmp_path, waits=True)
    await filled(other)
    waiting = asyncio.create_task(spool.add([{"text": "y" * 10_000}]))
    await until(lambda: spool.is_blocked)
    await spool.retry()
    assert spool.is_blocked
    await drained(other)
    await spool.retry()
    await waiting
    assert spool.on_the_way == 0
    await spool.close()
    await other.close()


async def test_only_a_bounded_piece_is_in_memory(tmp_path: Path) -> None:
    """Only a bounded piece is in memory; a larger record comes alone."""
    spool = spool_in(tmp_path, max_bytes=32 * MIB)
    await spool.add([{"text": "x" * 1000} for _ in range(100)])
    await spool.add([{"text": "y" * 300_000}])
    counts = []
    while (chunk := await spool.read(1000, 80_000)) is not None:
        counts.append(len(chunk.batch))
        await spool.delivered(chunk)
    assert counts[-1] == 1
    assert sum(counts) == 101
    assert max(counts) <= 10
    await spool.close()


@pytest.mark.parametrize(
    "record",
    [
        {"a": 1},
        {f"k{number}": number * 1000 for number in range(40)},
        {"nested": [{"a": 1, "b": "c"}] * 5},
        {"text": "x" * 2000, "at": datetime(2026, 3, 1)},
    ],
)
async def test_what_is_read_takes_no_more_memory_than_it_may(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    """What is read takes no more memory than it may, whatever records are like."""
    spool = spool_in(tmp_path, max_bytes=8 * MIB)
    await spool.add([record] * 3000)
    tracemalloc.start()
    try:
        chunk = await spool.read(10_000, MIB)
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert chunk is not None
    assert 0.05 * MIB < taken_bytes < MIB
    await spool.close()


async def test_a_record_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """A record that is too large is refused, and those beside it with it."""
    spool = spool_in(tmp_path)
    with pytest.raises(RecordsRejectedError, match=r"a record of 20 KB is too large.*16 KB"):
        await spool.add([{"number": 1}, {"text": "x" * 20 * KIB}])
    with pytest.raises(RecordsRejectedError, match="object"):
        await spool.add([{"number": 1}, {"it": object()}])
    assert spool.books.waiting == 0
    await spool.close()


async def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    """A closed spool takes nothing; what is left stays for the next."""
    spool = spool_in(tmp_path)
    adding = asyncio.create_task(spool.add([{"number": 1}]))
    await asyncio.sleep(0)
    await spool.close()
    await adding
    with pytest.raises(WriterClosedError):
        await spool.add([{"number": 2}])
    after = spool_in(tmp_path)
    await after.adopt()
    assert [record["number"] for _, record in await drained(after)] == [1]
    await after.close()


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Nobody else may read it."""
    spool = spool_in(tmp_path / "new" / "spool")
    await spool.add([{"number": 1}])
    for path in (tmp_path / "new").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    await spool.close()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory here")
async def test_a_directory_in_memory_is_refused() -> None:
    """A directory in memory is refused, with what to do."""
    spool = Spool("events", directory="/dev/shm/tonnage-test-spool", max_bytes=MIB)
    with pytest.raises(SpoolError, match=r"on a tmpfs.*--spool-dir"):
        await spool.add([{"number": 1}])
    await spool.close()
    os.rmdir("/dev/shm/tonnage-test-spool/events")
    os.rmdir("/dev/shm/tonnage-test-spool")


async def test_a_directory_that_cannot_be_made_is_an_error_with_advice(tmp_path: Path) -> None:
    """A directory that cannot be made is an error with advice."""
    (tmp_path / "file").write_text("")
    spool = spool_in(tmp_path / "file")
    with pytest.raises(SpoolError, match=r"cannot keep records in .*--spool-dir"):
        await spool.add([{"number": 1}])
    await spool.close()


def test_a_bound_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    """A bound that holds nothing is refused."""
    with pytest.raises(ConfigError, match="spool_bytes"):
        spool_in(tmp_path, max_bytes=1000)


async def test_writers_of_other_names_do_not_meet(tmp_path: Path) -> None:
    """Writers of other names do not meet, whatever their names are."""
    names = ["a/b", "a%2Fb", "..", ".", "é", "E", "e"]
    spools = [Spool(name, directory=tmp_path, max_bytes=MIB, in_memory=True) for name in names]
    for spool in spools:
        await spool.add([{"name": spool.name}])
    assert len(os.listdir(tmp_path)) == len(names)
    for spool in spools:
        assert [record for _, record in await drained(spool)] == [{"name": spool.name}]
        await spool.close()


async def test_how_long_the_oldest_waits(tmp_path: Path) -> None:
    """How long the oldest waits."""
    now = 100.0
    spool = spool_in(tmp_path, clock=lambda: now)
    await spool.add([{"number": 1}])
    now = 130.0
    await spool.add([{"number": 2}])
    now = 140.0
    assert spool.lag_seconds == 40
    chunk = await spool.read(1, MIB)
    assert chunk is not None
    await spool.delivered(chunk)
    assert spool.lag_seconds == 10
    await drained(spool)
    assert spool.lag_seconds == 0
    await spool.close()
