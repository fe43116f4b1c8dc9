"""How a worker gives memory back: when it is asked, at intervals, when idle, and after a failure.

A trace for leaks, which follows what it does not give back, takes the place of the regular
collections. Runs in the event loop's thread. Whether this worker is recycled is the supervisor's
affair, its fuse :mod:`tonnage.server.ownfuse`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tonnage.governor.consumers import registry
from tonnage.governor.levels import Level
from tonnage.server.messages import Kept, RanOut, Traced
from tonnage.server.reclaimer import Reclaimer
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import Slot
    from tonnage.host.malloc import Heap
    from tonnage.server.leaks.trace import LeakTrace
    from tonnage.server.messages import SupervisorChannel
    from tonnage.web.outofmemory import MemoryFailure

# A worker without a large request for so long hands back what its allocator keeps, if that is worth
# it, and not while small ones come: it takes 20 ms for 100 MB.
IDLE_SECONDS: Final = 1.0
WORTH_TRIMMING_BYTES: Final = 4 * MIB

# After memory ran out, the worker is looked at when its frames are gone, and has not
# come back down if it holds so much more than before.
_CHECK_SECONDS: Final = 0.5
_WORTH_RECYCLING_BYTES: Final = 24 * MIB
# What it held before is the least of so many beats of its heart: 3 s.
_BEATS: Final = 30


class Upkeep:
    """What one worker does for its memory."""

    def __init__(
        self,
        slot: Slot,
        heap: Heap,
        channel: SupervisorChannel,
        *,
        own_bytes: Callable[[], int],
        look: Callable[[], object],
        gc_interval_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            slot: this worker's slot.
            heap: this process's C heap.
            channel: to the supervisor.
            own_bytes: this worker's memory, less what running requests hold.
            look: has the gate measure this worker anew.
            gc_interval_seconds: how often to collect although nobody is short; 0: never.
            clock: monotonic seconds.
        """
        self._slot = slot
        self._heap = heap
        self._channel = channel
        self._own_bytes = own_bytes
        self._look = look
        self._clock = clock
        self._busy_until = clock()
        self._requests = slot.requests
        # At most _BEATS.
        self._held: deque[int] = deque([slot.held_bytes], _BEATS)
        self._reclaimer = Reclaimer(
            heap,
            registry,
            own_bytes,
            lambda: slot.requests,
            clock,
            interval_seconds=gc_interval_seconds,
        )
        self._check: asyncio.TimerHandle | None = None
        self._trace: LeakTrace | None = None

    def reclaim(self, level: Level, need_bytes: int, why: str) -> None:
        """Give memory back, and tell the supervisor what came of it."""
        self._look()
        done = self._reclaimer.reclaim(level, need_bytes, why)
        self._look()
        self._channel.send(done)

    def beat(self, now_seconds: float) -> None:
        """Do what is due; to be called some times a second."""
        self._slot.consumers_bytes = self._reclaimer.used_bytes()
        self._held.append(self._slot.held_bytes)
        # Small requests pass the desk: they are in flight nowhere, and only counted.
        arrived, self._requests = self._slot.requests - self._requests, self._slot.requests
        if self._trace is not None:
            if self._trace.tick():
                self._report(self._trace)
        elif self._reclaimer.due(now_seconds, self._slot.in_flight + arrived):
            self.reclaim(Level.OK, 0, "regular")
        self._trim_when_idle(now_seconds, arrived)

    def on_memory_error(self, failure: MemoryFailure) -> None:
        """Tell the supervisor that a request ran out of memory, and check what it left behind."""
        self._heap.distrust()
        self._channel.send(
            RanOut(
                route=failure.route,
                line=failure.line,
                grown_bytes=failure.grown_bytes,
                left_bytes=failure.left_bytes,
                was_freed=failure.was_freed,
                answered=failure.status or None,
            )
        )
        self.check()

    def check(self) -> None:
        """Look soon whether what ran out of memory has left anything behind."""
        if self._check is None:
            self._check = asyncio.get_running_loop().call_later(
                _CHECK_SECONDS, self._check_back, min(self._held)
            )

    def trace(self, seconds: float, budget_bytes: int) -> None:
        """Begin to trace what this worker allocates, for a leak report."""
        from tonnage.server.leaks.trace import LeakTrace

        if self._trace is None:
            self._trace = LeakTrace(
                seconds,
                budget_bytes,
                requests=lambda: self._slot.requests,
                held_bytes=self._own_bytes,
                clock=self._clock,
            )
            self._trace.begin()

    def end_trace(self) -> None:
        """End a trace early, if there is one, and report: this worker is about to end."""
        if self._trace is not None:
            self._trace.end_early()
            # Where there is no memory for the report, it is lost with the worker, which is said.
            with suppress(MemoryError):
                self._report(self._trace)

    def _check_back(self, before_bytes: int) -> None:
        if self._slot.in_flight:
            # What they hold is not what was kept.
            self._check = asyncio.get_running_loop().call_later(
                _CHECK_SECONDS, self._check_back, before_bytes
            )
            return
        self._check = None
        if self._own_bytes() - before_bytes > _WORTH_RECYCLING_BYTES:
            self.reclaim(Level.OK, 0, "memory had run out")
        if self._own_bytes() - before_bytes > _WORTH_RECYCLING_BYTES:
            self._channel.send(Kept())

    def _report(self, trace: LeakTrace) -> None:
        self._trace = None
        report = trace.finish()
        self._heap.trim()
        self._channel.send(Traced(dict(report)))

    def _trim_when_idle(self, now_seconds: float, arrived: int) -> None:
        if self._slot.in_flight or self._slot.waiting:
            self._busy_until = now_seconds
        elif (
            not arrived
            and now_seconds - self._busy_until > IDLE_SECONDS
            and self._slot.kept_bytes > WORTH_TRIMMING_BYTES
        ):
            self._busy_until = now_seconds
            self._heap.trim()
