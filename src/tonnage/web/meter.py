"""How much memory a request allocates: measured step by step.

The gate drives a request's coroutine itself. Before and after each step it reads how much data the
process has; what the step added is the request's. Tasks that the request starts are driven in the
same way, through the event loop's task factory and a context variable. What threads allocate shows
up between steps, as a rule, and is shared (:mod:`tonnage.web.inthreads`).

A step costs two reads of ``/proc/self/statm`` (2 us each); which requests are worth it is the
gate's affair. Does not cover learning (:mod:`tonnage.governor.costs`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tonnage.governor.flight import NO_ENTRY
from tonnage.web.inthreads import InThreads

if TYPE_CHECKING:
    from tonnage.governor.admission import Request
    from tonnage.governor.flight import Flight

#: The request that the running code works for; None where growth is nobody's.
current_request: ContextVar[Request | None] = ContextVar("tonnage_request", default=None)


class Meter:
    """The one place that knows whose step is running.

    Args:
        read: the bytes of data in use by this process.
        in_threads: the requests that have work in a thread just now.
        flight: where to note, for whoever explains a death, which request's step is running and
            what each has grown by.
    """

    def __init__(
        self,
        read: Callable[[], int],
        in_threads: Callable[[], Iterable[Request]] = tuple,
        flight: Flight | None = None,
    ) -> None:
        self._read = read
        self._in_threads = InThreads(in_threads, self._grow)
        self._flight = flight
        self._running: Request | None = None
        self._mark = read()

    def begin(self, request: Request) -> Request | None:
        """Start charging *request*; return who was charged until now."""
        self.note()
        previous = self._running
        self._switch_to(request)
        return previous

    def end(self, previous: Request | None) -> None:
        """Stop charging, and go back to *previous*."""
        self.note()
        self._switch_to(previous)

    def note(self) -> None:
        """Charge what has been allocated until now, as when a thread's work ends."""
        try:
            now = self._read()
        except MemoryError:
            # With the next look: here it would be an error of no request, or of the wrong one.
            return
        delta_bytes, self._mark = now - self._mark, now
        request = self._running
        if request is None:
            self._in_threads.charge(delta_bytes)
        elif delta_bytes:
            self._grow(request, self._in_threads.take(request, delta_bytes))

    def add(self, request: Request, size_bytes: int) -> None:
        """Charge *request* with bytes that were allocated for it between the steps."""
        self._grow(request, size_bytes)

    def forget(self, request: Request) -> None:
        """Note that *request* has ended, and that no step of it will run any more."""
        self._in_threads.end(request)

    def _switch_to(self, request: Request | None) -> None:
        self._running = request
        if self._flight is not None:
            self._flight.run(request.entry if request is not None else NO_ENTRY)

    def _grow(self, request: Request, delta_bytes: int) -> None:
        request.grow(delta_bytes)
        if self._flight is not None:
            self._flight.grow(request.entry, request.grown_bytes)


class Metered(Coroutine[Any, Any, Any]):
    """A coroutine that is driven as it is, with the meter running during its steps."""

    __slots__ = ("_coroutine", "_meter", "_request")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], meter: Meter, request: Request) -> None:
        self._coroutine = coroutine
        self._meter = meter
        self._request = request

    @property
    def request(self) -> Request:
        """The request that is charged."""
        return self._request

    def send(self, value: Any) -> Any:
        """Run one step."""
        previous = self._meter.begin(self._request)
        try:
            return self._coroutine.send(value)
        finally:
            self._meter.end(previous)

    def throw(self, *error: Any) -> Any:
        """Run one step that begins with an exception."""
        previous = self._meter.begin(self._request)
        try:
            return self._coroutine.throw(*error)
        finally:
            self._meter.end(previous)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    def __iter__(self) -> Metered:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def __getattr__(self, name: str) -> Any:
        # cr_frame, cr_await and their like, which debuggers and Task.get_stack ask for.
        return getattr(self._coroutine, name)


class First(Metered):
    """The coroutine of the request itself: its first step is told apart from later ones."""

    __slots__ = ()

    def send(self, value: Any) -> Any:
        """Run one step; the first one ends the request's "first" part."""
        try:
            return super().send(value)
        finally:
            self._request.end_first_step()


class Tasks:
    """Meters the tasks that measured requests start, and hands them to whoever follows them.

    While no measured request is in flight the event loop makes tasks in its own way: to do so in
    Python costs every request most of a microsecond.
    """

    def __init__(
        self, meter: Meter, follow: Callable[[asyncio.Task[Any]], object] = lambda task: None
    ) -> None:
        """Begin with none in flight; *follow* is called with each task that is metered."""
        self._meter = meter
        self._follow = follow
        self._measured = 0

    def begin(self) -> None:
        """Note that a measured request begins."""
        self._measured += 1
        loop = asyncio.get_running_loop()
        # What the application has put there itself stays.
        if loop.get_task_factory() is None:
            loop.set_task_factory(self._create)  # type: ignore[arg-type]  # any coroutine will do

    def end(self) -> None:
        """Note that one has ended; to be called once for each ``begin``."""
        self._measured -= 1
        loop = asyncio.get_running_loop()
        if not self._measured and loop.get_task_factory() == self._create:
            loop.set_task_factory(None)

    def _create(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        request = current_request.get()
        # A server may start the next request of a connection in the context of one that has ended.
        if request is None or request.has_ended or not asyncio.iscoroutine(coroutine):
            return asyncio.Task(coroutine, loop=loop, **options)
        task: asyncio.Task[Any] = asyncio.Task(
            Metered(coroutine, self._meter, request), loop=loop, **options
        )
        self._follow(task)
        return task
