"""What both pools have in common: who has which connection, which rest, and which are due to go.

Decides, and leaves opening and closing to :mod:`tonnage.db.pools.threads` and
:mod:`tonnage.db.pools.tasks`. Bounded by :class:`~tonnage.db.pooling.slots.Slots`.
"""

from __future__ import annotations

import os
import time
import weakref
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tonnage.db.pooling.slots import Grant, LineFullError, Slots
from tonnage.db.pooling.upkeep import look_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.db.pooling.counting import PoolStatistics
    from tonnage.db.pooling.slots import Waiter
    from tonnage.db.pooling.waiters import ThreadWaiter
    from tonnage.db.pools.poolkeeper import Life, PoolKeeper

C = TypeVar("C")
W = TypeVar("W", bound="Waiter")


class PoolBase(ABC, Generic[C]):
    """The connections of one pool in one process.

    Args:
        keeper: what it knows beside them.
    """

    def __init__(self, keeper: PoolKeeper) -> None:
        self._keeper = keeper
        # What cannot be closed since it is the parent's of a fork: no more than that had.
        self._parents: list[object] = []
        self._is_looking = False
        self.slots: Slots[C] = self._new_slots()
        _all.add(self)
        keeper.add(self)

    @property
    def name(self) -> str:
        """What it is called in logs and statistics."""
        return self._keeper.name

    def statistics(self) -> PoolStatistics:
        """Return how many connections are open, in use and idle, who waits, and totals."""
        return self._keeper.statistics()

    def __repr__(self) -> str:
        slots = self.slots
        return (
            f"<{type(self).__name__} {self.name!r}: {slots.in_use} in use, {slots.idle} idle,"
            f" {slots.waiting} waiting, limit {slots.limit}>"
        )

    # For the keeper.

    def resize(self, limit: int) -> None:
        """Have another limit apply from now on."""
        self.close_those(self.slots.resize(limit))

    def shrink(self, connections: int) -> int:
        """Close so many of those that rest, soon; return how many it will be."""
        gone = self.slots.take_out(lambda _: True, connections)
        if gone:
            self._run(partial(self.close_those, gone))
        return len(gone)

    def begin_anew(self) -> None:
        """Forget what there was: it is the parent's; called in a forked child."""
        self._parents.append(self.slots)
        self._is_looking = False
        self.slots = self._new_slots()

    @abstractmethod
    def close_those(self, connections: list[C]) -> None:
        """Close what was taken out, and let others have its places."""

    # For both.

    @abstractmethod
    def _life(self, connection: C) -> Life:
        """Return the life of *connection*."""

    @abstractmethod
    def _ask_beside(self, grant: Grant[C]) -> None:
        """Have one that rested ask the server how many there are, and end its *grant*; soon."""

    @abstractmethod
    def _run(self, function: Callable[[], None]) -> None:
        """Have *function* called where connections may be closed, soon."""

    @abstractmethod
    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        """Have *function* called in *seconds*."""

    def _new_slots(self) -> Slots[C]:
        return Slots(self._keeper.limit_now, self._keeper.most_waiting)

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
        except Exception:  # noqa: BLE001  (an error instead of a place: nothing to give back)
            return
        if grant.item is None:
            self.slots.leave(None, time.monotonic())
        else:
            self._rest(grant.item)

    def _is_ours(self, connection: C) -> bool:
        """Return whether *connection* is of this process.

        A child that was forked while one was in use has the same socket: a word of the child's
        would be one in the parent's transaction.
        """
        return self._life(connection).process == os.getpid()

    def _rest(self, connection: C) -> None:
        """Have *connection* wait for the next; it is closed if the limit has become lower."""
        if self.slots.leave(connection, time.monotonic()):
            self._look_later()
        else:
            self.close_those([connection])

    # Beside requests.

    def _look_later(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._later(look_seconds(self._keeper.idle_seconds), partial(_look, weakref.ref(self)))

    def look(self) -> None:
        """Close what is due, and ask the server how many there are; then look again later."""
        self._is_looking = False
        due = self.slots.take_rested(
            self._keeper.idle_seconds,
            lambda connection: self._keeper.is_over(self._life(connection)),
        )
        if due:
            self._run(partial(self.close_those, due))
        grant = self.slots.borrow() if self._keeper.wants_count else None
        if grant is not None:
            self._ask_beside(grant)
        if self.slots.idle or self.slots.in_use:
            self._look_later()


def _look(reference: weakref.ref[PoolBase[Any]]) -> None:
    pool = reference()
    if pool is not None:
        pool.look()


# Those that a forked child has to begin anew.
_all: weakref.WeakSet[PoolBase[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_all):
        pool.begin_anew()


os.register_at_fork(after_in_child=_after_fork)
