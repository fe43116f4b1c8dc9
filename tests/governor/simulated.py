"""A machine that is not there: its clock, its kernel, and processes with an allocator.

What is simulated is only what the world does: the kernel that charges and kills, allocators that
keep what is freed, garbage in cycles, leaks, requests that arrive and hold memory. Everything that
Tonnage decides is decided by its own code (wired by
:mod:`tests.governor.simulated_worker` and :mod:`tests.governor.simulated_server`).

A process's memory is a sum of parts:

    base + live + cached (consumers) + garbage (until collected) + kept (until trimmed) + leaked
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tonnage.governor.ledger import Holding
from tonnage.host.usage import Usage
from tonnage.units import MIB

# Above every process id that a kernel gives out: a signal to one of ours reaches nobody.
FIRST_PID: Final = 2**22 + 1
BASE_BYTES: Final = 6 * MIB
# Address space that is reserved and never touched.
RESERVED_BYTES: Final = 200 * MIB


class Clockwork:
    """Simulated time: events in order, each at its moment."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = itertools.count()

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Have *event* happen in so many seconds."""
        heapq.heappush(self._events, (self.now + seconds, next(self._serial), event))

    def run(self, until_seconds: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, until then or until *done* says so."""
        while self._events and self._events[0][0] <= until_seconds and not done():
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = max(self.now, until_seconds) if not done() else self.now


@dataclass(eq=False)
class Process:
    """A worker's process, as the kernel and its allocator see it.

    Attributes:
        host: the machine.
        keep_share: of what is freed, what the allocator keeps until it is trimmed.
        garbage_share: of what is freed, what hangs in cycles until it is collected.
    """

    host: Host
    pid: int
    keep_share: float
    garbage_share: float
    when_killed: Callable[[], None] = lambda: None
    live_bytes: int = 0
    cached_bytes: int = 0
    garbage_bytes: int = 0
    kept_bytes: int = 0
    leaked_bytes: int = 0
    data_limit_bytes: int = 0

    @property
    def private_bytes(self) -> int:
        """What the process holds of its own."""
        parts = self.live_bytes + self.cached_bytes + self.garbage_bytes + self.kept_bytes
        return BASE_BYTES + parts + self.leaked_bytes

    @property
    def data_bytes(self) -> int:
        """Its address space, which a fuse counts."""
        return RESERVED_BYTES + self.private_bytes

    def holding(self) -> Holding:
        """Return what the ledger reads."""
        return Holding(self.private_bytes, self.kept_bytes, self.data_bytes)

    def allocate(self, size_bytes: int) -> None:
        """Take memory for a request, first what the allocator kept.

        Raises:
            MemoryError: the fuse has been met.
        """
        reused = min(self.kept_bytes, size_bytes)
        new = size_bytes - reused
        if self.data_limit_bytes and self.data_bytes + new > self.data_limit_bytes:
            raise MemoryError
        self.kept_bytes -= reused
        self.live_bytes += size_bytes
        self.host.charge()

    def free(self, size_bytes: int, leaked_bytes: int = 0) -> None:
        """Free what a request had; the part *leaked_bytes* of it stays for ever."""
        freed = size_bytes - leaked_bytes
        garbage, kept = int(freed * self.garbage_share), int(freed * self.keep_share)
        self.live_bytes -= size_bytes
        self.leaked_bytes += leaked_bytes
        self.garbage_bytes += garbage
        self.kept_bytes += min(kept, freed - garbage)

    def cache(self, size_bytes: int) -> None:
        """Put so much into a cache."""
        self.cached_bytes += size_bytes
        self.host.charge()

    def uncache(self, size_bytes: int) -> None:
        """Take so much out of the cache."""
        self.cached_bytes -= size_bytes
        self.kept_bytes += int(size_bytes * self.keep_share)

    def collect(self) -> None:
        """Free garbage; what that was in, the allocator keeps."""
        self.kept_bytes += self.garbage_bytes
        self.garbage_bytes = 0

    def trim(self) -> None:
        """Give back what the allocator keeps."""
        self.kept_bytes = 0


@dataclass
class Host:
    """A memory cgroup and its kernel. It is its own meter."""

    limit_bytes: int
    #: The supervisor, the zygote and what workers share with it.
    others_bytes: int
    #: Pages of files, which the kernel drops before it kills.
    file_bytes: int = 0
    processes: dict[int, Process] = field(default_factory=dict)
    kills: int = 0
    most_bytes: int = 0

    @property
    def used_bytes(self) -> int:
        """What cannot be taken back."""
        return self.others_bytes + sum(each.private_bytes for each in self.processes.values())

    def charge(self) -> None:
        """Do what a kernel does after each allocation: drop file pages, then kill the largest."""
        self.most_bytes = max(self.most_bytes, self.used_bytes)
        while (over := self.used_bytes + self.file_bytes - self.limit_bytes) > 0:
            if self.file_bytes:
                self.file_bytes -= min(over, self.file_bytes)
                continue
            if not self.processes:
                return
            victim = max(self.processes.values(), key=lambda each: each.private_bytes)
            self.kills += 1
            self.end(victim.pid)
            victim.when_killed()

    def end(self, pid: int) -> None:
        """End a process: all that it held is free."""
        self.processes.pop(pid, None)

    def read(self) -> Usage:
        """Return what a cgroup's meter would."""
        used = self.used_bytes
        return Usage(
            used, used + self.file_bytes, self.file_bytes, self.kills, "cgroup working set"
        )

    def refresh(self) -> None:
        """Nothing is read late here."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Kind:
    """What the requests of one route do; each draws its own figures between two bounds, in MB.

    Attributes:
        first_mb: what it takes in its first step.
        later_mb: what it takes in equal parts while it goes on.
        hold_seconds: how long it goes on.
        leak_kb: what it leaves behind for ever.
        burst_mb_per_second: where set, what comes later comes at this speed.
    """

    first_mb: tuple[float, float] = (0.1, 0.1)
    later_mb: tuple[float, float] = (0.0, 0.0)
    hold_seconds: float = 0.1
    leak_kb: int = 0
    burst_mb_per_second: float = 0.0

    @property
    def most_bytes(self) -> int:
        """What one request takes at most."""
        return int((self.first_mb[1] + self.later_mb[1]) * MIB)
