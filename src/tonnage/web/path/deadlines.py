"""Requests that take too long are ended, at the price of one timer for all of an event loop.

Covers the time until a response begins, and then from one part of it to the next. Whoever asked for
a deadline is told when it is over, and answers then, whatever the request still does; its task is
cancelled too, and again each time that it has gone on for as long.

A thread cannot be ended. What waits for one of anyio's, in which FastAPI and Starlette run
synchronous routes, is cancelled once that thread is done: the pool would count it as free before,
and start another. Work in asyncio's own pool is bounded by that, cancelled or not.

Bounded by the requests in flight. Never early; late by at most two steps of :data:`STEP_SECONDS`,
or of a tenth of the time where that is less.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import Context
from math import inf
from typing import Any, Final
from weakref import WeakKeyDictionary

#: How often is looked at most; a shorter time is looked after more often.
STEP_SECONDS: Final = 0.25
_LEAST_STEP_SECONDS: Final = 0.01


class Timed:
    """Something whose time is kept from :meth:`Deadlines.begin` on; a base class.

    It is what it is to its owner and its deadline at once: an object of its own for each request
    would cost as much as all that is done with it.
    """

    # What most requests leave as it is costs nothing as an attribute of the class.

    #: To be set whenever something has come of it: its time begins anew.
    has_moved = True
    is_over = False
    #: How long it may take.
    seconds = 0.0
    # Who lets its time pass; None: nobody, it has not begun or is over.
    _clock: _Clock | None = None
    # None where a server runs coroutines without tasks: there is nothing to cancel then.
    _task: asyncio.Task[Any] | None = None
    _cancelled_before = 0
    _left_seconds = 0.0
    _cancels = 0

    def time_out(self) -> None:
        """Its time is over: answer for it. Called once, from the event loop."""
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        """Let *seconds* pass."""
        if self.has_moved and not self.is_over:
            # At some time of this step: counted from its end.
            self.has_moved, self._left_seconds = False, self.seconds
            return
        self._left_seconds -= seconds
        if self._left_seconds > 0:
            return
        if not self.is_over:
            self.is_over = True
            self.time_out()
        clock, task = self._clock, self._task
        if clock is not None and task is not None and not clock.is_in_thread(task):
            self._left_seconds = self.seconds
            self._cancels += 1
            task.cancel("the request took too long")

    @property
    def is_cancelling_alone(self) -> bool:
        """Whether the task is cancelled for this, and by nobody else."""
        if self._task is None or not self._cancels:
            return False
        return self._task.cancelling() - self._cancels <= self._cancelled_before

    def end_time(self) -> None:
        """Keep its time no longer, and take back what was cancelled; in its own task.

        Twice does no harm.
        """
        if self._clock is not None:
            self._clock.open.discard(self)
            self._clock = None
        if self._cancels and self._task is not None:
            for _ in range(self._cancels):
                self._task.uncancel()
            self._cancels = 0


class Deadlines:
    """The deadlines of all requests in flight, in whichever event loops they run."""

    def __init__(self) -> None:
        self._clocks: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clock] = WeakKeyDictionary()
        # The one that was asked for last: in a server there is no other.
        self._last: tuple[object, _Clock | None] = None, None

    def begin(self, timed: Timed, seconds: float) -> None:
        """Keep the time of *timed*, a request in its own task, that may take so long."""
        task = asyncio.current_task()
        # To ask for the running loop too would take as long again.
        loop = task.get_loop() if task is not None else asyncio.get_running_loop()
        last, clock = self._last
        if last is not loop or clock is None:
            clock = self._clock_of(loop)
        timed.seconds, timed._clock, timed._task = seconds, clock, task
        if task is not None and task.cancelling():
            timed._cancelled_before = task.cancelling()
        clock.open.add(timed)
        if seconds < clock.least_seconds:
            clock.wind(loop, seconds)

    def _clock_of(self, loop: asyncio.AbstractEventLoop) -> _Clock:
        clock = self._clocks.get(loop)
        if clock is None:
            clock = self._clocks[loop] = _Clock()
        self._last = loop, clock
        return clock


class _Clock:
    """Lets time pass for the open deadlines of one event loop."""

    def __init__(self) -> None:
        self.open: set[Timed] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.step_seconds = STEP_SECONDS
        #: Who has less time needs shorter steps; as does everybody while there is no timer.
        self.least_seconds = inf
        self._looked_at_seconds = 0.0
        #: What bounds anyio's threads in this loop; None: anyio is not there yet.
        self.threads: Any = None

    def wind(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """See to it that steps are short enough for *seconds*."""
        if self.threads is None:
            self._find_threads()
        step = min(STEP_SECONDS, max(_LEAST_STEP_SECONDS, seconds / 10))
        if self.timer is not None:
            if step >= self.step_seconds:
                return
            self.timer.cancel()
            self._pass(loop.time())
        self._looked_at_seconds = loop.time()
        self._schedule(loop, step)

    def _find_threads(self) -> None:
        # Only a task can ask for them.
        if "anyio" in sys.modules and asyncio.current_task() is not None:
            from anyio import to_thread

            self.threads = to_thread.current_default_thread_limiter()

    def is_in_thread(self, task: asyncio.Task[Any]) -> bool:
        """Return whether *task* has one of anyio's threads."""
        threads = self.threads
        return (
            threads is not None
            and threads.borrowed_tokens > 0
            and task in threads.statistics().borrowers
        )

    def _schedule(self, loop: asyncio.AbstractEventLoop, step_seconds: float) -> None:
        self.step_seconds, self.least_seconds = step_seconds, 10 * step_seconds
        # In a context of its own: it would keep what the first request has put into its.
        self.timer = loop.call_later(step_seconds, self._look, loop, context=Context())

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timer, self.least_seconds = None, inf
        self._pass(loop.time())
        # With nothing in flight there is no timer: an idle process sleeps.
        if self.open:
            self._schedule(loop, self.step_seconds)
        else:
            self.step_seconds = STEP_SECONDS

    def _pass(self, now_seconds: float) -> None:
        # A loop that was blocked gives nobody less time than it had: a step counts at most twice.
        seconds = min(now_seconds - self._looked_at_seconds, 2 * self.step_seconds)
        self._looked_at_seconds = now_seconds
        for timed in list(self.open):
            timed.pass_time(seconds)
