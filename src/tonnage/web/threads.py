"""Bounded thread pools, and which requests have work in a thread, whoever's thread it is.

A thread allocates between the steps of the event loop, so the meter must know whose work is in a
thread, and must look while it is there: what a thread allocates and frees again would otherwise
never be seen. And a thread cannot be cancelled, so a request keeps its reservation until it is
done.

Covers asyncio's default executor (``asyncio.to_thread``, and the WSGI adapter uses the same),
executors of the application's own that it uses through its event loop (Django under ASGI makes one
for each request, others bring theirs), and anyio's threads, in which FastAPI and Starlette run
synchronous routes. The first and the last are bounded here.

Does not cover threads that the application starts by itself: their growth is nobody's.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from tonnage.host.threadpool import FrugalThreadPool
from tonnage.web.meter import Metered, current_request
from tonnage.web.witness import freeing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.governor.admission import Request

# How often the meter looks while requests may be in threads. In this time a thread can touch some
# 10 MB; a look takes about 5 us.
PULSE_SECONDS: Final = 0.005


class MeteredExecutor(FrugalThreadPool):
    """A bounded pool that knows which request each piece of work belongs to."""

    def __init__(
        self, threads: int, when_done: Callable[[Request], None], note: Callable[[], None]
    ) -> None:
        """Make a pool of at most *threads*.

        Args:
            threads: the most threads that are started.
            when_done: told, in the event loop's thread, when a piece of a request's work is done;
                its request is still among the busy ones then, so that growth can be charged to it.
            note: the meter's look at what has grown.
        """
        super().__init__(max_workers=threads, thread_name_prefix="tonnage")
        self._when_done = when_done
        # Bounded by the work handed in; changed by the event loop's thread alone.
        self._work: dict[Future[Any], Request] = {}
        self._pulse = _Pulse(note, lambda: bool(self._work))

    @property
    def busy(self) -> set[Request]:
        """The requests whose work has begun, here or in an executor of the application's own."""
        # Work that waits for a thread allocates nothing.
        return {
            request for future, request in self._work.items() if future.running() or future.done()
        }

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be the default executor of *loop*, and follow what it hands to other thread pools."""
        loop.set_default_executor(self)
        hand_over = loop.run_in_executor

        def run_in_executor(
            executor: Executor | None, function: Callable[..., Any], *args: Any
        ) -> asyncio.Future[Any]:
            # Work for other processes allocates nothing here.
            if isinstance(executor, ThreadPoolExecutor) and executor is not self:
                return asyncio.wrap_future(self._follow(executor.submit, function, args), loop=loop)
            return hand_over(executor, function, *args)

        # An event loop has no hook for this, as it has one for tasks.
        loop.run_in_executor = run_in_executor  # type: ignore[method-assign, assignment]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run *fn* in a thread, on behalf of the current request."""
        return self._follow(super().submit, fn, args, kwargs)

    def _follow(
        self,
        submit: Callable[..., Future[Any]],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
    ) -> Future[Any]:
        request, loop = current_request.get(), _running_loop()
        future = submit(freeing(function), *args, **kwargs or {})
        # Work handed in by a thread is part of what that thread does for its request; and what a
        # request has left behind works for itself.
        if request is not None and not request.has_ended and loop is not None:
            request.threads += 1
            self._work[future] = request
            self._pulse.start()
            future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done, future))
        return future

    def _done(self, future: Future[Any]) -> None:
        request = self._work[future]
        request.threads -= 1
        self._when_done(request)
        del self._work[future]


class AnyioThreads:
    """anyio's thread pool, if the application uses anyio: bounded, and watched."""

    def __init__(self, threads: int, note: Callable[[], None]) -> None:
        """Bound the pool to *threads*, and *note* what grows while some are in use."""
        self._threads = threads
        self._limiter: Any = None
        # Tasks of metered requests; each is removed when its request ends.
        self._requests: dict[Any, Request] = {}
        self._pulse = _Pulse(self._note, lambda: bool(self._requests))
        self._note_growth = note

    def bind(self) -> None:
        """Bound the pool, if anyio is there; it belongs to the running event loop."""
        if self._limiter is None and "anyio" in sys.modules:
            from anyio import to_thread

            self._limiter = to_thread.current_default_thread_limiter()
            self._limiter.total_tokens = self._threads
            _free_in(to_thread)

    def follow(self, task: Any, request: Request) -> None:
        """Note that *task* works for *request*."""
        self.bind()
        if self._limiter is not None and task is not None:
            self._requests[task] = request
            self._pulse.start()

    def forget(self, task: Any) -> None:
        """Note that *task* is done."""
        self._requests.pop(task, None)

    def busy(self) -> Iterable[Request]:
        """Return the requests that have work in one of these threads."""
        if self._limiter is None or not self._limiter.borrowed_tokens:
            return ()
        borrowers = self._limiter.statistics().borrowers
        found = (self._requests.get(task) or _request_of(task) for task in borrowers)
        return {request for request in found if request is not None}

    def _note(self) -> None:
        if self._limiter.borrowed_tokens:
            self._note_growth()


def _free_in(to_thread: Any) -> None:
    """Have anyio's threads let go of what a MemoryError holds; there is no hook for this."""
    run_sync = to_thread.run_sync
    if getattr(run_sync, "frees", False):
        return

    @functools.wraps(run_sync)
    async def run_freeing(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return await run_sync(freeing(func), *args, **options)

    run_freeing.frees = True  # type: ignore[attr-defined]
    to_thread.run_sync = run_freeing


class _Pulse:
    """Calls *note* every :data:`PULSE_SECONDS` while it is needed."""

    def __init__(self, note: Callable[[], None], is_needed: Callable[[], bool]) -> None:
        self._note = note
        self._is_needed = is_needed
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the running event loop; harmless if it has begun."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PULSE_SECONDS, self._beat)

    def _beat(self) -> None:
        self._timer = None
        if self._is_needed():
            self._note()
            self.start()


def _request_of(task: Any) -> Request | None:
    """Return the request that a task of its own, as middleware starts them, works for."""
    coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
    return coroutine.request if isinstance(coroutine, Metered) else None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
