"""Disks that fail, processes that die, files that are damaged: what was acknowledged comes back."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.stores.spool.disks import FailingFiles, drained, files_in, segments_in, spool_in
from tests.support.forking import fork, status_of
from tests.support.waiting import until

from tonnage.errors import SpoolError, StoreError, WriterFullError
from tonnage.stores.writer.spool import frames
from tonnage.stores.writer.spool.spool import ON_THE_WAY_BYTES
from tonnage.units import MIB


async def _journal_of(directory: Path, records: list[dict[str, Any]]) -> Path:
    """Return the only segment of a journal of *records*, whose process is gone."""
    spool = spool_in(directory)
    for record in records:
        await spool.add([record])
    await spool.close()
    (path,) = segments_in(directory)
    return path


async def _adopted(directory: Path) -> list[tuple[str, dict[str, Any]]]:
    spool = spool_in(directory)
    await spool.adopt()
    found = await drained(spool)
    await spool.close()
    return found


async def test_cut_off_at_every_byte_the_whole_records_come_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut off at every byte, the records that are whole come back, and all is tidied up."""
    records = [{"number": number} for number in range(4)]
    path = await _journal_of(tmp_path / "made", records)
    data = path.read_bytes()
    ends = [each.end for each in frames.scan(data[frames.HEAD_BYTES :], frames.HEAD_BYTES).frames]
    assert len(ends) == len(records)
    for length in range(len(data) + 1):
        copy = tmp_path / str(length)
        shutil.copytree(tmp_path / "made", copy)
        os.truncate(copy / path.relative_to(tmp_path / "made"), length)
        caplog.clear()
        found = await _adopted(copy)
        is_torn = length > frames.HEAD_BYTES and length not in ends
        assert (f"to {length} was never finished; it is kept in" in caplog.text) is is_torn
        whole = sum(end <= length for end in ends)
        assert [record for _, record in found] == records[:whole]
        assert not segments_in(copy)


async def test_what_is_damaged_in_the_middle_is_kept_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is damaged in the middle is kept aside, said in the log, and the rest goes on."""
    path = await _journal_of(tmp_path, [{"number": number} for number in range(5)])
    data = bytearray(path.read_bytes())
    found = frames.scan(bytes(data[frames.HEAD_BYTES :]), frames.HEAD_BYTES)
    begin, end = found.frames[1].end, found.frames[2].end
    data[begin:end] = os.urandom(end - begin)
    path.write_bytes(data)
    assert [each["number"] for _, each in await _adopted(tmp_path)] == [0, 1, 3, 4]
    assert f"from byte {begin} to {end} is damaged and skipped; it is kept in" in caplog.text
    (kept,) = (tmp_path / "events" / "unreadable").iterdir()
    assert kept.read_bytes() == bytes(data[begin:end])
    assert kept.stat().st_mode & 0o777 == 0o600


async def test_a_damaged_stretch_larger_than_a_piece_is_passed_over(tmp_path: Path) -> None:
    """A damaged stretch that is larger than what is read at once is passed over."""
    path = await _journal_of(tmp_path, [{"n": number, "t": "x" * 500} for number in range(20)])
    data = bytearray(path.read_bytes())
    found = frames.scan(bytes(data[frames.HEAD_BYTES :]), frames.HEAD_BYTES)
    data[found.frames[4].end : found.frames[14].end] = bytes(
        found.frames[14].end - found.frames[4].end
    )
    path.write_bytes(data)
    spool = spool_in(tmp_path)
    await spool.adopt()
    numbers = []
    while (chunk := await spool.read(1000, 8_000)) is not None:
        numbers += [record["n"] for record in chunk.batch.records]
        await spool.delivered(chunk)
    assert numbers == [0, 1, 2, 3, 4, 15, 16, 17, 18, 19]
    await spool.close()


async def test_a_file_of_an_unknown_format_is_kept_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of an unknown format is kept aside."""
    path = await _journal_of(tmp_path, [{"number": 1}])
    data = bytearray(path.read_bytes())
    data[15] = 99
    path.write_bytes(data)
    assert await _adopted(tmp_path) == []
    assert f"{path} from byte 0 to {len(data)} is none of a format known here;" in caplog.text
    assert [path.read_bytes() for path in (tmp_path / "events" / "unreadable").iterdir()] == [data]


@pytest.mark.parametrize("text", [b"", b"rubbish", b"000000000001 000000000060 00000000\n"])
async def test_without_a_sensible_position_records_come_again(tmp_path: Path, text: bytes) -> None:
    """Without a sensible position records come again, with the same ids."""
    spool = spool_in(tmp_path)
    await spool.add([{"number": number} for number in range(4)])
    chunk = await spool.read(2, MIB)
    assert chunk is not None
    await spool.delivered(chunk)
    await spool.close()
    (position,) = (tmp_path / "events").rglob("delivered")
    position.write_bytes(text)
    found = await _adopted(tmp_path)
    assert [record["number"] for _, record in found] == [0, 1, 2, 3]
    assert chunk.batch.ids is not None
    assert [each for each, _ in found][:2] == list(chunk.batch.ids)


async def _two_segments(directory: Path, delivered: int) -> tuple[Path, Path, bytes]:
    """Return those of five records, of a process that is gone, and what was in the first one."""
    spool = spool_in(directory)
    for number in range(5):
        await spool.add([{"number": number, "text": "x" * 10_000}])
    first, second = segments_in(directory)
    data = first.read_bytes()
    for _ in range(delivered):
        chunk = await spool.read(1, MIB)
        assert chunk is not None
        await spool.delivered(chunk)
    await spool.close()
    return first, second, data


async def test_a_file_that_a_crash_left_after_its_delivery_is_removed(tmp_path: Path) -> None:
    """Nothing of it comes again."""
    first, _, data = await _two_segments(tmp_path, delivered=4)
    assert not first.exists()
    first.write_bytes(data)
    assert [record["number"] for _, record in await _adopted(tmp_path)] == [4]
    assert not segments_in(tmp_path)


async def test_a_file_that_a_crash_left_without_a_record_is_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing in it that a person would have to look at."""
    _, second, _ = await _two_segments(tmp_path, delivered=0)
    os.truncate(second, frames.HEAD_BYTES - 1)
    assert [record["number"] for _, record in await _adopted(tmp_path)] == [0, 1, 2]
    assert not segments_in(tmp_path)
    assert "kept in" not in caplog.text


async def test_a_position_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And delivering, which is what makes room, goes on."""
    path = await _journal_of(tmp_path, [{"number": number} for number in range(4)])
    position = path.with_name("delivered")
    position.unlink()
    position.symlink_to("/dev/full")
    spool = spool_in(tmp_path)
    await spool.adopt()
    found = await drained(spool, most_records=1)
    assert [record["number"] for _, record in found] == [0, 1, 2, 3]
    assert [message for message in caplog.messages if "written" in message] == [
        f"how far {path.parent} is delivered cannot be written down (No space left on device):"
        " after a crash, records come twice"
    ]
    await spool.close()


async def test_a_record_that_is_none_is_kept_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Though it lies there whole; those beside it are delivered."""
    path = await _journal_of(tmp_path, [{"number": number} for number in range(3)])
    data = path.read_bytes()
    first, second, _ = frames.scan(data[frames.HEAD_BYTES :], frames.HEAD_BYTES).frames
    strange = frames.frame(second.number, b"?" * len(second.payload))
    path.write_bytes(data[: first.end] + strange + data[second.end :])
    assert [each["number"] for _, each in await _adopted(tmp_path)] == [0, 2]
    assert f"from byte {first.end} to {second.end} is skipped: a record on disk" in caplog.text
    (kept,) = (tmp_path / "events" / "unreadable").iterdir()
    assert kept.read_bytes() == strange


@pytest.mark.parametrize("room", range(0, 400, 7))
async def test_a_disk_that_is_full_anywhere_in_a_record_loses_nothing(
    tmp_path: Path, room: int
) -> None:
    """A disk that is full anywhere in a record: that one is refused, and it goes on later."""
    files = FailingFiles()
    spool = spool_in(tmp_path, files=files)
    files.room_bytes = room
    taken = []
    for number in range(10):
        try:
            await spool.add([{"number": number}])
        except WriterFullError as error:
            assert "No space left" in str(error)  # noqa: PT017
        else:
            taken.append(number)
    assert len(taken) < 10
    files.room_bytes = 1 << 40
    await spool.add([{"number": 10}])
    assert [record["number"] for _, record in await drained(spool)] == [*taken, 10]
    await spool.close()
    assert files_in(tmp_path) == []


async def test_nothing_is_acknowledged_before_its_fsync(tmp_path: Path) -> None:
    """Nothing is acknowledged before its fsync; what is written by then can be cut off."""
    files = FailingFiles()
    spool = spool_in(tmp_path, files=files)
    await spool.add([{"number": 1}])
    (path,) = segments_in(tmp_path)
    size_bytes = path.stat().st_size
    files.may_sync.clear()
    adding = asyncio.create_task(spool.add([{"number": 2}]))
    await until(lambda: path.stat().st_size > size_bytes)
    await asyncio.sleep(0.01)
    assert not adding.done()
    assert spool.books.waiting == 1
    files.may_sync.set()
    await adding
    assert spool.books.waiting == 2
    await spool.close()


async def test_an_error_that_is_not_the_disks_is_told_to_those_who_wait(tmp_path: Path) -> None:
    """Such as a memory error in the disk's thread; nobody waits for ever, and it goes on later."""
    files = FailingFiles()
    spool = spool_in(tmp_path, files=files)
    await spool.add([{"number": 1}])
    files.error = MemoryError()
    async with asyncio.timeout(5):
        with pytest.raises(SpoolError, match="cannot keep a record on disk: MemoryError"):
            await spool.add([{"number": 2}])
    files.error = None
    await spool.add([{"number": 3}])
    assert [record["number"] for _, record in await drained(spool)] == [1, 3]
    await spool.close()


async def test_a_disk_that_is_slow_holds_up_who_adds_and_not_the_memory(tmp_path: Path) -> None:
    """A disk that is slow holds up those who add: only so much is on its way."""
    files = FailingFiles()
    spool = spool_in(tmp_path, files=files, max_bytes=64 * MIB)
    files.may_sync.clear()
    adding = [asyncio.create_task(spool.add([{"text": "x" * 10_000}])) for _ in range(300)]
    await until(lambda: spool.on_the_way_bytes > 0.9 * ON_THE_WAY_BYTES)
    await asyncio.sleep(0.01)  # for more, if it were let
    assert not any(each.done() for each in adding)
    assert spool.on_the_way_bytes <= ON_THE_WAY_BYTES
    with pytest.raises(WriterFullError, match="had no room on the disk for a record in time"):
        await asyncio.to_thread(spool.put, [{"text": "y" * 100_000}], 0.01)
    files.may_sync.set()
    await asyncio.gather(*adding)
    assert spool.books.waiting == 300
    assert spool.on_the_way_bytes == 0
    await spool.close()


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EIO, SpoolError), (errno.ENOSPC, WriterFullError), (errno.EDQUOT, WriterFullError)],
)
async def test_after_a_failed_fsync_the_same_file_is_never_trusted_again(
    tmp_path: Path, number: int, expected: type[StoreError]
) -> None:
    """After a failed fsync the same file is never trusted again; what failed does not come back."""
    files = FailingFiles()
    spool = spool_in(tmp_path, files=files)
    await spool.add([{"number": 1}])
    files.sync_errno = number
    for _ in range(3):
        with pytest.raises(expected) as refused:
            await spool.add([{"number": "never"}])
    if expected is SpoolError:
        assert str(refused.value).endswith(f"look at the disk of {tmp_path / 'events'}")
    files.sync_errno = 0
    await spool.add([{"number": 2}])
    assert files.trusted_again == []
    assert len(segments_in(tmp_path)) == 2
    await spool.close()
    assert [record["number"] for _, record in await _adopted(tmp_path)] == [1, 2]


async def test_where_not_even_cutting_off_works_a_new_file_is_begun(tmp_path: Path) -> None:
    """Where not even cutting off works, a new file is begun, and nothing follows the torn one."""
    files = FailingFiles()
    spool = spool_in(tmp_path, files=files)
    await spool.add([{"number": 1}])
    files.room_bytes, files.truncate_errno = 20, errno.EIO
    with pytest.raises(WriterFullError):
        await spool.add([{"number": "torn"}])
    files.room_bytes, files.truncate_errno = 1 << 40, 0
    await spool.add([{"number": 2}])
    assert len(segments_in(tmp_path)) == 2
    await spool.close()
    assert [record["number"] for _, record in await _adopted(tmp_path)] == [1, 2]


async def test_who_waits_for_room_waits_for_that_of_the_disk_too(tmp_path: Path) -> None:
    """Who waits for room waits for that of the disk too; a broken disk is an error at once."""
    files = FailingFiles()
    spool = spool_in(tmp_path, files=files, waits=True)
    await spool.add([{"number": 1}])
    files.room_bytes = 10
    waiting = asyncio.create_task(spool.add([{"number": 2}]))
    await until(lambda: spool.is_blocked)
    files.room_bytes = 1 << 40
    await spool.retry()
    await waiting
    files.sync_errno = errno.EIO
    with pytest.raises(SpoolError):
        await spool.add([{"number": "never"}])
    files.sync_errno = 0
    assert [record["number"] for _, record in await drained(spool)] == [1, 2]
    await spool.close()


async def test_who_waits_for_room_at_the_end_is_refused_and_counted(tmp_path: Path) -> None:
    """There is nobody left who would make some."""
    files = FailingFiles()
    spool = spool_in(tmp_path, files=files, waits=True)
    await spool.add([{"number": 1}])
    files.room_bytes = 10
    waiting = asyncio.create_task(spool.add([{"number": 2}, {"number": 3}]))
    await until(lambda: spool.is_blocked)
    await spool.close()
    with pytest.raises(WriterFullError):
        await waiting
    assert (spool.books.stored, spool.books.refused, spool.on_the_way) == (1, 2, 0)


async def test_failures_are_logged_once_and_so_is_their_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Failures are logged once, and so is their end."""
    files = FailingFiles()
    files.create_errno = errno.ENOSPC
    spool = spool_in(tmp_path, files=files)
    for _ in range(3):
        with pytest.raises(WriterFullError):
            await spool.add([{"number": 1}])
    files.create_errno = 0
    await spool.add([{"number": 1}])
    assert [record.message for record in caplog.records] == [
        "writer 'events' cannot keep a record on disk: No space left on device; records are"
        " refused until there is room",
        "spool of writer events: records are taken again",
    ]
    assert spool.books.refused == 3
    await spool.close()


def test_a_forked_child_does_not_keep_its_parents_journal(tmp_path: Path) -> None:
    """A forked child does not keep its parent's journal, and takes part with one of its own."""

    async def leave_one(number: int) -> None:
        spool = spool_in(tmp_path)
        await spool.add([{"number": number}])
        await spool.close()

    ready, go = os.pipe(), os.pipe()

    def child() -> None:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        asyncio.run(leave_one(2))
        os.write(ready[1], b"x")

    def parent() -> None:
        # Else the child would wait for itself if the test fails.
        os.close(go[1])
        spool = spool_in(tmp_path)
        asyncio.run(spool.add([{"number": 1}]))
        fork(child)

    try:
        assert status_of(fork(parent)) == 0
        os.read(ready[0], 1)
        # The child lives, and the parent is dead: its journal is free.
        assert [record["number"] for _, record in asyncio.run(_adopted(tmp_path))] == [1]
        os.write(go[1], b"x")
        os.read(ready[0], 1)
        assert [record["number"] for _, record in asyncio.run(_adopted(tmp_path))] == [2]
    finally:
        for fd in (*ready, *go):
            os.close(fd)


async def test_a_record_that_nobody_can_read_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whole as it is: such as that of a later release. It is kept aside, and the rest goes on."""
    path = await _journal_of(tmp_path, [{"number": number} for number in range(3)])
    data = path.read_bytes()
    found = frames.scan(data[frames.HEAD_BYTES :], frames.HEAD_BYTES)
    begin, end = found.frames[0].end, found.frames[1].end
    foreign = frames.frame(found.frames[1].number, b"\xc1" * 8)
    path.write_bytes(data[:begin] + foreign + data[end:])

    assert [each["number"] for _, each in await _adopted(tmp_path)] == [0, 2]
    (kept,) = (tmp_path / "events" / "unreadable").iterdir()
    assert kept.read_bytes() == foreign
    assert "is skipped" in caplog.text


async def test_what_is_kept_aside_has_a_bound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond it the log alone tells of the damage; a person has to look."""
    path = await _journal_of(tmp_path, [{"number": 1}])
    path.write_bytes(b"rubbish" * 20)
    directory = tmp_path / "events" / "unreadable"
    directory.mkdir()
    for number in range(32):
        (directory / str(number)).touch()

    assert await _adopted(tmp_path) == []
    assert len(list(directory.iterdir())) == 32
    assert "it could not be kept" in caplog.text


async def test_a_file_that_is_gone_before_it_is_read_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was in it is lost, and the log says so."""
    path = await _journal_of(tmp_path, [{"number": 1}])
    spool = spool_in(tmp_path)
    await spool.adopt()
    path.unlink()

    assert await spool.read(10, MIB) is None
    await spool.add([{"number": 2}])
    assert [record["number"] for _, record in await drained(spool)] == [2]
    await spool.close()
    assert f"{path} is gone, with the records that were in it" in caplog.text


async def test_where_the_position_cannot_be_kept_records_come_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are delivered all the same; the log says once what a crash would mean."""
    path = await _journal_of(tmp_path, [{"number": number} for number in range(3)])
    (path.parent / "delivered").unlink()
    (path.parent / "delivered").symlink_to("/dev/full")
    spool = spool_in(tmp_path)
    await spool.adopt()
    for _ in range(2):
        chunk = await spool.read(1, MIB)
        assert chunk is not None
        await spool.delivered(chunk)
    assert [record["number"] for _, record in await drained(spool)] == [2]
    await spool.close()
    assert caplog.text.count("after a crash, records come twice") == 1
