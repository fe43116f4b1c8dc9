"""What the pools of one engine, or a plain one, know beside connections: limit, state and counts.

Promises: how many connections there may be is decided at the first one, when the number of workers
is known; that one goes alone, and asks what the server allows, so that the pool is no larger. A
server that has no room for another connection is no outage for a pool that has one: requests wait
for it. Memory that is wanted back is given back by closing connections that rest. When the process
ends, those that rest are closed; in a forked child all is forgotten.

Opens nothing by itself, and asks no server: whoever has connections calls it, as
:mod:`tonnage.db.pooling.kept` and an engine's events (:mod:`tonnage.db.engines.events`) do.
Bounded: one for each engine or plain pool; an engine has one pool, or two while one is disposed of.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.db.drivers.durations import idle_seconds, lifetime_seconds
from tonnage.db.pooling import serverlimits
from tonnage.db.pooling.away import (
    Door,
    NoRoomError,
    busy,
    full,
    is_away,
    is_full,
    lost,
    said,
)
from tonnage.db.pooling.counting import PoolStatistics, enter
from tonnage.db.pooling.counts import Counts
from tonnage.db.pooling.share import join
from tonnage.db.pooling.slots import FULL_SECONDS
from tonnage.db.pooling.upkeep import ConnectionLog, look_seconds
from tonnage.errors import DatabaseError
from tonnage.governor.consumers import register
from tonnage.stores.background import background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tonnage.db.pooling.kept import KeptPool
    from tonnage.db.pooling.slots import Slots, Waiter
    from tonnage.db.urls import DatabaseUrl
    from tonnage.errors import DatabaseAwayError, PoolBusyError
    from tonnage.settings import DatabaseSettings

logger = logging.getLogger("tonnage.db")

#: Who may wait for a connection of one pool.
MOST_WAITING: Final = 500
BUSY_LINE_SECONDS: Final = 10.0
#: Lifetimes are this part shorter by chance, lest all connections of all workers end together.
JITTER_SHARE: Final = 0.2
#: Classes of SQLSTATE: the connection failed, or an operator ended it.
_LOST_CLASSES: Final = ("08", "57P")

W = TypeVar("W", bound="Waiter")


@dataclass(frozen=True, slots=True)
class Life:
    """When a connection was opened, when it is to be closed at the latest, and whose it is."""

    begun_seconds: float = 0.0
    ends_seconds: float = float("inf")
    #: The number of the process that has opened it.
    process: int = 0


class Keeper:
    """Limit, state and counts of one engine's pools, or of one plain pool.

    Args:
        kind: what the connections go through, for statistics.
        name: of the pool, for logs and statistics.
        url: where the database is, and what is wanted of the pool.
        settings: what the options say.
        is_async: whether the pool is for an event loop.
    """

    def __init__(
        self, kind: str, name: str, url: DatabaseUrl, settings: DatabaseSettings, *, is_async: bool
    ) -> None:
        self.name = name
        self._kind = kind
        self.wait_seconds = url.pool.pool_timeout_seconds
        is_kept = url.is_in_memory  # else the database would end with its connection
        self.idle_seconds = float("inf") if is_kept else idle_seconds(url.pool, settings)
        self._lifetime_seconds = float("inf") if is_kept else lifetime_seconds(url.pool, settings)
        #: The server is asked whenever it is looked what is due, and so four times while a
        #: connection may rest, twice a minute at least.
        self.counts = Counts(ConnectionLog(name, url.shown), look_seconds(self.idle_seconds) / 2)
        #: When a connection was last found lost: all that are older have to be asked.
        self.lost_seconds = float("-inf")
        self._expired_seconds = float("-inf")
        self.dialect = url.dialect
        #: Whether to try for a connection at all.
        self.door = Door(name, url.shown)
        self._is_kept = is_kept
        self._is_async = is_async
        limit = 1 if is_kept else url.pool.connection_limit
        self._member = join(name, limit, serverlimits.place_of(url))
        self._pools: weakref.WeakSet[KeptPool[Any]] = weakref.WeakSet()
        self.begin_anew()
        _all.add(self)

    def begin_anew(self) -> None:
        """Forget what the process had; called in a forked child."""
        self._lock = threading.Lock()
        # None until the first connection is there: until then, one at a time.
        self._limit: int | None = None
        self._busy_seconds = self._full_seconds = float("-inf")
        self.counts.begin_anew()
        self.door.begin_anew()
        for pool in list(self._pools):
            pool.begin_anew()

    # For its pools.

    @property
    def limit_now(self) -> int:
        """How many connections there may be now."""
        return 1 if self._limit is None else self._limit

    def show(self, where: str) -> None:
        """Be in statistics, and be asked for memory, as of a database that is *where*."""
        enter(self, where)
        register(self)

    def add(self, pool: KeptPool[Any]) -> None:
        """Have another pool of the engine in the count."""
        self._pools.add(pool)

    def ended(self) -> None:
        """Note that a pool was closed: others have its part until it is used again."""
        self._member.leave()
        self._limit = None

    def new_life(self) -> Life:
        """Return the life of a connection that is opened now."""
        now = time.monotonic()
        part = 1.0 - random.random() * JITTER_SHARE
        return Life(now, now + self._lifetime_seconds * part, os.getpid())

    def is_over(self, life: Life) -> bool:
        """Return whether *life* is over."""
        return life.begun_seconds <= self._expired_seconds or life.ends_seconds <= time.monotonic()

    def expire(self) -> None:
        """Have the life be over of every connection there is."""
        self._expired_seconds = time.monotonic()
        self.ended()

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Let a connection be opened inside, or not.

        Raises:
            DatabaseAwayError: the database is away, or it is found to be. Where the server has no
                room it is :class:`NoRoomError`, for the pool to catch: see :meth:`wait_instead`.
        """
        self.door.check()
        try:
            yield
        except Exception as error:
            if not is_away(error, self.dialect):
                self.door.gave_up()
                raise
            if is_full(error):
                raise NoRoomError(full(self.name).problem) from error
            raise self._fail(error) from error
        except BaseException:  # cancelled
            self.door.gave_up()
            raise
        self.door.came()

    @contextmanager
    def using(self, is_ended: Callable[[Exception], bool]) -> Iterator[None]:
        """Have an error that has lost a connection be what it is.

        Args:
            is_ended: whether the connection is not to be used after an error.

        Raises:
            DatabaseAwayError: the connection was lost.
        """
        try:
            yield
        except DatabaseError:
            raise
        except Exception as error:
            state = str(getattr(error, "sqlstate", None) or "")
            if not state.startswith(_LOST_CLASSES) and not is_ended(error):
                raise
            self.lose()
            raise lost(self.name) from error

    def lose(self) -> None:
        """Note that a connection was found dead: others may be too."""
        self.lost_seconds = time.monotonic()

    def busy(self, waiting: int, seconds: float | None) -> PoolBusyError:
        """Return what to raise where there was no connection; it is told in the log."""
        self.counts.gave_up()
        now = time.monotonic()
        with self._lock:
            is_told = now - self._busy_seconds >= BUSY_LINE_SECONDS
            if is_told:
                self._busy_seconds = now
        is_full = now - self._full_seconds <= FULL_SECONDS + (seconds or 0.0)
        limit = max(1, self.counts.open) if is_full else self.limit_now
        error = busy(self.name, limit, waiting, seconds, is_full=is_full)
        if is_told:
            logger.warning("too many requests for the database: %s", error)
        return error

    @property
    def wants_count(self) -> bool:
        """Whether it is time to ask the server how many connections there are, and may be."""
        is_answered = serverlimits.statement(self.dialect) is not None
        return is_answered and (self._limit is None or self.counts.are_old)

    def counted(self, found: serverlimits.ServerLimits) -> None:
        """Note what the server has said."""
        self.counts.asked(found.in_use)

    def not_counted(self, error: Exception) -> None:
        """Note that it does not say it: a proxy, or a right that is missing."""
        logger.info("%s does not say what it allows: %s", self.name, said(error))
        self.counts.asked(None)

    def opened(self, found: serverlimits.ServerLimits | None) -> None:
        """Note a new connection; the first one decides how many there may be.

        Args:
            found: what the server has said through it, if it was asked.
        """
        if found is not None:
            self.counted(found)
        if self._limit is None:
            self._settle(found)
        # Not before: where that fails, as for want of a thread, there is no connection.
        self.counts.came()

    def wait_instead(
        self, error: NoRoomError, slots: Slots[Any], make_waiter: Callable[[], W]
    ) -> W:
        """Return who waits for a connection that lives, in place of the one that did not come.

        Raises:
            DatabaseAwayError: there is none to wait for.
        """
        said_so = error.__cause__ if isinstance(error.__cause__, Exception) else error
        waiter = slots.go_without(make_waiter)
        if waiter is None:
            raise self._fail(said_so) from said_so
        self.door.came()  # it answers
        now = time.monotonic()
        with self._lock:
            is_told = now - self._full_seconds >= BUSY_LINE_SECONDS
            self._full_seconds = now
        if is_told:
            logger.warning(
                "too many connections: %s has %d, and its server has no room for more: requests"
                " wait for these; let it allow more, or close what others have open (%s)",
                self.name,
                self.counts.open,
                said(said_so),
            )
        return waiter

    # For statistics and for the governor.

    def statistics(self) -> PoolStatistics:
        """Return state and counts of the engine's pools together."""
        slots, counts = [pool.slots for pool in list(self._pools)], self.counts
        return PoolStatistics(
            name=self.name,
            kind=self._kind,
            limit=self._planned(),
            open=counts.open,
            in_use=sum(each.in_use for each in slots),
            idle=sum(each.idle for each in slots),
            waiting=sum(each.waiting for each in slots),
            opened_total=counts.opened,
            closed_total=counts.closed,
            timed_out_total=counts.timed_out,
            server_connections=counts.server_connections,
        )

    @property
    def used_bytes(self) -> int:
        """What its connections are taken to hold."""
        return self.counts.open * CONNECTION_BYTES

    @property
    def max_bytes(self) -> int:
        """What they may hold at most."""
        return self._planned() * CONNECTION_BYTES

    def shrink(self, target_bytes: int) -> int:
        """Close connections that rest, until what is left is *target_bytes*; return the bytes."""
        surplus = self.counts.open - target_bytes // CONNECTION_BYTES
        if self._is_kept or surplus <= 0:
            return 0
        closed = 0
        for pool in list(self._pools):
            closed += pool.shrink(surplus - closed)
        return closed * CONNECTION_BYTES

    def close(self) -> None:
        """Close the connections that rest, of pools for threads."""
        if not self._is_async:
            for pool in list(self._pools):
                pool.close_those(pool.slots.take_out())

    # Inside.

    def _fail(self, error: Exception) -> DatabaseAwayError:
        """Note that none can be opened; nobody needs to wait for one any longer."""
        self.lose()
        refusal = self.door.failed(error)
        for pool in list(self._pools):
            pool.slots.turn_away(self.door.refusal)
        return refusal

    def _settle(self, found: serverlimits.ServerLimits | None) -> None:
        """Decide how many there may be, with what the first of them tells."""
        limit, warnings = self._member.settle(found)
        for warning in warnings:
            logger.warning("%s: %s", self.name, warning)
        if not self._is_async:
            _close_in_the_end()
        self._limit = limit
        for pool in list(self._pools):
            pool.resize(limit)

    def _planned(self) -> int:
        return self._limit if self._limit is not None else self._member.planned()


# Those that a forked child has to begin anew, and that are closed when the process ends.
_all: weakref.WeakSet[Keeper] = weakref.WeakSet()
_is_closing_wanted = False


def _close_in_the_end() -> None:
    global _is_closing_wanted  # once for a process
    if not _is_closing_wanted:
        background().on_close(_close_all)
        _is_closing_wanted = True


async def _close_all() -> None:
    # In a thread: a connection may have something to say to its server.
    for keeper in list(_all):
        await asyncio.to_thread(keeper.close)


def _after_fork() -> None:
    global _is_closing_wanted
    _is_closing_wanted = False
    for keeper in list(_all):
        keeper.begin_anew()


os.register_at_fork(after_in_child=_after_fork)
