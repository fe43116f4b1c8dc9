"""What all pools of ours have in common: who has which connection, which rest, and which must go.

Promises: a place that was taken comes back, whatever happens to the connection that had it. What is
due is looked for four times while a connection may rest, twice a minute at least, beside requests.

Decides, and leaves opening and closing to :mod:`tonnage.db.engines` and :mod:`tonnage.db.pools`.
Bounded by :class:`~tonnage.db.pooling.slots.Slots`.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from abc import ABC, abstractmethod
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tonnage.db.pooling.away import NoRoomError
from tonnage.db.pooling.keeper import MOST_WAITING
from tonnage.db.pooling.slots import Grant, LineFullError, Slots
from tonnage.db.pooling.upkeep import InLoop, look_seconds, until_loop_ends
from tonnage.db.pooling.waiters import ThreadWaiter
from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tonnage.db.pooling.keeper import Keeper, Life
    from tonnage.db.pooling.serverlimits import ServerLimits
    from tonnage.db.pooling.slots import Waiter
    from tonnage.db.pooling.upkeep import Home

C = TypeVar("C")
W = TypeVar("W", bound="Waiter")


class KeptPool(ABC, Generic[C]):
    """The connections of one pool in one process.

    Args:
        keeper: what it knows beside them.
    """

    #: Where its connections are looked after; None: nowhere yet.
    _home: Home | None = None

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        # What cannot be closed since it is the parent's of a fork: no more than that had.
        self._parents: list[object] = []
        self._begin()
        keeper.add(self)

    # For the keeper.

    def resize(self, limit: int) -> None:
        """Have another limit apply from now on."""
        self.close_those(self.slots.resize(limit))

    def shrink(self, connections: int) -> int:
        """Close so many of those that rest, soon; return how many it will be."""
        closing = min(connections, self.slots.idle)
        if closing:
            # Taken out there: where no thread can be begun for it, they go on resting.
            self._beside(lambda: self.close_those(self.slots.take_out(most=closing)))
        return closing

    def begin_anew(self) -> None:
        """Forget what there was: it is the parent's; called in a forked child."""
        self._parents.append(self.slots)
        self._begin()

    @abstractmethod
    def close_those(self, connections: list[C]) -> None:
        """Close what was taken out, and let others have its places."""

    # For pools.

    @abstractmethod
    def _life(self, connection: C) -> Life:
        """Return the life of *connection*."""

    @abstractmethod
    def _count(self, connection: C, since_seconds: float) -> None:
        """Have one that has rested ask the server how many there are, and rest on."""

    def _begin(self) -> None:
        self._is_looking = False
        self.slots: Slots[C] = Slots(self._keeper.limit_now, MOST_WAITING)

    def _is_over(self, connection: C) -> bool:
        return self._keeper.is_over(self._life(connection))

    def _enter(self, make_waiter: Callable[[], W]) -> Grant[C] | W:
        """Return a grant, or the waiter, who is in line now.

        Raises:
            PoolBusyError: too many wait.
        """
        try:
            return self.slots.take(make_waiter)
        except LineFullError:
            raise self._keeper.busy(self.slots.waiting, None) from None

    def _give_up(self, waiter: ThreadWaiter) -> None:
        """Have whoever does not wait any more get nothing, or give it back."""
        if self.slots.forget(waiter):
            return
        try:
            grant = waiter.granted()
        except DatabaseError:
            return  # an error instead of a place: there is nothing to give back
        if grant.item is None:
            self.slots.leave(None, time.monotonic())
        else:
            self._rest(grant.item, grant.since_seconds)

    def _rest(self, connection: C, since_seconds: float | None = None) -> None:
        """Have *connection* wait for the next; it is closed if the limit has become lower."""
        since = time.monotonic() if since_seconds is None else since_seconds
        if self.slots.leave(connection, since):
            self._look_later()
        else:
            self.close_those([connection])

    # Beside requests.

    def _beside(self, function: Callable[[], object]) -> None:
        if self._home is not None:
            self._home.run(function)

    def _look_later(self) -> None:
        home = self._home
        if home is not None and not self._is_looking:
            self._is_looking = True
            seconds = look_seconds(self._keeper.idle_seconds)
            home.later(seconds, partial(_look, weakref.ref(self), home))

    def look(self) -> None:
        """Have closed what is due, and the server asked; then look again later."""
        self._is_looking = False
        if self.slots.idle:
            self._beside(self._look_after)
        if self.slots.idle or self.slots.in_use:
            self._look_later()

    def _look_after(self) -> None:
        self.close_those(self.slots.take_rested(self._keeper.idle_seconds, self._is_over))
        borrowed = self.slots.borrow() if self._keeper.wants_count else None
        if borrowed is not None:
            self._count(*borrowed)


def _look(reference: weakref.ref[KeptPool[Any]], home: Home) -> None:
    pool = reference()
    # Connections in another event loop are for that to look after.
    if pool is not None and pool._home is home:
        pool.look()


class BlockingPool(KeptPool[C]):
    """A pool whose users block until they have one: in a thread, or in a greenlet of SQLAlchemy."""

    _waiter: type[ThreadWaiter] = ThreadWaiter

    @abstractmethod
    def _is_living(self, connection: C, since_seconds: float) -> bool:
        """Return whether *connection*, which has rested since then, can be used."""

    @abstractmethod
    def _open(self) -> C:
        """Return a new connection; raises :class:`NoRoomError` where the server has no room."""

    @abstractmethod
    def _close(self, connection: C) -> None:
        """Close *connection*."""

    @abstractmethod
    def _told(self, connection: C) -> ServerLimits | None:
        """Return what the server says that it allows; None: nothing. Raises where it has died."""

    def close_those(self, connections: list[C]) -> None:
        """See :class:`KeptPool`."""
        # Each of them, also where closing another one is interrupted.
        with ExitStack() as closing:
            for connection in reversed(connections):
                closing.callback(self.slots.leave, None, time.monotonic())
                closing.callback(self._close, connection)

    def _take(self, seconds: float | None) -> C:
        """Return a connection, waiting for it so long at most."""
        ends_seconds = None if seconds is None else time.monotonic() + seconds
        found = self._enter(self._waiter)
        while True:
            if isinstance(found, ThreadWaiter):
                left = None if ends_seconds is None else max(0.0, ends_seconds - time.monotonic())
                found = self._granted(found, left, seconds)
            used = self._used(found)
            if not isinstance(used, ThreadWaiter):
                return used
            found = used

    def _granted(self, waiter: ThreadWaiter, left: float | None, seconds: float | None) -> Grant[C]:
        """Return what *waiter* gets in the *left* of all *seconds*."""
        try:
            granted = waiter.wait(left)
        except BaseException:  # interrupted, or woken with an error
            self._give_up(waiter)
            raise
        if granted is None and self.slots.forget(waiter):
            raise self._keeper.busy(self.slots.waiting, seconds)
        return granted if granted is not None else waiter.granted()

    def _used(self, grant: Grant[C]) -> C | ThreadWaiter:
        """Return a connection, or who waits for another since the server has no room for one."""
        try:
            connection = grant.item
            if connection is not None:
                if self._is_living(connection, grant.since_seconds):
                    return connection
                self._close(connection)
            try:
                return self._open()
            except NoRoomError as error:
                return self._keeper.wait_instead(error, self.slots, self._waiter)
        except BaseException:
            self.slots.leave(None, time.monotonic())
            raise

    def _count(self, connection: C, since_seconds: float) -> None:
        try:
            found = self._told(connection)
        except Exception:  # noqa: BLE001  (it has died; whoever had got it would have seen)
            self._keeper.lose()
            self.close_those([connection])
            return
        except BaseException:  # cancelled, when the event loop ends
            self.close_those([connection])
            raise
        if found is not None:
            self._keeper.counted(found)
        if self._is_over(connection):
            self.close_those([connection])
        else:
            self._rest(connection, since_seconds)


class LoopPool(KeptPool[C]):
    """A pool whose connections belong to one event loop at a time."""

    _home: InLoop | None = None
    _until_end: AsyncGenerator[None, None] | None = None

    def begin_anew(self) -> None:
        """Forget what there was: it is the parent's; called in a forked child."""
        # They would close the parent's connections in the name of the child.
        self._parents += [self._home, self._until_end]
        self._home = self._until_end = None
        super().begin_anew()

    @abstractmethod
    async def close(self) -> None:
        """Close the connections that rest."""

    def _new_home(self) -> InLoop:
        return InLoop()

    def _come_home(self) -> None:
        """Make sure that the connections belong to this event loop.

        Raises:
            DatabaseError: there are some in another one, which has not ended.
        """
        home = self._home
        if home is not None and home.loop is asyncio.get_running_loop():
            return
        if home is not None:
            if not home.loop.is_closed() and (self.slots.in_use or self.slots.idle):
                raise DatabaseError(
                    f"{self._keeper.name} has connections in another event loop, which has not"
                    " ended: make a pool or an engine for each, or close it there first"
                )
            for _ in self.slots.take_out():
                self._keeper.counts.went()  # it ended without closing them
            self._begin()
        self._home = self._new_home()
        self._until_end = until_loop_ends(weakref.ref(self))
