"""The programs that the application starts: found, let off their worker's fuse, followed.

Promises: each is known within a second of its start, and so are its size, how fast it grows, and,
once it is large, its name and the worker that it belongs to, for the day on which it is gone. Whom
to stop is decided by :mod:`tonnage.server.braking`.

A program inherits the fuse of its worker, as that stood at the time, and nobody would move it: so
it is lifted. A limit of the program's own, which bounds the hard limit too (as ``prlimit --data``
sets it), stays.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from tonnage.governor.brake import LEAST_EXCESS_BYTES, Mover
from tonnage.governor.fuse import Growth
from tonnage.host import reins
from tonnage.host.processes import Statm, age_seconds, command_name, parent_pid
from tonnage.server.postmortem.facts import Program
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.governor.page import SharedPage

#: What is smaller is neither named nor taken for what the kernel has killed.
LARGE_BYTES: Final = 16 * MIB
#: Who was seen to be gone is remembered for so long: the kernel's counter is read meanwhile.
GONE_SECONDS: Final = 2.0

# At most so many are known; the kernel lists the oldest first.
_MOST_KNOWN: Final = 256
_MOST_GONE: Final = 16
# Generations between a worker and a program that it has started.
_DEEPEST: Final = 32


@dataclass(frozen=True, slots=True)
class Started:
    """A program, and the slot of the worker that has started it, where that is known."""

    program: Program
    worker: int | None


@dataclass(slots=True)
class _Known:
    growth: Growth
    # Once it is large: what it is, and since when it has run.
    started: Started | None = None
    since_seconds: float = 0.0


class Programs:
    """The processes of ours that are neither the server's own nor workers."""

    def __init__(
        self,
        page: SharedPage,
        *,
        others: Callable[[], Iterable[int]],
        clock: Callable[[], float],
    ) -> None:
        """Know of none.

        Args:
            page: where the workers' slots are.
            others: lists these processes.
            clock: monotonic seconds.
        """
        self._page = page
        self._others = others
        self._clock = clock
        # At most _MOST_KNOWN, by process.
        self._known: dict[int, _Known] = {}
        self._scanned_seconds = clock()
        # Whom we have ended, as long as they are listed.
        self._ended: set[int] = set()
        # When it was seen to be gone, what it had held, and what it was.
        self._gone: deque[tuple[float, int, Started]] = deque(maxlen=_MOST_GONE)

    def __contains__(self, pid: int) -> bool:
        """Whether *pid* ran at the last scan, and nobody has ended it."""
        return pid in self._known

    def scan(self) -> None:
        """Look at all of them now."""
        now = self._clock()
        try:
            listed = list(islice(self._others(), _MOST_KNOWN))
        except OSError:
            return  # no descriptor is left to look with: what is known stays
        found = _resident(pid for pid in listed if pid not in self._ended)
        self._ended.intersection_update(listed)
        for pid in self._known.keys() - found.keys():
            self._forget(pid, now)
        for pid, size_bytes in found.items():
            self._follow(pid, size_bytes, now)
        self._scanned_seconds = now

    def growing(self) -> list[int]:
        """Return those that grow, as of the last scan, the largest first."""
        return sorted(
            (pid for pid, each in self._known.items() if _grows(each.growth)),
            key=lambda pid: self._known[pid].growth.now_bytes,
            reverse=True,
        )

    def as_mover(self) -> Mover | None:
        """Return all that grow as one; None: none does."""
        pids = self.growing()
        if not pids:
            return None
        speed = sum(self._known[pid].growth.bytes_per_second for pid in pids)
        return Mover(pids[0], None, speed, None)

    def size_bytes(self, pids: Iterable[int]) -> int:
        """Return what these hold together, as of the last scan."""
        return sum(self._known[pid].growth.now_bytes for pid in pids if pid in self._known)

    def largest(self, pids: Iterable[int]) -> int:
        """Return the largest of *pids*, of which there is one at least."""
        return max(pids, key=lambda pid: self.size_bytes([pid]))

    def bytes_per_second(self, pid: int) -> float:
        """Return how fast program *pid* grows, as of the last scan."""
        known = self._known.get(pid)
        return 0.0 if known is None else known.growth.bytes_per_second

    def before(self, pid: int) -> tuple[int, float]:
        """Return the least that program *pid* held within a moment, and when; it is known."""
        growth = self._known[pid].growth
        return growth.before_bytes, growth.before_seconds

    def end(self, pid: int) -> Started:
        """End program *pid*, and return what it was: that has to be asked before it is gone."""
        started = self._identify(pid)
        reins.end(pid)
        self._ended.add(pid)
        self._known.pop(pid, None)
        return started

    def gone(self) -> list[Started]:
        """Return the programs that have ended of late and not by us, the largest first.

        Each only once, and none that was small.
        """
        self.scan()
        since = self._clock() - GONE_SECONDS
        found = sorted(self._gone, key=lambda each: each[1], reverse=True)
        self._gone.clear()
        return [started for seconds, _, started in found if seconds >= since]

    def _follow(self, pid: int, size_bytes: int, now: float) -> None:
        known = self._known.get(pid)
        if known is None:
            known = self._known[pid] = _Known(Growth(0, self._scanned_seconds))
            reins.limit_data(pid, reins.UNLIMITED)
        known.growth.note(size_bytes, now)
        if known.started is None and size_bytes >= LARGE_BYTES:
            known.started = self._identify(pid)
            known.since_seconds = now - (known.started.program.age_seconds or 0.0)

    def _forget(self, pid: int, now: float) -> None:
        known = self._known.pop(pid)
        if known.started is not None:
            program = known.started.program
            aged = Program(pid, program.name, now - known.since_seconds)
            self._gone.append((now, known.growth.now_bytes, Started(aged, known.started.worker)))

    def _identify(self, pid: int) -> Started:
        try:
            program = Program(pid, command_name(pid), age_seconds(pid))
        except OSError:
            program = Program(pid, "a program")
        return Started(program, self._started_by(pid))

    def _started_by(self, pid: int) -> int | None:
        """Return the slot of the worker below which process *pid* is; None: below none.

        None also for a program whose parents have all ended: the supervisor has adopted it.
        """
        workers = {slot.pid: slot.index for slot in self._page.live_slots()}
        for _ in range(_DEEPEST):
            try:
                pid = parent_pid(pid)
            except OSError:
                return None
            if pid in workers:
                return workers[pid]
        return None


def _grows(growth: Growth) -> bool:
    # That it goes on growing counts: one that has just started up trembles by some KB.
    return min(growth.bytes_per_second, growth.grown_bytes) >= LEAST_EXCESS_BYTES


def _resident(pids: Iterable[int]) -> dict[int, int]:
    """Return what each process has resident, shared memory included."""
    found: dict[int, int] = {}
    for pid in pids:
        try:
            statm = Statm(pid)
        except OSError:
            continue
        try:
            found[pid] = statm.read().resident_bytes
        except OSError:
            continue
        finally:
            statm.close()
    return found
