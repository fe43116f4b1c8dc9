"""A writer that holds its records in memory until they are stored.

What is in it when the process is killed is lost; :mod:`tonnage.stores.writer.durable` is the kind
that keeps it.

Adding is some microseconds in the caller's thread: weigh the records, take the lock, append. What
is added many at a time goes in by parcels, so that neither is done for each.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from tonnage.stores.statistics import WriterStatistics
from tonnage.stores.writer.backlog import Backlog
from tonnage.stores.writer.bounds import Bounds
from tonnage.stores.writer.buffer import Buffer
from tonnage.stores.writer.notices import Notice
from tonnage.stores.writer.pump import Pump
from tonnage.stores.writer.weights import Scales

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tonnage.stores.writer.delivery import Delivery
    from tonnage.stores.writer.options import WriterOptions
    from tonnage.stores.writer.spool import Spool
    from tonnage.stores.writer.waiters import Parcels

#: A parcel is so many records at most, and so large a part of either bound.
PARCEL_RECORDS: Final = 128
PARCEL_SHARE: Final = 16


class MemoryWriter:
    """What :class:`~tonnage.stores.writer.batchwriter.BatchWriter` is, unless it is durable.

    Args:
        options: its bounds.
        delivery: what stores the records.
        spool: where they go if there are more than fit; None: they are dropped, or wait.
    """

    def __init__(
        self, options: WriterOptions, delivery: Delivery, spool: Spool | None = None
    ) -> None:
        self.name = options.name
        self._options = options
        self._delivery = delivery
        self._backlog = Backlog(options.name, spool, delivery)
        self._drops = options.overflow == "drop"
        self._buffer = Buffer(
            Bounds(
                max_records=options.max_records,
                max_bytes=options.max_bytes,
                batch_records=options.batch_records,
                batch_bytes=options.batch_bytes,
            ),
            wake=lambda: self._pump.wake(),
            begin=lambda: self._pump.begin(),
        )
        self._too_full = Notice(f"writer {options.name}: buffer full, dropping: %d records (%s)")
        self._pump = Pump(
            options.name,
            self._buffer,
            delivery,
            flush_seconds=options.flush_seconds,
            backlog=self._backlog,
            notices=(self._too_full,),
        )
        self._scales = Scales()
        # For :meth:`add`, which is called most.
        self._ready, self._weigh_one = self._scales.ready, self._scales.weigh_one
        self._put_one = self._buffer.put_one
        self._parcel_records = max(1, min(PARCEL_RECORDS, options.max_records // PARCEL_SHARE))
        self._parcel_bytes = options.max_bytes // PARCEL_SHARE
        self._dropped = 0
        # Reentrant: the collector may run code meanwhile that adds.
        self._dropping = threading.RLock()

    # Those who add.

    async def add(self, record: Any) -> bool:
        """Take *record*; return whether it was taken."""
        weigh = self._ready.get(record.__class__, self._weigh_one)
        weight = weigh(record)
        if self._put_one(record, weight):
            return True
        left: Parcels = deque()
        self._refused((record,), weight, left)
        return bool(left) and await self._wait(left) == 1

    async def add_many(self, records: Iterable[Any]) -> int:
        """Take *records*; return how many were taken."""
        taken = 0
        for window in self._windows(records):
            count, left = self._put_window(window)
            taken += count
            if left:
                taken += await self._wait(left)
        return taken

    def put(self, record: Any, timeout_seconds: float | None = None) -> bool:
        """Take *record*; return whether it was taken."""
        weight = self._weigh_one(record)
        if self._put_one(record, weight):
            return True
        left: Parcels = deque()
        self._refused((record,), weight, left)
        return bool(left) and self._wait_in_thread(left, _until(timeout_seconds)) == 1

    def put_many(self, records: Iterable[Any], timeout_seconds: float | None = None) -> int:
        """Take *records*; return how many were taken."""
        taken, until = 0, _until(timeout_seconds)
        for window in self._windows(records):
            count, left = self._put_window(window)
            taken += count
            if left:
                taken += self._wait_in_thread(left, until)
        return taken

    def _windows(self, records: Iterable[Any]) -> Iterator[list[Any]]:
        """Yield *records* by as many as may wait for room at once: a full buffer of them."""
        them = iter(records)
        while window := list(islice(them, self._options.max_records)):
            yield window

    def _put_window(self, window: list[Any]) -> tuple[int, Parcels]:
        """Take of *window* what fits; return how many, and what has to wait for room."""
        taken = 0
        left: Parcels = deque()
        for records, weight in self._parcels(window):
            if not left and self._buffer.put(records, weight):
                taken += len(records)
            else:
                taken += self._refused(records, weight, left)
        return taken, left

    def _parcels(self, window: list[Any]) -> Iterator[tuple[Sequence[Any], int]]:
        for begin in range(0, len(window), self._parcel_records):
            parcel = window[begin : begin + self._parcel_records]
            weight = self._scales.weigh(parcel)
            if weight <= self._parcel_bytes:
                yield parcel, weight
            else:
                yield from (((record,), self._scales.weigh_one(record)) for record in parcel)

    def _refused(self, records: Sequence[Any], weight: int, left: Parcels) -> int:
        """Drop *records*, or put them to those who wait; return how many were taken after all."""
        if weight > self._options.max_bytes:
            self._drop(1, "larger than max_bytes")
        elif not self._drops:
            left.append((records, weight))
        elif len(records) == 1 or self._buffer.is_full:
            self._drop(len(records), "no room")
        else:
            # Some of them may fit.
            weights = map(self._scales.weigh_one, records)
            fit = sum(
                self._buffer.put((each,), w) for each, w in zip(records, weights, strict=True)
            )
            self._drop(len(records) - fit, "no room")
            return fit
        return 0

    def _drop(self, count: int, why: str) -> None:
        with self._dropping:
            self._dropped += count
        self._too_full.add(count, why)

    async def _wait(self, left: Parcels) -> int:
        count = sum(len(records) for records, _ in left)
        waiter = self._buffer.wait(left)
        try:
            await asyncio.wrap_future(waiter.future)
        except asyncio.CancelledError:
            self._buffer.give_up(waiter)
            raise
        return count - waiter.refused

    def _wait_in_thread(self, left: Parcels, until_seconds: float | None) -> int:
        count = sum(len(records) for records, _ in left)
        waiter = self._buffer.wait(left)
        seconds = None if until_seconds is None else max(0.0, until_seconds - time.monotonic())
        try:
            waiter.future.result(seconds)
        except TimeoutError:
            late = self._buffer.give_up(waiter)
            if late:
                self._drop(late, "no room in time")
            return count - late - waiter.refused
        return count - waiter.refused

    # Whoever has to do with all of it.

    def begin(self) -> None:
        """Begin to deliver what a process before may have left on disk."""
        if self._backlog.is_possible:
            self._pump.wake()

    async def flush(self) -> None:
        """Return when all that was added is stored or set aside."""
        await self._pump.flush()

    async def close(self, seconds: float) -> None:
        """Deliver what is there within *seconds*, and take no more."""
        await self._pump.close(seconds)

    @property
    def used_bytes(self) -> int:
        """What the records in memory take."""
        return self._buffer.used_bytes

    def shrink(self, target_bytes: int) -> int:
        """Have what waits stored, or spooled, as soon as possible; nothing comes free at once."""
        if self._buffer.used_bytes > target_bytes:
            self._pump.press()
        return 0

    def statistics(self) -> WriterStatistics:
        """Return what has become of all records so far."""
        buffer, delivery, backlog = self._buffer, self._delivery, self._backlog
        return WriterStatistics(
            name=self._options.name,
            buffer_size=buffer.count,
            max_records=buffer.bounds.max_records,
            used_bytes=buffer.used_bytes,
            max_bytes=buffer.bounds.max_bytes,
            total_added=buffer.total + self._dropped,
            total_flushed=delivery.total_flushed,
            total_failed=delivery.total_failed,
            total_dropped=self._dropped + self._pump.lost,
            spooled=backlog.count,
            spooled_bytes=backlog.used_bytes,
            waiting=buffer.waiters,
            lag_seconds=buffer.lag_seconds(),
            is_failing=delivery.is_failing,
        )


def _until(timeout_seconds: float | None) -> float | None:
    # No thread can wait for longer than that; infinity is for ever.
    if timeout_seconds is None or timeout_seconds >= threading.TIMEOUT_MAX:
        return None
    return time.monotonic() + timeout_seconds
