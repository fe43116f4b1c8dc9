"""What stores do beside requests: flushing, listening, sweeping; in one thread with an event loop.

    background().start(writer.flush())        # from any thread; a concurrent.futures.Future
    on_begin(writer.begin)                    # called in a worker before its first request
    background().on_close(writer.close)       # awaited there when the process ends
    close(seconds=10)                         # the server, when it has answered its last request

Promises: one thread for each process that uses it, begun by the first use, so that importing an
application starts none; a forked child begins anew. It serves applications with and without an
event loop of their own alike. What runs there knows nothing of the request that began it (it has
none of its context variables), for it may outlive it by far. When a process ends in an orderly way,
what was registered is closed within a deadline: under ``tonnage run`` after the last request,
elsewhere when Python ends.

Knows nothing of what runs there. Bounded by its users: each store has some tasks at most.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401  (see the end)
import logging
import os
import threading
import weakref
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tonnage.host.threadpool import FrugalThreadPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from concurrent.futures import Future

R = TypeVar("R")

logger = logging.getLogger("tonnage.stores")

#: How long what is registered has to close where no server says.
CLOSE_SECONDS: Final = 10.0


class Background:
    """The thread and its event loop."""

    def __init__(self) -> None:
        # A loop keeps the context it is made in: not that of the first request to need it.
        self.loop: Final = Context().run(asyncio.new_event_loop)
        self.loop.set_default_executor(FrugalThreadPool(thread_name_prefix="tonnage-stores"))
        self.loop.set_exception_handler(_on_exception)
        #: How long whoever is called to close has.
        self.closing_seconds = CLOSE_SECONDS
        # One for each store that has something to finish.
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self._thread = threading.Thread(target=self._run, name="tonnage-stores", daemon=True)
        try:
            self._thread.start()
        except (MemoryError, RuntimeError):
            self.loop.close()
            raise

    @property
    def is_here(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    def start(self, coroutine: Coroutine[Any, Any, R]) -> Future[R]:
        """Have *coroutine* run there; its result and its error are the future's."""
        return Context().run(asyncio.run_coroutine_threadsafe, coroutine, self.loop)

    async def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Return what *coroutine* returns there; to be awaited in any event loop, also in that."""
        if self.is_here:
            return await coroutine
        return await asyncio.wrap_future(self.start(coroutine))

    def call(self, function: Callable[..., object], *given: object) -> None:
        """Have *function* called there, soon."""
        self.loop.call_soon_threadsafe(function, *given, context=Context())

    def on_close(self, closer: Callable[[], Awaitable[object]]) -> None:
        """Have *closer* called and awaited before the process ends; the last one comes first."""
        self._closers.append(closer)

    def forget(self, closer: Callable[[], Awaitable[object]]) -> None:
        """Undo :meth:`on_close`; nothing happens if it was not there."""
        if closer in self._closers:
            self._closers.remove(closer)

    def close(self, seconds: float) -> None:
        """Close what was registered, together within *seconds*; what takes longer is left."""
        closers, self._closers = self._closers[::-1], []
        if not closers or not self._thread.is_alive():
            return
        # A little less than they are waited for, lest they end just when nobody does any more.
        self.closing_seconds = seconds * 0.9
        try:
            self.start(_close_all(closers, seconds)).result(seconds + 1)
        except TimeoutError:
            logger.warning("stores did not close within %g s", seconds)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


def _on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line that there was no memory; all else as usual.

    As where a socket is read: asyncio closes it, and whoever has it connects anew.
    """
    if isinstance(context.get("exception"), MemoryError):
        logger.warning("beside requests there was no memory just now: %s", context["message"])
    else:
        loop.default_exception_handler(context)


async def _close_all(closers: list[Callable[[], Awaitable[object]]], seconds: float) -> None:
    tasks = [asyncio.ensure_future(_close_one(closer)) for closer in closers]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    if late:
        logger.warning("%d stores did not finish within %g s", len(late), seconds)
        await asyncio.wait(late, timeout=0.5)


async def _close_one(closer: Callable[[], Awaitable[object]]) -> None:
    try:
        await closer()
    except Exception:
        logger.exception("a store could not be closed")


_making = threading.Lock()
_background: Background | None = None


def background() -> Background:
    """Return the thread of this process; begun when first asked for."""
    global _background  # one for a process
    with _making:
        if _background is None:
            _background = Background()
        return _background


def close(seconds: float = CLOSE_SECONDS) -> None:
    """Close what has something to finish, within *seconds*; waits for it."""
    if _background is not None:
        _background.close(seconds)


def on_begin(method: Callable[[], object]) -> None:
    """Have *method*, whose object is held weakly, called in each worker when it begins to serve.

    For what was left by a process before; under other servers nobody calls it.
    """
    _to_begin[:] = [each for each in _to_begin if each() is not None]
    _to_begin.append(weakref.WeakMethod(method))


def forget_begin(method: Callable[[], object]) -> None:
    """Undo :func:`on_begin`; nothing happens if it was not there."""
    _to_begin[:] = [each for each in _to_begin if each() not in (None, method)]


def begin() -> None:
    """Call what is to be called in a worker that begins to serve; the server does it."""
    global _is_served  # by a server that calls close(), too
    _is_served = True
    for each in _to_begin.copy():
        method = each()
        if method is not None:
            method()


def is_served() -> bool:
    """Return whether this is a worker of ``tonnage run``, which closes stores in the end."""
    return _is_served


_is_served = False
# One for each store that wants it.
_to_begin: list[weakref.WeakMethod[Callable[[], object]]] = []


def check_thread(this: str, instead: str) -> None:
    """Raise RuntimeError in a thread that runs an event loop: *this* would hold it up."""
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            f"{this} would hold up the event loop that runs in this thread: {instead} here"
        )


def _after_fork() -> None:
    global _background, _making  # its thread is not here
    _background, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
# Python ends its pools of threads before it calls what is registered with atexit, and a sink may
# need one for its last batch. What threading keeps for that is called last come, first served: so
# the pools' own, which is registered by this import, comes after ours. There is no public way.
getattr(threading, "_register_atexit", atexit.register)(close)
