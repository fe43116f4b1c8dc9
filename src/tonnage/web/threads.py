"""Bounded thread pools, and which requests have work in them.

A thread allocates between the steps of the event loop, so the meter must know whose work is in a
thread; and it cannot be cancelled, so a request keeps its reservation until its thread is done.

Two pools matter: asyncio's default executor (``asyncio.to_thread``, and the WSGI adapter uses the
same class) and anyio's, in which FastAPI and Starlette run synchronous routes.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tonnage.units import MIB
from tonnage.web.meter import Metered, current_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.governor.admission import Request

# The default of 8 MB is never touched, but is counted by RLIMIT_DATA and RLIMIT_AS. Deep recursion
# in C (nested JSON, regular expressions) still has room in 1 MB.
STACK_BYTES = MIB


def bound_stacks() -> None:
    """Give threads that are started from now on a stack of :data:`STACK_BYTES`."""
    threading.stack_size(STACK_BYTES)


_ANYIO_USERS = frozenset({"anyio", "starlette"})


class MeteredExecutor(ThreadPoolExecutor):
    """A bounded pool that knows which request each piece of work belongs to."""

    def __init__(self, threads: int, when_done: Callable[[Request], None]) -> None:
        """Make a pool of at most *threads*.

        Args:
            threads: the most threads that are started.
            when_done: told, in the event loop's thread, when a piece of a request's work is done;
                its request is still among the busy ones then, so that growth can be charged to it.
        """
        super().__init__(max_workers=threads, thread_name_prefix="tonnage")
        self._when_done = when_done
        self.busy: set[Request] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run *fn* in a thread, on behalf of the current request."""
        request, loop = current_request.get(), _running_loop()
        future = super().submit(fn, *args, **kwargs)
        # Work handed in by a thread is part of what that thread does for its request.
        if request is not None and loop is not None:
            request.threads += 1
            self.busy.add(request)
            future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done, request))
        return future

    def _done(self, request: Request) -> None:
        request.threads -= 1
        self._when_done(request)
        if not request.threads:
            self.busy.discard(request)


class AnyioThreads:
    """anyio's thread pool, if the application uses anyio: bounded, and watched."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._limiter: Any = None
        # Tasks of metered requests; each is removed when its request ends.
        self._requests: dict[Any, Request] = {}

    def bind(self) -> None:
        """Bound the pool, if anyio is there; it belongs to the running event loop."""
        # Starlette imports anyio with its first request; the pool is to be bounded before that.
        if self._limiter is None and not _ANYIO_USERS.isdisjoint(sys.modules):
            from anyio import to_thread

            self._limiter = to_thread.current_default_thread_limiter()
            self._limiter.total_tokens = self._threads

    def follow(self, task: Any, request: Request) -> None:
        """Note that *task* works for *request*."""
        self.bind()
        if self._limiter is not None and task is not None:
            self._requests[task] = request

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


def _request_of(task: Any) -> Request | None:
    """Return the request that a task of its own, as middleware starts them, works for."""
    coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
    return coroutine.request if isinstance(coroutine, Metered) else None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
