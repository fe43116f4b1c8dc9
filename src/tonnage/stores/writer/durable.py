"""A writer whose records are on disk before they count as taken.

Promises: a record that was taken is on disk before :meth:`DurableWriter.add`
returns, and is delivered at least once, each time with the same id, also after kill -9: by this
process, or by one that comes after it or lives beside it. These adopt the journals of the dead,
when they begin and every :data:`ADOPT_SECONDS` from then on. The oldest come first.

Its buffer is the disk: records are read back from the journal, which is in the page cache as long
as that has room, and are never kept in memory beside it. So there is one way for all, which a crash
does not change, and what it holds in memory is one batch and what is on its way to the disk,
however far the sink is behind.

What is on disk, and how, is :mod:`tonnage.stores.writer.spool`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import StoreError
from tonnage.stores.background import background
from tonnage.stores.statistics import WriterStatistics
from tonnage.stores.writer.closing import Closing
from tonnage.stores.writer.records import to_mapping, to_mappings
from tonnage.stores.writer.tended import Tended

if TYPE_CHECKING:
    from tonnage.stores.writer.closing import Deadline
    from tonnage.stores.writer.delivery import Delivery
    from tonnage.stores.writer.options import WriterOptions
    from tonnage.stores.writer.spool import Spool

logger = logging.getLogger("tonnage.stores")

#: How often a process looks for journals whose process has died.
ADOPT_SECONDS: Final = 10.0
#: How often it is looked for room on the disk that others have made.
RETRY_SECONDS: Final = 0.25
#: How long it rests after an error of the disk.
PAUSE_SECONDS: Final = 1.0
# How often it is looked, while closing, whether the sink fails.
_LOOK_SECONDS: Final = 0.05


class DurableWriter:
    """What :class:`~tonnage.stores.writer.batchwriter.BatchWriter` is where it is durable.

    Args:
        options: its bounds.
        delivery: what stores the records.
        spool: where they are kept.
        adopt_seconds: how often to look for journals of the dead.
        pause_seconds: how long it rests after an error of the disk.
    """

    def __init__(
        self,
        options: WriterOptions,
        delivery: Delivery,
        spool: Spool,
        *,
        adopt_seconds: float = ADOPT_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.name = options.name
        self._options = options
        self._delivery = delivery
        self._spool = spool
        self._adopt_seconds = adopt_seconds
        self._pause_seconds = pause_seconds
        self._has_begun = self._is_closed = False
        # The task that delivers, in the background's loop, and what wakes it.
        self._task: Tended | None = None
        self._wake = asyncio.Event()
        # What the disk said last; empty: it works.
        self._disk_error = ""
        # So many records that are not delivered wake it; 0: it is awake.
        self._awaited = 0
        # Callers that wait for a flush, each with up to which record.
        self._flushes: dict[asyncio.Future[None], int] = {}
        self._closing = Closing()

    # Adding.

    async def add(self, record: Any) -> bool:
        """Return when *record* is on disk.

        Raises:
            StoreError: as :meth:`Spool.add` has it; it was not taken.
        """
        self._begin()
        await self._spool.add((to_mapping(record),))
        return True

    async def add_many(self, records: Iterable[Any]) -> int:
        """Return when *records* are on disk; how many they are.

        Raises:
            StoreError: as :meth:`Spool.add` has it.
        """
        self._begin()
        mappings = to_mappings(records)
        await self._spool.add(mappings)
        return len(mappings)

    def put(self, record: Any, timeout_seconds: float | None = None) -> bool:
        """Return when *record* is on disk; for threads without an event loop.

        Raises:
            StoreError: as :meth:`Spool.put` has it; it was not taken.
        """
        self._begin()
        self._spool.put((to_mapping(record),), timeout_seconds)
        return True

    def put_many(self, records: Iterable[Any], timeout_seconds: float | None = None) -> int:
        """Return when *records* are on disk; how many they are.

        Raises:
            StoreError: as :meth:`Spool.put` has it.
        """
        self._begin()
        mappings = to_mappings(records)
        self._spool.put(mappings, timeout_seconds)
        return len(mappings)

    # Whoever has to do with all of it.

    async def flush(self) -> None:
        """Return when all that is on disk now is stored or set aside."""
        await background().run(self._flush_here())

    async def close(self, seconds: float) -> None:
        """Deliver what can be within *seconds* of the first call; the rest stays on disk."""
        await background().run(self._close_here(seconds))

    @property
    def used_bytes(self) -> int:
        """What is in memory, on its way to the disk."""
        return self._spool.on_the_way_bytes

    def shrink(self, target_bytes: int) -> int:
        """Give nothing: what is here goes to the disk by itself, in milliseconds."""
        return 0

    def statistics(self) -> WriterStatistics:
        """Return what has become of all records so far."""
        spool, delivery = self._spool, self._delivery
        on_the_way = spool.on_the_way
        return WriterStatistics(
            name=self._options.name,
            buffer_size=on_the_way,
            max_records=self._options.max_records,
            used_bytes=spool.on_the_way_bytes,
            max_bytes=self._options.max_bytes,
            total_added=spool.books.stored + spool.books.refused + on_the_way,
            total_flushed=delivery.total_flushed,
            total_failed=delivery.total_failed,
            total_dropped=spool.books.refused,
            spooled=spool.books.waiting,
            spooled_bytes=spool.books.used_bytes,
            waiting=on_the_way if spool.is_blocked else 0,
            lag_seconds=spool.lag_seconds,
            is_failing=delivery.is_failing,
        )

    def begin(self) -> None:
        """Begin to deliver what others have left, without waiting for a first record."""
        self._begin()

    # In the background's loop.

    def _begin(self) -> None:
        if not self._has_begun:
            # First: where its thread cannot be started, nothing is taken.
            here = background()
            self._has_begun = True
            self._spool.on_more = self._on_more
            here.call(self._begin_here)

    def _begin_here(self) -> None:
        if self._task is None and not self._is_closed:
            self._task = Tended(self._options.name, self._run)
            background().on_close(self._close_here)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        adopt_at = loop.time()
        while True:
            try:
                if loop.time() >= adopt_at:
                    adopt_at = loop.time() + self._adopt_seconds
                    await self._spool.adopt()
                    self._disk_error = ""
                await self._linger()
                if not await self._deliver_some():
                    await self._rest(1, adopt_at - loop.time())
                    await self._spool.retry()
            except StoreError:
                # The spool has said it.
                await asyncio.sleep(self._pause_seconds)
            except OSError as error:
                if str(error) != self._disk_error:
                    self._disk_error = str(error)
                    logger.error("writer %s: %s", self._options.name, error)
                await asyncio.sleep(self._pause_seconds)

    async def _deliver_some(self) -> bool:
        """Deliver the oldest records; return whether there were any."""
        chunk = await self._spool.read(self._options.max_records, self._options.max_bytes)
        if chunk is not None:
            await self._delivery.deliver(chunk.batch)
            await self._spool.delivered(chunk)
        if not self._spool.adopting:
            self._answer(self._spool.books.own_delivered)
        return chunk is not None

    def _answer(self, delivered: int) -> None:
        """Tell those who wait for a flush of the first *delivered* records that it is done."""
        for flush in [each for each, count in self._flushes.items() if count <= delivered]:
            del self._flushes[flush]
            if not flush.done():
                flush.set_result(None)

    async def _linger(self) -> None:
        """Let others join what waits, if that is not much and has not waited for long."""
        spool = self._spool
        if (
            self._flushes
            or spool.adopting
            or spool.is_blocked
            or not 0 < spool.books.waiting < self._options.batch_records
            or spool.books.used_bytes >= self._options.batch_bytes
        ):
            return
        left_seconds = self._options.flush_seconds - spool.lag_seconds
        if left_seconds > 0:
            await self._rest(self._options.batch_records, left_seconds)

    async def _rest(self, count: int, seconds: float) -> None:
        """Return when *count* records wait, or after *seconds*, or when there is a flush."""
        self._wake.clear()
        self._awaited = count
        if self._spool.is_blocked:
            seconds = min(seconds, RETRY_SECONDS)
        if self._spool.books.waiting < count and not (self._flushes and count > 1) and seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
        self._awaited = 0

    def _on_more(self) -> None:
        # In the disk's thread, after each fsync: it wakes the loop only when that is needed.
        if self._awaited > 0 and (
            self._awaited <= self._spool.books.waiting or self._spool.is_blocked
        ):
            self._awaited = 0
            background().call(self._wake.set)

    async def _flush_here(self) -> None:
        if self._is_closed:
            return
        self._begin()
        flush = asyncio.get_running_loop().create_future()
        self._flushes[flush] = self._spool.books.stored
        self._wake.set()
        try:
            await flush
        finally:
            # Who gives up leaves nothing, however long the sink is down.
            self._flushes.pop(flush, None)

    async def _close_here(self, seconds: float | None = None) -> None:
        seconds = background().closing_seconds if seconds is None else seconds
        await self._closing.end(self._deliver_rest, self._let_go, seconds)

    async def _deliver_rest(self) -> None:
        """Flush; a sink that fails is not waited for, since all is on disk."""
        if not self._has_begun or self._spool.is_empty:
            return
        flushing = asyncio.create_task(self._flush_here())
        try:
            while not flushing.done() and not self._delivery.is_failing:
                await asyncio.wait([flushing], timeout=_LOOK_SECONDS)
        finally:
            flushing.cancel()

    async def _let_go(self, deadline: Deadline) -> None:
        self._is_closed = True
        background().forget(self._close_here)
        if self._task is not None:
            await self._task.stop(deadline.for_sink_seconds)
        self._answer(self._spool.books.stored)
        await self._spool.close()
        if self._spool.books.waiting:
            logger.warning(
                "writer %s: %d records are left on disk, for the next process",
                self._options.name,
                self._spool.books.waiting,
            )
        await self._delivery.close(deadline.for_sink_seconds)
