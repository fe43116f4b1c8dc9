"""How much of a cgroup's charge is file cache that the kernel can take back when it needs room.

    cache = inactive_file + active_file - mapped - what must reach the disk first

Both halves count, because a file read twice moves to the active half whole and is still nothing
but cache. Mapped pages (the code of running programs) come back at once, so these are no cache;
while the cache is ``refaulting``, neither is the active half: it is what is being read.

Pages that were written to are the kernel's to take as well, once they are on the disk. Where it
sees to that when room is needed, they are cache, and a log file or an upload is no reason to turn
anybody away; see :func:`waits_for_the_disk`. A disk that does not keep up shows in pages that stay
under way to it: these are no cache once that has lasted.

Pure: what the figures are read from, and how often, is ``usage``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tonnage.host.cgroups import MemoryCgroup
from tonnage.host.counters import V1_KEYS, V2_KEYS

# The cache thrashes when pages that were dropped and are needed again come back at this rate:
# 2,048 pages of 4 KB a second are two thirds of the 3,000 random reads a second that entry-level
# cloud volumes grant. It is over at half the rate, both seen over at least a second, so that one
# file read back at once (512 pages for 2 MB) does not count.
REFAULT_PAGES_PER_SECOND: Final = 2048
REFAULT_WINDOW_SECONDS: Final = 1.0

# A disk of 1 GB/s and more has up to 240 MB under way while 450 MB are flushed, and is done in
# 0.2 s; one of 10 MB/s takes 45 s (both measured). What was under way at every look of the last
# second, and up to two, is what one would have to wait for.
LASTING_SECONDS: Final = 1.0


class FileCache:
    """What ``memory.stat`` says of the cache, and what of that changed since the last time."""

    def __init__(self, version: int, now: float, *, dirty_is_cache: bool) -> None:
        self.refaulting = False
        self._keys = V2_KEYS if version == 2 else V1_KEYS
        self._dirty_is_cache = dirty_is_cache
        self._refaults_at = now
        self._refaults: int | None = None  # pages; None until first read
        # The least that was under way to the disk, in this window and in the one before.
        self._window_at = now
        self._least_now: int | None = None
        self._least_before = 0

    def size_bytes(self, stat: Mapping[bytes, int], now: float) -> int:
        """Return how much can be taken back, from the figures of ``memory.stat``."""
        keys = self._keys
        self._note_refaults(stat.get(keys.refault) or stat.get(keys.old_refault, 0), now)
        cache = stat.get(keys.inactive, 0)
        if not self.refaulting:
            cache += stat.get(keys.active, 0)
        held = stat.get(keys.mapped, 0)
        writeback = stat.get(keys.writeback, 0)
        if self._dirty_is_cache:
            held += self._lasting(writeback, now)
        else:
            held += stat.get(keys.dirty, 0) + writeback
        return max(0, cache - held)

    def _note_refaults(self, refaults: int, now: float) -> None:
        """Compare the kernel's counter of pages read back with what it was a second ago."""
        if self._refaults is None:
            self._refaults, self._refaults_at = refaults, now
        seconds = now - self._refaults_at
        if seconds < REFAULT_WINDOW_SECONDS:
            return
        per_second = (refaults - self._refaults) / seconds
        mark = REFAULT_PAGES_PER_SECOND / (2 if self.refaulting else 1)
        self.refaulting = per_second >= mark
        self._refaults, self._refaults_at = refaults, now

    def _lasting(self, writeback: int, now: float) -> int:
        """Return the least that was under way since the window before this one began."""
        if now - self._window_at >= LASTING_SECONDS:
            self._least_before = self._least_now or 0
            self._least_now = None
            self._window_at = now
        least = writeback if self._least_now is None else min(self._least_now, writeback)
        self._least_now = least
        return min(least, self._least_before)


def waits_for_the_disk(cgroup: MemoryCgroup, root: Path = Path("/")) -> bool:
    """Return whether the kernel, out of room in *cgroup*, writes dirty pages out and waits.

    Version 1 does: a process that allocates stands still meanwhile and nobody is killed, tried with
    450 MB dirty of 512 and disks of 10 MB/s and 2 GB/s. Version 2 may kill instead, but lets only
    about a fifth of the group's memory become dirty (``vm.dirty_ratio``), so that there they can
    count as used and still trigger nothing. With the multi-generational LRU, kernels before 6.14
    forget to write them out and kill in either version.
    """
    if cgroup.version != 1:
        return False
    try:
        enabled = int((root / "sys/kernel/mm/lru_gen/enabled").read_text(), 16)
    except (OSError, ValueError):
        enabled = 0  # this kernel was built without it
    return not enabled
