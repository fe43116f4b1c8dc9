"""An event loop whose time is virtual: it jumps to the next timer as soon as nothing is ready.

A test may wait for ten seconds, and is done at once; what comes from other threads still arrives.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Given = TypeVarTuple("Given")

# If nothing at all is going to happen, only another thread can wake the loop; it has so long.
STALLED_SECONDS = 5.0


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now_seconds = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            ready = super().select(STALLED_SECONDS)
            if not ready:
                raise AssertionError("nothing is left that could wake this test")
            return ready
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now_seconds += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 1000 s, and never waits for a timer."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now_seconds

    def call_at(
        self,
        when: float,
        callback: Callable[[*Given], object],
        *args: *Given,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer, and remember it."""
        timer = super().call_at(when, callback, *args, context=context)
        self._timers.append(timer)
        return timer

    def timers_ever(self) -> int:
        """Return how many timers were set."""
        return len(self._timers)

    def timers(self) -> int:
        """Return how many timers are still to come."""
        now_seconds = self.time()
        return sum(not timer.cancelled() and timer.when() > now_seconds for timer in self._timers)


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run *story* to its end on a virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)


def now() -> float:
    """Return the running loop's time in seconds."""
    return asyncio.get_running_loop().time()


def timers() -> int:
    """Return how many timers of the running loop are still to come."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.timers()


def timers_ever() -> int:
    """Return how many timers of the running loop were set, whatever has become of them."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.timers_ever()
