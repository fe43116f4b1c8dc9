"""Somebody removes or moves a spool's directory while it is in use: what is taken then is kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stores.spool.disks import drained, segments_in, spool_in

from tonnage.stores.writer.spool import Spool


def _remove(path: Path) -> None:
    shutil.rmtree(path)


def _move(path: Path) -> None:
    path.rename(path.with_name("moved"))


def _all(root: Path) -> Path:
    return root


def _writer(root: Path) -> Path:
    return root / "events"


def _journal(root: Path) -> Path:
    return segments_in(root)[0].parent


async def _after_a_crash(root: Path, copy: Path) -> list[Any]:
    """Return what the next process would find; the lock of this one is not in the copy."""
    shutil.copytree(root, copy)
    successor = spool_in(copy)
    await successor.adopt()
    found = await drained(successor)
    await successor.close()
    return [record["number"] for _, record in found]


@pytest.mark.parametrize("take", [_remove, _move])
@pytest.mark.parametrize("of", [_all, _writer, _journal])
async def test_what_is_added_afterwards_outlives_the_process(
    tmp_path: Path,
    of: Callable[[Path], Path],
    take: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is added afterwards is in files that are there, and the log says what happened."""
    root = tmp_path / "spool"
    spool = spool_in(root)
    await spool.add([{"number": 0}])
    await drained(spool)
    journal = _journal(root)
    take(of(root))
    for number in (1, 2):
        await spool.add([{"number": number}])
    assert await _after_a_crash(root, tmp_path / "copy") == [1, 2]
    assert [message for message in caplog.messages if "removed" in message] == [
        f"spool of writer events: {journal} was removed or moved while it was in use; records are"
        " kept in a new one"
    ]

    ids, records = zip(*await drained(spool), strict=True)
    assert [record["number"] for record in records] == [1, 2]
    assert len(set(ids)) == 2
    assert (spool.books.waiting, spool.books.used_bytes, spool.is_empty) == (0, 0, True)
    await spool.close()


async def test_a_file_that_was_replaced_is_added_to_no_more(tmp_path: Path) -> None:
    """As by a backup that was played back: what is added then is in a file of its own."""
    root = tmp_path / "spool"
    spool = spool_in(root)
    await spool.add([{"number": 0}])
    (path,) = segments_in(root)
    shutil.copy(path, tmp_path / "backup")
    (tmp_path / "backup").replace(path)
    await spool.add([{"number": 1}])
    assert len(segments_in(root)) == 2
    assert sorted(await _after_a_crash(root, tmp_path / "copy")) == [0, 1]
    assert [record["number"] for _, record in await drained(spool)] == [0, 1]
    await spool.close()


async def test_what_is_being_delivered_goes_on(tmp_path: Path) -> None:
    """What was read already comes first, once; what is added meanwhile comes after it."""
    spool = spool_in(tmp_path)
    for number in range(4):
        await spool.add([{"number": number}])
    chunk = await spool.read(2, 1 << 20)
    assert chunk is not None
    shutil.rmtree(tmp_path / "events")
    await spool.add([{"number": 4}])
    assert not spool.is_empty
    await spool.delivered(chunk)
    found = [record["number"] for _, record in await drained(spool)]
    assert found == [2, 3, 4]
    assert (spool.books.waiting, spool.books.used_bytes, spool.is_empty) == (0, 0, True)
    await spool.close()


async def test_what_is_left_of_a_removed_journal_counts_beside_that_of_the_dead(
    tmp_path: Path,
) -> None:
    """What is on the disk, in files without names too, until it is delivered."""
    dead = spool_in(tmp_path)
    for number in range(2):
        await dead.add([{"number": number}])
    each_bytes = dead.books.used_bytes // 2
    await dead.close()
    spool = spool_in(tmp_path)
    await spool.adopt()
    for number in range(2, 5):
        await spool.add([{"number": number}])
    (own,) = {path.parent for path in segments_in(tmp_path)} - {_journal(tmp_path)}
    shutil.rmtree(own)
    await spool.add([{"number": 5}])
    assert spool.books.used_bytes == 6 * each_bytes
    await drained(spool)
    assert spool.books.used_bytes == 0
    await spool.close()


async def test_one_that_is_idle_has_its_directory_again(tmp_path: Path) -> None:
    """Looking for what others have left does not fail for good, and records are taken."""
    spool: Spool = spool_in(tmp_path / "spool")
    assert not await spool.adopt()
    shutil.rmtree(tmp_path / "spool")
    assert not await spool.adopt()
    shutil.rmtree(tmp_path / "spool")
    await spool.add([{"number": 0}])
    assert await _after_a_crash(tmp_path / "spool", tmp_path / "copy") == [0]
    await spool.close()
