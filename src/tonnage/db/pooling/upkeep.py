"""What is done for connections beside requests: when, where, and what the log says of it.

    log = ConnectionLog("database", "postgresql://app:***@db/shop")
    log.opened(3)                      # database connection opened: database (...): 3 open
    home = InThreads()                 # or InLoop(), where connections belong to an event loop
    home.later(15.0, look)             # look() is called there, once
    home.run(close_them)               # in threads it may block

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
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Final, Protocol

from tonnage.stores.background import background

if TYPE_CHECKING:
    import weakref
    from collections.abc import AsyncGenerator, Callable

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
        """Have *function* called soon, to use connections."""


class InLoop:
    """For connections that belong to the running event loop; made in it."""

    def __init__(self) -> None:
        self.loop: Final = asyncio.get_running_loop()

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """See :class:`Home`."""
        self.loop.call_later(seconds, function, context=Context())

    def run(self, function: Callable[[], object]) -> None:
        """See :class:`Home`; from any thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(function, context=Context())


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


class Closing(Protocol):
    """What is to be closed with its event loop."""

    async def close(self) -> None:
        """Close the connections that rest."""


def until_loop_ends(reference: weakref.ref[Closing]) -> AsyncGenerator[None, None]:
    """Have a pool closed when the running event loop closes its asynchronous generators.

    That is the last that a loop does in an orderly end (:func:`asyncio.run`, every server, pytest's
    plugins), after it has cancelled its tasks; there is no other word for it. What is returned has
    to be kept until then.
    """
    waiting = _wait(reference)
    # Begun, so that the loop knows of it: it gets to its yield at once.
    with suppress(StopIteration):
        waiting.asend(None).send(None)
    return waiting


async def _wait(reference: weakref.ref[Closing]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        pool = reference()
        if pool is not None:
            await pool.close()
