"""How much of a limit is used now.

Three meters, one for each sort of limit; ``meter_for`` picks. Each returns a ``Usage``:

* ``CgroupMeter``: what the kernel charges to a cgroup, less the file cache it can take back;
* ``TreeMeter``: the shares (PSS) of our own processes, for a limit that the kernel does not count;
* ``HostMeter``: what is not available any more on the whole machine.

A meter is read up to 200 times a second, so files stay open and are read in place. A meter is not
safe to share between threads. ``MeterError`` means blind: whoever governs must not go on as if
all were well. Which limit binds is found by ``limits``; what to do about it, by the governor.

Not covered: systems without /proc, where every meter raises ``MeterError`` when made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tonnage.host.cgroups import MemoryCgroup
from tonnage.host.counters import V1_KEYS, V2_KEYS, KillCounter, MeterError, OpenFile
from tonnage.host.limits import Limit
from tonnage.host.processes import Statm, read_rollup

__all__ = ["CgroupMeter", "HostMeter", "Meter", "MeterError", "TreeMeter", "Usage", "meter_for"]

Clock = Callable[[], float]

# The cache thrashes when pages that were dropped and are needed again come back at this rate:
# 2,048 pages of 4 KB a second are two thirds of the 3,000 random reads a second that entry-level
# cloud volumes grant. It is over at half the rate, both seen over at least a second, so that one
# file read back at once (512 pages for 2 MB) does not count.
REFAULT_PAGES_PER_SECOND = 2048
REFAULT_WINDOW_SECONDS = 1.0

# Above this share of the limit the kernel may be dropping cache, which is when an old memory.stat
# misleads: it is then read ten times as often.
_TIGHT_SHARE = 15 / 16
_TIGHT_HASTE = 10

# A roll-up takes 6 to 14 ms for 100 MB, so four a second keep it near 4 % of one processor, however
# often processes come and go.
_ROLLUP_SPACING_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Usage:
    """One reading of a meter.

    Attributes:
        used_bytes: What counts towards the limit.
        raw_bytes: What the kernel charges, reclaimable cache included; else as used_bytes.
        cache_bytes: File pages that were subtracted because the kernel can take them back.
        kills: The kernel's count of processes killed for want of memory in our cgroup since that
            was made; 0 where unknown. Only its growth means anything.
        how: What was measured, for people.
    """

    used_bytes: int
    raw_bytes: int
    cache_bytes: int
    kills: int
    how: str


class Meter(Protocol):
    """Reads what is used of one limit."""

    def read(self) -> Usage:
        """Return what is used now.

        Raises:
            MeterError: if it cannot be told.
        """

    def close(self) -> None:
        """Give the open files back; closing twice is harmless."""


def meter_for(
    limit: Limit,
    pids: Callable[[], Iterable[int]],
    root: Path = Path("/"),
    clock: Clock = time.monotonic,
) -> Meter:
    """Return the meter that fits *limit*; *pids* lists the processes that are ours.

    A cgroup's limit is measured where it binds, be that our own group or a parent. A setting, and
    a limit on address space, concern our processes alone. Make a new meter when the limit changes.

    Raises:
        MeterError: if the files it needs cannot be opened.
    """
    if limit.kind == "cgroup" and limit.cgroup is not None:
        return CgroupMeter(
            limit.cgroup, clock, limit_bytes=limit.bytes, own_cgroup=limit.own_cgroup
        )
    if limit.kind == "host":
        return HostMeter(root, own_cgroup=limit.own_cgroup)
    return TreeMeter(pids, clock, root=root, own_cgroup=limit.own_cgroup)


class CgroupMeter:
    """The working set of a cgroup: its charge less the file cache the kernel can take back.

        used = usage - (inactive_file + active_file - dirty - writeback - mapped)

    Both halves of the cache are subtracted, because a file read twice moves to the active half
    whole and is still nothing but cache. Dirty pages and pages being written must reach the disk
    first, and mapped ones (the code of running programs) come back at once, so these count as
    used. While ``refaulting``, the active half counts as used as well: it is what is being read.

    ``memory.stat`` is dear on some hosts (190 us), so it is read every *stat_every_seconds*, ten
    times as often near *limit_bytes*; in between, cache that the kernel drops counts as dropped
    late, so that ``used_bytes`` is too low by that much for that long. The charge is read always.

    *own_cgroup* is where our processes are if that is not *cgroup*: version 1 counts a kill in the
    group of the process only.
    """

    HOW = "cgroup working set"

    def __init__(
        self,
        cgroup: MemoryCgroup,
        clock: Clock = time.monotonic,
        stat_every_seconds: float = 0.1,
        *,
        limit_bytes: int | None = None,
        own_cgroup: MemoryCgroup | None = None,
    ) -> None:
        self.refaulting = False
        self._clock = clock
        self._stat_every_seconds = stat_every_seconds
        self._tight_bytes = int(limit_bytes * _TIGHT_SHARE) if limit_bytes else None
        self._keys = V2_KEYS if cgroup.version == 2 else V1_KEYS
        self._usage = OpenFile(cgroup.usage_path)
        try:
            self._stat = OpenFile(cgroup.stat_path)
        except MeterError:
            self._usage.close()
            raise
        self._kills = KillCounter(own_cgroup or cgroup)
        self._stat_at = float("-inf")
        self._cache_bytes = 0
        self._refaults_at = clock()
        self._refaults: int | None = None  # pages; None until first read

    def read(self) -> Usage:
        """Return what is used now.

        Raises:
            MeterError: if the cgroup's files cannot be read any more.
        """
        raw_bytes = self._usage.read_int()
        now = self._clock()
        wait_seconds = self._stat_every_seconds
        if self._tight_bytes is not None and raw_bytes > self._tight_bytes:
            wait_seconds /= _TIGHT_HASTE
        if now - self._stat_at >= wait_seconds:
            self._read_stat(now)
        cache_bytes = min(self._cache_bytes, raw_bytes)
        used_bytes = raw_bytes - cache_bytes
        return Usage(used_bytes, raw_bytes, cache_bytes, self._kills.read(), self.HOW)

    def close(self) -> None:
        """Give the open files back; closing twice is harmless."""
        for file in (self._usage, self._stat, self._kills):
            file.close()

    def _read_stat(self, now: float) -> None:
        stat = self._stat.read_table()
        self._stat_at = now
        keys = self._keys
        self._note_refaults(stat.get(keys.refault) or stat.get(keys.old_refault, 0), now)
        cache = stat.get(keys.inactive, 0)
        if not self.refaulting:
            cache += stat.get(keys.active, 0)
        held = stat.get(keys.dirty, 0) + stat.get(keys.writeback, 0) + stat.get(keys.mapped, 0)
        self._cache_bytes = max(0, cache - held)

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


class TreeMeter:
    """The sum of our processes' shares (PSS): for a setting inside a larger, shared cgroup.

    PSS divides each shared page among those who share it, so the sum counts it once; resident
    sizes summed would count it once a process. A roll-up of PSS is slow, so each process has one
    when it first appears and then every *rollup_every_seconds*, one process at a time, a quarter of
    a second apart; in between, its share moves with its private memory (``statm``). Two things are
    seen only by the next roll-up: a forked child that writes to pages it shared until then, and
    the larger share of those who stay when one ends. So a change among the processes makes a
    roll-up of all due.

    It holds one open file for each process that *pids* lists.
    """

    HOW = "PSS of our processes"

    def __init__(
        self,
        pids: Callable[[], Iterable[int]],
        clock: Clock = time.monotonic,
        rollup_every_seconds: float = 10.0,
        root: Path = Path("/"),
        *,
        own_cgroup: MemoryCgroup | None = None,
    ) -> None:
        self._pids = pids
        self._clock = clock
        self._rollup_every_seconds = rollup_every_seconds
        self._root = root
        self._kills = KillCounter(own_cgroup)
        self._rolled_up_at = clock()
        self._shares: dict[int, _Share] = {}  # bounded by what pids() lists

    def read(self) -> Usage:
        """Return what is used now.

        Raises:
            MeterError: if none of the processes is there, or one may not be looked at.
        """
        now = self._clock()
        try:
            self._follow(set(self._pids()), now)
            self._roll_up_the_stalest(now)
        except OSError as error:
            raise MeterError(f"our processes' memory cannot be read: {error}") from error
        used_bytes = 0
        for pid in list(self._shares):
            try:
                used_bytes += self._shares[pid].read()
            except ProcessLookupError:
                self._drop(pid)
        if not self._shares:
            raise MeterError("our processes' memory cannot be read: none of them is there")
        return Usage(used_bytes, used_bytes, 0, self._kills.read(), self.HOW)

    def close(self) -> None:
        """Give the open files back; closing twice is harmless."""
        for pid in list(self._shares):
            self._drop(pid)
        self._kills.close()

    def _follow(self, pids: set[int], now: float) -> None:
        """Drop who is gone, and roll up who is new."""
        for pid in self._shares.keys() - pids:
            self._drop(pid)
        new = pids - self._shares.keys()
        if new:
            self._make_all_due()
        for pid in new:
            try:
                self._shares[pid] = _Share(pid, now, self._root)
            except ProcessLookupError:
                continue  # it ended before it was ever seen

    def _roll_up_the_stalest(self, now: float) -> None:
        share = min(self._shares.values(), key=lambda share: share.rolled_up_at, default=None)
        if share is None or now - share.rolled_up_at < self._rollup_every_seconds:
            return
        if now - self._rolled_up_at < _ROLLUP_SPACING_SECONDS:
            return
        self._rolled_up_at = now
        try:
            share.roll_up(now)
        except ProcessLookupError:
            self._drop(share.pid)

    def _drop(self, pid: int) -> None:
        self._shares.pop(pid).close()
        self._make_all_due()

    def _make_all_due(self) -> None:
        for share in self._shares.values():
            share.rolled_up_at = float("-inf")


class HostMeter:
    """What the whole machine has in use: MemTotal - MemAvailable, whoever uses it.

    MemAvailable is the kernel's own estimate of what can be had without swapping (Linux 3.14 or
    newer), so the cache that can be taken back is not counted.
    """

    HOW = "host MemTotal - MemAvailable"

    def __init__(self, root: Path = Path("/"), *, own_cgroup: MemoryCgroup | None = None) -> None:
        self._meminfo = OpenFile(root / "proc/meminfo")
        self._kills = KillCounter(own_cgroup)

    def read(self) -> Usage:
        """Return what is used now.

        Raises:
            MeterError: if /proc/meminfo does not say.
        """
        text = self._meminfo.read()
        try:
            total, free, available = (
                int(text[text.index(key) + len(key) :].split(None, 1)[0]) * 1024
                for key in (b"MemTotal:", b"MemFree:", b"MemAvailable:")
            )
        except (ValueError, IndexError) as error:
            raise MeterError(f"{self._meminfo.path} does not give MemAvailable") from error
        used_bytes = max(0, total - available)
        raw_bytes = max(used_bytes, total - free)
        return Usage(used_bytes, raw_bytes, raw_bytes - used_bytes, self._kills.read(), self.HOW)

    def close(self) -> None:
        """Give the open files back; closing twice is harmless."""
        self._meminfo.close()
        self._kills.close()


class _Share:
    """One process's PSS at its last roll-up, carried on by what its private memory did since."""

    def __init__(self, pid: int, now: float, root: Path) -> None:
        self.pid = pid
        self._root = root
        self._statm = Statm(pid, root)
        try:
            self.roll_up(now)
        except OSError:
            self._statm.close()
            raise

    def roll_up(self, now: float) -> None:
        self._pss_bytes = read_rollup(self.pid, self._root).pss_bytes
        self._private_bytes = self._statm.read().private_bytes
        self.rolled_up_at = now

    def read(self) -> int:
        return max(0, self._pss_bytes + self._statm.read().private_bytes - self._private_bytes)

    def close(self) -> None:
        self._statm.close()
