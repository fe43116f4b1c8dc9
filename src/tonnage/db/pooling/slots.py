"""Who gets a connection: so many at most, first come, first served. Decides; opens and closes none.

    slots = Slots(limit=5, most_waiting=500)
    found = slots.take(make_waiter)        # a Grant at once, or the waiter, which is in line now
    slots.leave(connection)                # to the first in line, or to the others that rest

Promises: in use and at rest together are never more than the limit that applies. Whoever waits
longest is served first. Where the server takes no more connections than there are, nobody is told
to open one for a second: all wait for those that live (:meth:`Slots.go_without`). Of those at rest
the one that was used last goes first, so that the others get old and can be closed. Safe in
threads: the lock is held for microseconds, and a waiter is called with it held, so it must only be
woken.

Bounded: *limit* connections and *most_waiting* waiters, and as many more as were about to open one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

#: How long nobody tries to open more, after the server has had no room for one.
FULL_SECONDS: Final = 1.0

T = TypeVar("T")


class LineFullError(Exception):
    """The line is full: nobody else may wait."""


@dataclass(frozen=True, slots=True)
class Grant(Generic[T]):
    """The right to use a connection: one that was at rest, or none, and then to open one."""

    item: T | None = None
    #: Since when it was at rest.
    since_seconds: float = 0.0


class Waiter(Protocol):
    """Whoever waits in line."""

    def wake(self, found: Grant[Any] | BaseException) -> None:
        """Hear of a grant, or of an error instead; from any thread, and without blocking."""


W = TypeVar("W", bound=Waiter)


class Slots(Generic[T]):
    """The connections of one pool in one process and one event loop.

    Args:
        limit: how many there may be.
        most_waiting: how many may wait.
        clock: seconds that only go forward.
    """

    def __init__(
        self, limit: int, most_waiting: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # Reentrant: while it is held, the collector may find a connection, which comes back then.
        self._lock = threading.RLock()
        self._clock = clock
        # As many as the server has room for, and until when that is taken for true.
        self._room, self._full_until_seconds = limit, float("-inf")
        self._most_waiting = most_waiting
        self._line: deque[Waiter] = deque()
        self._resting: list[Grant[T]] = []
        self.limit = limit
        self.in_use = 0

    @property
    def idle(self) -> int:
        """How many rest."""
        return len(self._resting)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def take(self, make_waiter: Callable[[], W]) -> Grant[T] | W:
        """Return a grant, or a waiter who is last in line.

        Raises:
            LineFullError: too many wait.
        """
        with self._lock:
            if self.in_use < self._limit_now() and not self._line:
                return self._grant()
            if len(self._line) >= self._most_waiting:
                raise LineFullError
            waiter = make_waiter()
            self._line.append(waiter)
            self._serve()  # there may be room again since the line was formed
            return waiter

    def go_without(self, make_waiter: Callable[[], W]) -> W | None:
        """End a grant for which the server has no room; return a waiter who is first in line.

        There are no more than the others for :data:`FULL_SECONDS`, whoever asks. None: there are no
        others to wait for, and the grant is kept.
        """
        with self._lock:
            others = self.in_use + len(self._resting) - 1
            if others < 1:
                return None
            waiter = make_waiter()
            self._room = others
            self._full_until_seconds = self._clock() + FULL_SECONDS
            self.in_use -= 1
            self._line.appendleft(waiter)
            self._serve()
            return waiter

    def forget(self, waiter: Waiter) -> bool:
        """Take *waiter* out of the line; return whether it was there and has no grant."""
        with self._lock:
            if waiter not in self._line:
                return False
            self._line.remove(waiter)
            return True

    def leave(self, item: T | None, now_seconds: float) -> bool:
        """End a grant, and have *item* rest; None: what was used is closed.

        Returns:
            Whether that was so; if not, the limit has become lower: *item* is to be closed, and
            counts until ``leave(None, ...)`` says that it is.
        """
        with self._lock:
            if item is not None and self.in_use + len(self._resting) > self.limit:
                return False
            resting = None if item is None else Grant(item, now_seconds)
            self.in_use -= 1
            if resting is not None:
                self._resting.append(resting)
            self._serve()
            return True

    def resize(self, limit: int) -> list[T]:
        """Have another limit apply; return which at rest have to be closed for it.

        They count as in use, as those of :meth:`take_out` do.
        """
        with self._lock:
            self.limit = limit
            surplus = max(0, self.in_use + len(self._resting) - limit)
            gone = self._take(self._resting[:surplus])
            self._serve()
            return gone

    def take_out(
        self, is_due: Callable[[Grant[T]], bool] = lambda _: True, most: int | None = None
    ) -> list[T]:
        """Return those at rest for which *is_due*, the longest first; they are to be closed.

        Each counts as in use until ``leave(None, ...)`` says that it is closed: its place is taken
        until then.
        """
        with self._lock:
            return self._take([each for each in self._resting if is_due(each)][:most])

    def take_rested(self, seconds: float, is_over: Callable[[T], bool]) -> list[T]:
        """Return those that have rested for *seconds*, or are over; as :meth:`take_out` does."""
        since_seconds = self._clock() - seconds
        return self.take_out(
            lambda grant: (
                grant.since_seconds <= since_seconds
                or (grant.item is not None and is_over(grant.item))
            )
        )

    def borrow(self) -> tuple[T, float] | None:
        """Return one that rests, if one does and nobody waits, and since when it has rested."""
        with self._lock:
            if not self._resting or self._line:
                return None
            grant = self._grant()
            assert grant.item is not None  # as it has rested
            return grant.item, grant.since_seconds

    def turn_away(self, error: Callable[[], BaseException]) -> None:
        """Have everybody who waits hear an *error* instead, each one of its own."""
        with self._lock:
            line, self._line = self._line, deque()
            for waiter in line:
                waiter.wake(error())

    # With the lock held.

    def _limit_now(self) -> int:
        is_full = self._clock() < self._full_until_seconds
        return min(self.limit, self._room) if is_full else self.limit

    def _take(self, grants: list[Grant[T]]) -> list[T]:
        gone = []
        for each in grants:
            if each in self._resting and each.item is not None:
                self._resting.remove(each)
                self.in_use += 1
                gone.append(each.item)
        return gone

    def _grant(self) -> Grant[T]:
        self.in_use += 1
        return self._resting.pop() if self._resting else Grant()

    def _serve(self) -> None:
        while self._line and self.in_use < self._limit_now():
            self._line.popleft().wake(self._grant())
