"""Records between those who add them and the one who takes them away: bounded, and in order.

    buffer.put([record], weight_bytes)        # from any thread; False: no room
    taken = buffer.take()                     # all that wait
    buffer.release(taken)                     # only now is their room free again

Promises: never more records and never more bytes than its bounds, those that were taken and not
released included. Whoever waits for room gets it in the order in which they came, and nobody passes
them. Records come out in the order in which they went in. Everything it does takes microseconds,
under one lock.

Knows no time but what it is told, no event loop and no sink. Does not bound how many wait for room
(:mod:`tonnage.stores.writer.waiters`).
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tonnage.errors import WriterClosedError
from tonnage.stores.writer.waiters import Waiter, Waiters, refuse, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tonnage.stores.writer.bounds import Bounds
    from tonnage.stores.writer.waiters import Parcels


@dataclass(slots=True)
class Taken:
    """Records that were taken, in order, with what they take."""

    records: Sequence[Any]
    used_bytes: int


class Buffer:
    """The records of one writer that are in memory.

    Args:
        bounds: how much it holds at most, and from when on that is due.
        wake: called, from whichever thread adds, when the first record begins to wait, and when
            those that wait become due; never under the lock.
        begin: called before the first record begins to wait, or oftener; what it raises, whoever
            adds gets, and nothing was taken.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        bounds: Bounds,
        *,
        wake: Callable[[], object],
        begin: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bounds = bounds
        #: Set by who takes, while it is going to look by itself: then it need not be woken.
        self.is_watched = False
        self._wake = wake
        self._begin = begin
        self._clock = clock
        # Reentrant: the collector may run code meanwhile that adds.
        self._lock = threading.RLock()
        self._waiting: list[Any] = []
        self._waiting_bytes = 0
        self._taken_records = self._taken_bytes = 0
        #: How many records ever left.
        self.released = 0
        self._is_due = self._is_closed = False
        self._since_seconds = 0.0
        self._taken_since_seconds: float | None = None
        self._waiters = Waiters()
        # While fewer records than these wait, and fewer bytes with it, one more changes nothing:
        # there is room, nobody waits for it, and nobody is to be woken.
        self._easy_records = self._easy_bytes = 0

    # Those who add.

    def put_one(self, record: Any, weight_bytes: int) -> bool:
        """As :meth:`put` of one record, in less time."""
        with self._lock:
            waiting = self._waiting
            waiting_bytes = self._waiting_bytes + weight_bytes
            if len(waiting) < self._easy_records and waiting_bytes < self._easy_bytes:
                waiting.append(record)
                self._waiting_bytes += weight_bytes
                return True
        return self.put((record,), weight_bytes)

    def put(self, records: Sequence[Any], weight_bytes: int) -> bool:
        """Take *records*, all or none; return whether there was room, and nobody waiting for it.

        Raises:
            WriterClosedError: nothing is taken any more.
        """
        self._begin()
        with self._lock:
            if self._is_closed:
                raise WriterClosedError("the writer is closed: it takes no more records")
            if self._waiters or not self._fits(records, weight_bytes):
                return False
            is_to_wake = self._take_in(records, weight_bytes)
            self._ease()
        if is_to_wake:
            self._wake()
        return True

    def wait(self, parcels: Parcels) -> Waiter:
        """Have *parcels* taken one after another, as room comes; return who waits for that.

        Each parcel must fit an empty buffer.

        Raises:
            WriterClosedError: nothing is taken any more.
        """
        waiter = Waiter(parcels, Future())
        with self._lock:
            if self._is_closed:
                raise WriterClosedError("the writer is closed: it takes no more records")
            self._waiters.join(waiter)
            is_to_wake, served = self._admit()
        self._after(is_to_wake, served)
        return waiter

    def give_up(self, waiter: Waiter) -> int:
        """Have *waiter* wait no longer; return how many of its records were not taken."""
        with self._lock:
            left = self._waiters.leave(waiter)
            # Those behind may have waited for this one only.
            is_to_wake, served = self._admit()
        self._after(is_to_wake, served)
        return left

    # The one who takes.

    @property
    def count(self) -> int:
        """How many records it holds; those that were taken and not released included."""
        return len(self._waiting) + self._taken_records

    @property
    def used_bytes(self) -> int:
        """What they take."""
        return self._waiting_bytes + self._taken_bytes

    @property
    def total(self) -> int:
        """How many records ever came in."""
        return self.count + self.released

    @property
    def is_full(self) -> bool:
        """Whether there is no room for a single record, however small."""
        return self.count >= self.bounds.max_records

    @property
    def waiters(self) -> int:
        """How many callers wait for room."""
        return len(self._waiters)

    def due_seconds(self, flush_seconds: float) -> float | None:
        """Return in how many seconds what waits is to be taken; None: nothing waits."""
        with self._lock:
            if not self._waiting:
                return None
            if self._is_due or self._waiters:
                return 0.0
            return max(0.0, self._since_seconds + flush_seconds - self._clock())

    @property
    def is_due(self) -> bool:
        """Whether there is enough for a flush, or somebody waits for room."""
        return self._is_due or bool(self._waiters)

    def lag_seconds(self) -> float:
        """Return for how long the oldest record has been here; 0: there is none."""
        with self._lock:
            if self._taken_since_seconds is not None:
                return self._clock() - self._taken_since_seconds
            return self._clock() - self._since_seconds if self._waiting else 0.0

    def take(self) -> Taken | None:
        """Return the oldest records that wait, a batch of them at most; None: there are none.

        They count until :meth:`release`.
        """
        with self._lock:
            waiting, waiting_bytes = self._waiting, self._waiting_bytes
            if not waiting:
                return None
            count = self.bounds.batch_of(len(waiting), waiting_bytes)
            # Each counts as they do on average: what is too much now is too little later.
            taken = Taken(waiting[:count], waiting_bytes * count // len(waiting))
            del waiting[:count]
            self._waiting_bytes -= taken.used_bytes
            self._is_due = self._is_batch()
            self._taken_records += count
            self._taken_bytes += taken.used_bytes
            if self._taken_since_seconds is None:
                self._taken_since_seconds = self._since_seconds
            self._ease()
            return taken

    def release(self, taken: Taken) -> list[Waiter]:
        """Give the room of *taken* to others; to those who wait for it first.

        Returns:
            Who waits no longer: to be told (:func:`~tonnage.stores.writer.waiters.tell`).
        """
        with self._lock:
            self._taken_records -= len(taken.records)
            self._taken_bytes -= taken.used_bytes
            self.released += len(taken.records)
            if not self._taken_records:
                self._taken_since_seconds = None
            is_to_wake, served = self._admit()
        if is_to_wake:
            self._wake()
        return served

    def put_back(self, taken: Taken) -> None:
        """Have *taken* wait again, before all others; nothing may have been taken meanwhile."""
        with self._lock:
            self._waiting[:0] = taken.records
            self._waiting_bytes += taken.used_bytes
            self._taken_records -= len(taken.records)
            self._taken_bytes -= taken.used_bytes
            if not self._taken_records:
                self._taken_since_seconds = None
            self._is_due = self._is_batch()
            self._ease()

    def pass_on(self) -> tuple[Sequence[Any], Waiter, bool] | None:
        """Return the next records of who waits for room, which go past the buffer; None: none.

        Only while nothing waits to be taken, since that is older. Also returns the waiter, and
        whether these were its last records; if so, tell it once they are stored.
        """
        with self._lock:
            if self._waiting or not self._waiters:
                return None
            waiter = self._waiters.first
            (records, _), served = self._waiters.pop()
            self.released += len(records)
            self._ease()
            return records, waiter, served is not None

    def turn_away(self) -> int:
        """Tell all who wait for room that there is none; return how many records these add.

        They count as come and gone.
        """
        with self._lock:
            waiters = self._waiters.end()
            refused = 0
            for each in waiters:
                left = sum(len(records) for records, _ in each.parcels)
                each.parcels.clear()
                each.refused += left
                refused += left
            self.released += refused
            self._ease()
        tell(waiters)
        return refused

    def close(self) -> None:
        """Take nothing more; who waits for room gets :class:`WriterClosedError`."""
        with self._lock:
            self._is_closed = True
            waiters = self._waiters.end()
            self._ease()
        refuse(waiters)

    # Inside; with the lock held.

    def _fits(self, records: Sequence[Any], weight_bytes: int) -> bool:
        return self.bounds.allow(self.count + len(records), self.used_bytes + weight_bytes)

    def _take_in(self, records: Sequence[Any], weight_bytes: int) -> bool:
        """Take *records*; return whether who takes them away is to be woken."""
        waiting = self._waiting
        is_first = not waiting
        if is_first:
            self._since_seconds = self._clock()
        waiting += records
        self._waiting_bytes += weight_bytes
        if self._is_due or not self._is_batch():
            return is_first and not self.is_watched
        self._is_due = True
        return not self.is_watched

    def _ease(self) -> None:
        """Say how much may come before there is something to decide again."""
        if self._is_closed or self._waiters or not self._waiting:
            self._easy_records = self._easy_bytes = 0
            return
        bounds = self.bounds
        self._easy_records = bounds.max_records - self._taken_records
        self._easy_bytes = bounds.max_bytes - self._taken_bytes
        if not self._is_due:
            self._easy_records = min(self._easy_records, bounds.batch_records - 1)
            self._easy_bytes = min(self._easy_bytes, bounds.batch_bytes)

    def _is_batch(self) -> bool:
        return self.bounds.is_batch(len(self._waiting), self._waiting_bytes)

    def _admit(self) -> tuple[bool, list[Waiter]]:
        """Take in what fits of those who wait, in order; return who waits no longer."""
        is_to_wake = False
        served: list[Waiter] = []
        while (parcel := self._waiters.next) is not None:
            if not self._fits(*parcel):
                # It waits for what is here to be gone, however little that is.
                is_to_wake = not self.is_watched
                break
            is_to_wake |= self._take_in(*parcel)
            _, waiter = self._waiters.pop()
            if waiter is not None:
                served.append(waiter)
        self._ease()
        return is_to_wake, served

    def _after(self, is_to_wake: bool, served: list[Waiter]) -> None:
        if is_to_wake:
            self._wake()
        tell(served)
