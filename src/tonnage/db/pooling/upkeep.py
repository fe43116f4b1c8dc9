"""What is done for connections beside requests: when, where, and what the log says of it.

    log = ConnectionLog("database", "postgresql://app:***@db/shop")
    log.opened(3)                      # database connection opened: database (...): 3 open
    home = InLoop() or InThreads()
    home.later(15.0, look)             # look() is called there, once
    home.run(close_them)               # may block, for what is awaited or for a socket

Promises: of each pool the log has a line a second at most for connections that come, and one for
those that go, with how many of these there were since the last. What is done later knows nothing of
the request in which it was begun. Connections of an event loop are looked after in that loop; those
of threads beside the stores' thread (:mod:`tonnage.stores.background`), which is begun when the
first of them is open.

Does not decide what is due (:mod:`tonnage.db.pooling.slots`), and closes nothing when a process
ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from tonnage.stores.background import background

if TYPE_CHECKING:
    import weakref
    from collections.abc import AsyncGenerator, Awaitable, Callable

P = TypeVar("P")

logger = logging.getLogger("tonnage.db")

#: How often it is looked what is due, at least; more often where connections may rest for less.
LOOK_SECONDS: Final = 15.0
LINE_SECONDS: Final = 1.0


def look_seconds(idle_seconds: float) -> float:
    """Return how often to look whether connections have rested for *idle_seconds*."""
    return min(LOOK_SECONDS, idle_seconds / 4)


class ConnectionLog:
    """Says what connections come and go.

    Args:
        name: of the pool.
        shown: where its database is, without a password.
        clock: seconds that only go forward.
    """

    def __init__(self, name: str, shown: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = f"{name} ({shown})"
        self._clock = clock
        # Of each kind: when the next line may be, and of how many there was none since the last.
        self._next_seconds = {"opened": float("-inf"), "closed": float("-inf")}
        self._silent = {"opened": 0, "closed": 0}

    def opened(self, open_now: int) -> None:
        """A connection was opened; now there are *open_now*."""
        self._say("opened", open_now)

    def closed(self, open_now: int) -> None:
        """A connection was closed; now there are *open_now*."""
        self._say("closed", open_now)

    def _say(self, what: str, open_now: int) -> None:
        now = self._clock()
        if now < self._next_seconds[what]:
            self._silent[what] += 1
            return
        self._next_seconds[what] = now + LINE_SECONDS
        silent, self._silent[what] = self._silent[what], 0
        logger.info(
            "database connection %s: %s: %d open%s",
            what,
            self._what,
            open_now,
            f" ({silent} more {what} before)" if silent else "",
        )


class Home(Protocol):
    """Where a pool's connections are looked after."""

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Have *function* called in *seconds*; it must be quick."""

    def run(self, function: Callable[[], object]) -> None:
        """Have *function* called soon; it may use connections, and so take its time."""


class InLoop:
    """For connections that belong to the running event loop; made in it."""

    def __init__(self) -> None:
        self.loop: Final = asyncio.get_running_loop()
        # The loop itself holds tasks weakly. As many as there are reasons to look.
        self._running: set[asyncio.Task[Any]] = set()

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """See :class:`Home`."""
        self.loop.call_later(seconds, function, context=Context())

    def run(self, function: Callable[[], object]) -> None:
        """See :class:`Home`; from any thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._run, function, context=Context())

    def _run(self, function: Callable[[], object]) -> None:
        from sqlalchemy.util import greenlet_spawn

        # Not by way of the loop's factory, which would have it belong to a request.
        task = asyncio.Task(greenlet_spawn(function), loop=self.loop)
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("connections could not be looked after", exc_info=error)


class InThreads:
    """For connections that any thread may use."""

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """See :class:`Home`."""
        there = background()
        there.call(there.loop.call_later, seconds, function)

    def run(self, function: Callable[[], object]) -> None:
        """See :class:`Home`."""
        background().start(self._run(function))

    async def _run(self, function: Callable[[], object]) -> None:
        try:
            await asyncio.to_thread(function)
        except MemoryError as error:
            logger.warning("connections could not be looked after: there is no memory (%s)", error)
        except Exception:
            logger.warning("connections could not be looked after", exc_info=True)


async def until_loop_ends(
    reference: weakref.ref[P], close: Callable[[P], Awaitable[object]]
) -> AsyncGenerator[None, None]:
    """Close a pool's connections when its event loop closes its asynchronous generators.

    That is the last that a loop does in an orderly end (:func:`asyncio.run`, every server, pytest's
    plugins), after it has cancelled its tasks; there is no other word for it.
    """
    try:
        yield
    finally:
        pool = reference()
        if pool is not None:
            await close(pool)
