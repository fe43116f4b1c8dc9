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
from tonnage.host.counters import KillCounter, MeterError, OpenFile
from tonnage.host.filecache import FileCache, waits_for_the_disk
from tonnage.host.limits import Limit
from tonnage.host.measures import HOST_IN_USE, OWN_PSS, WORKING_SET
from tonnage.host.processes import Statm, parent_pid, read_rollup
from tonnage.units import MIB

Clock = Callable[[], float]

# Above this share of the limit the kernel may be dropping cache, which is when an old memory.stat
# misleads: it is then read ten times as often.
_TIGHT_SHARE = 15 / 16
_TIGHT_HASTE = 10

# What is charged in addition may be file cache, which grows by up to 4.5 GB/s while a file is
# written (measured): by so much the figure may be too high before memory.stat is read anew.
_CHARGED_BYTES = 8 * MIB

# A roll-up takes 6 to 14 ms for 100 MB, so four a second keep it near 4 % of one processor, however
# often processes come and go.
_ROLLUP_SPACING_SECONDS = 0.25
# What was just forked copies most pages that it writes to while it begins, in its first moments;
# its first roll-up may come before that.
_YOUNG_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Usage:
    """One reading of a meter.

    Attributes:
        used_bytes: What counts towards the limit.
        raw_bytes: What the kernel charges, reclaimable cache included; else as used_bytes.
        cache_bytes: File pages that were subtracted because the kernel can take them back.
        kills: The kernel's count of processes killed for want of memory in our cgroup since that
            was made; 0 where unknown. Only its growth means anything.
        how: What was measured, for people: one of ``MEASURES``.
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

    def refresh(self) -> None:
        """Read everything anew the next time, also what is else read less often."""

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
            limit.cgroup,
            clock,
            limit_bytes=limit.bytes,
            own_cgroup=limit.own_cgroup,
            root=root,
        )
    if limit.kind == "host":
        return HostMeter(root, own_cgroup=limit.own_cgroup)
    return TreeMeter(pids, clock, root=root, own_cgroup=limit.own_cgroup)


class CgroupMeter:
    """The working set of a cgroup: its charge less the file cache the kernel can take back.

    What of the cache that is, ``filecache`` says.

    ``memory.stat`` is dear on some hosts (190 us), so it is read every *stat_every_seconds*, ten
    times as often near *limit_bytes*, and when 8 MB have been charged since. In between, cache that
    the kernel drops counts as dropped late, so that ``used_bytes`` is too low by that much for that
    long, and cache that comes counts as used. The charge is read always.

    *own_cgroup* is where our processes are if that is not *cgroup*: version 1 counts a kill in the
    group of the process only. *root* is where ``/sys`` is.
    """

    def __init__(
        self,
        cgroup: MemoryCgroup,
        clock: Clock = time.monotonic,
        stat_every_seconds: float = 0.1,
        *,
        limit_bytes: int | None = None,
        own_cgroup: MemoryCgroup | None = None,
        root: Path = Path("/"),
    ) -> None:
        self._clock = clock
        self._stat_every_seconds = stat_every_seconds
        self._tight_bytes = int(limit_bytes * _TIGHT_SHARE) if limit_bytes else None
        self._cache = FileCache(
            cgroup.version, clock(), dirty_is_cache=waits_for_the_disk(cgroup, root)
        )
        self._usage = OpenFile(cgroup.usage_path)
        try:
            self._stat = OpenFile(cgroup.stat_path)
        except MeterError:
            self._usage.close()
            raise
        self._kills = KillCounter(own_cgroup or cgroup)
        self._stat_at = float("-inf")
        self._cache_bytes = 0
        self._raw_bytes_then = 0

    def read(self) -> Usage:
        """Return what is used now.

        Raises:
            MeterError: if the cgroup's files cannot be read any more.
        """
        raw_bytes = self._usage.read_int()
        now = self._clock()
        if self._is_due(raw_bytes, now):
            self._cache_bytes = self._cache.size_bytes(self._stat.read_table(), now)
            self._stat_at = now
            # After the stat, or what is cached meanwhile would be in the one and not in the other.
            self._raw_bytes_then = raw_bytes = self._usage.read_int()
        cache_bytes = min(self._cache_bytes, raw_bytes)
        used_bytes = raw_bytes - cache_bytes
        return Usage(used_bytes, raw_bytes, cache_bytes, self._kills.read(), WORKING_SET)

    def refresh(self) -> None:
        """Read the cache anew the next time."""
        self._stat_at = float("-inf")

    def _is_due(self, raw_bytes: int, now: float) -> bool:
        """Return whether the last memory.stat is too old."""
        if raw_bytes - self._raw_bytes_then >= _CHARGED_BYTES:
            return True
        wait_seconds = self._stat_every_seconds
        if self._tight_bytes is not None and raw_bytes > self._tight_bytes:
            wait_seconds /= _TIGHT_HASTE
        return now - self._stat_at >= wait_seconds

    def close(self) -> None:
        """Give the open files back; closing twice is harmless."""
        for file in (self._usage, self._stat, self._kills):
            file.close()


class TreeMeter:
    """The sum of our processes' shares (PSS): for a setting inside a larger, shared cgroup.

    PSS divides each shared page among those who share it, so the sum counts it once; resident sizes
    summed would count it once a process. A roll-up of PSS is slow, so each process has one when it
    first appears, together with its parent, which may have shared all of it, and then every
    *rollup_every_seconds*, one process at a time, a quarter of a second apart; in between, its
    share moves with its private memory (``statm``). Two things are seen only by the next roll-up: a
    forked child that writes to pages it shared until then, and the larger share of those who stay
    when one ends. So a change among the processes makes a roll-up of all due, and a process that is
    new has its next when it is half a second old, and then whenever its age has doubled.

    It holds one open file for each process that *pids* lists.
    """

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
        return Usage(used_bytes, used_bytes, 0, self._kills.read(), OWN_PSS)

    def refresh(self) -> None:
        """Do nothing: what is read less often is slow, and only the shares among processes."""

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
                parent = self._shares.get(parent_pid(pid, self._root))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended before it was ever seen, or since then
            if parent is not None and parent.pid not in new:
                self._roll_up(parent, now)

    def _roll_up_the_stalest(self, now: float) -> None:
        share = min(self._shares.values(), key=self._due_seconds, default=None)
        if share is None or now < self._due_seconds(share):
            return
        if now - self._rolled_up_at < _ROLLUP_SPACING_SECONDS:
            return
        self._rolled_up_at = now
        self._roll_up(share, now)

    def _due_seconds(self, share: _Share) -> float:
        age_seconds = share.rolled_up_at - share.begun_at
        return share.rolled_up_at + min(
            max(age_seconds, _YOUNG_SECONDS), self._rollup_every_seconds
        )

    def _roll_up(self, share: _Share, now: float) -> None:
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
        return Usage(used_bytes, raw_bytes, raw_bytes - used_bytes, self._kills.read(), HOST_IN_USE)

    def refresh(self) -> None:
        """Do nothing: all is read each time."""

    def close(self) -> None:
        """Give the open files back; closing twice is harmless."""
        self._meminfo.close()
        self._kills.close()


class _Share:
    """One process's PSS at its last roll-up, carried on by what its private memory did since."""

    def __init__(self, pid: int, now: float, root: Path) -> None:
        self.pid = pid
        self.begun_at = now
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
