"""What of a cgroup's charge is cache: its halves, what is mapped, and what the disk must have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.host import trees

from tonnage.host.cgroups import memory_cgroups
from tonnage.host.filecache import REFAULT_PAGES_PER_SECOND, FileCache, waits_for_the_disk
from tonnage.units import GIB, MIB

# 240 MB of file pages.
STAT = {
    b"total_inactive_file": 100 * MIB,
    b"total_active_file": 140 * MIB,
    b"total_mapped_file": 15 * MIB,
    b"total_workingset_refault_file": 1000,
}


def cache(*, dirty_is_cache: bool = True) -> FileCache:
    """Return the cache of a version 1 group at 100 s."""
    return FileCache(1, 100.0, dirty_is_cache=dirty_is_cache)


def written(dirty_mb: int, writeback_mb: int) -> Mapping[bytes, int]:
    """Return STAT with so much dirty, and so much under way to the disk."""
    return STAT | {b"total_dirty": dirty_mb * MIB, b"total_writeback": writeback_mb * MIB}


def test_both_halves_are_cache_but_not_what_is_mapped() -> None:
    """A file read twice moves to the active half whole, and is still nothing but cache."""
    assert cache().size_bytes(STAT, 100.0) == 225 * MIB


def test_dirty_pages_are_cache_where_the_kernel_waits_for_the_disk() -> None:
    """It writes them out when there is need of room; nobody is killed."""
    assert cache().size_bytes(written(200, 20), 100.0) == 225 * MIB


def test_dirty_pages_are_used_where_the_kernel_may_kill_instead() -> None:
    """Those under way to the disk too."""
    found = cache(dirty_is_cache=False).size_bytes(written(20, 5), 100.0)

    assert found == 200 * MIB


def test_pages_that_stay_under_way_to_the_disk_are_used() -> None:
    """A slow disk: whoever wants their room must wait. Counted once a whole second has passed."""
    slow = cache()

    assert slow.size_bytes(written(200, 0), 100.0) == 225 * MIB
    assert [
        slow.size_bytes(written(0, writeback_mb), now) // MIB
        for now, writeback_mb in (
            (100.2, 200),
            (100.9, 195),
            (101.0, 190),
            (101.5, 180),
            (102.0, 170),
        )
    ] == [225, 225, 225, 225, 55]
    assert slow.size_bytes(written(0, 0), 102.1) == 225 * MIB


def test_a_flush_that_is_soon_done_changes_nothing() -> None:
    """A fast disk has much under way, for a fifth of a second, again and again."""
    fast = cache()

    found = {
        fast.size_bytes(written(0, 200 if step % 5 else 0), 100.0 + step / 5) for step in range(50)
    }

    assert found == {225 * MIB}


def test_active_cache_is_used_while_it_is_read_back_all_the_time() -> None:
    """Cache that is dropped and at once needed again is not free; calm is seen a second later."""
    busy = cache()
    thrashing = STAT | {b"total_workingset_refault_file": 1000 + 2 * REFAULT_PAGES_PER_SECOND}

    found = [
        (busy.size_bytes(stat, now) // MIB, busy.refaulting)
        for stat, now in ((STAT, 100.0), (thrashing, 102.0), (thrashing, 103.0))
    ]

    assert found == [(225, False), (85, True), (225, False)]


def test_a_short_burst_of_refaults_changes_nothing() -> None:
    """One file read back takes a tenth of a second; the rate is that of a whole second."""
    quiet = cache()
    quiet.size_bytes(STAT, 100.0)
    burst = STAT | {b"total_workingset_refault_file": 1000 + REFAULT_PAGES_PER_SECOND // 2}

    for step in range(1, 13):
        quiet.size_bytes(burst, 100.0 + step / 10)
        assert not quiet.refaulting


def test_more_held_than_cached_is_no_cache() -> None:
    """Mapped shared memory is counted as mapped, but is in neither half of the file cache."""
    assert cache().size_bytes(STAT | {b"total_mapped_file": 400 * MIB}, 100.0) == 0


@pytest.mark.parametrize(
    ("version", "lru_gen", "waits"),
    [(1, None, True), (1, "0x0000", True), (1, "0x0007", False), (2, None, False)],
)
def test_which_kernel_waits_for_the_disk(
    tmp_path: Path, version: int, lru_gen: str | None, waits: bool
) -> None:
    """Version 1, unless pages are aged by the multi-generational way."""
    (trees.v1 if version == 1 else trees.v2)(tmp_path, GIB)
    if lru_gen is not None:
        trees.write(tmp_path / "sys/kernel/mm/lru_gen/enabled", lru_gen)

    assert waits_for_the_disk(memory_cgroups(tmp_path)[0], tmp_path) is waits
