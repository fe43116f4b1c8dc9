"""The writer's task in the loop beside requests: waits until records are due, and delivers them.

Promises: records are delivered as soon as half of a bound is reached, after ``flush_seconds`` at
most, and at once when somebody asks for it or waits for room; in the order in which they came.
With a spool, what arrives faster than the sink takes it goes to disk and is delivered from there
first, so the order stays. One batch is on its way at a time. Sleeps while there is nothing to do.

Closing delivers what is there within a deadline; what is left then goes to the spool, or is counted
and logged as dropped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage.errors import RecordsRejectedError, StoreError
from tonnage.stores.background import background, on_begin
from tonnage.stores.sinks.sink import Batch
from tonnage.stores.writer.buffer import Taken
from tonnage.stores.writer.notices import Notice, logger, told
from tonnage.stores.writer.records import to_mapping, to_mappings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from tonnage.stores.writer.buffer import Buffer
    from tonnage.stores.writer.delivery import Delivery

#: How long closing may take where no one says.
CLOSE_SECONDS: Final = 10.0
#: How long callers whose records have got room are not told yet, while another batch is sent off.
TELL_SECONDS: Final = 0.0005
#: How long the task rests after an error of its own.
AFTER_ERROR_SECONDS: Final = 1.0


class Spool(Protocol):
    """Where records go for which there is no room in memory: oldest out first.

    All of it is used in the loop beside requests, by one task at a time for each end.
    """

    @property
    def count(self) -> int:
        """How many records are there that were not :meth:`done`."""

    @property
    def used_bytes(self) -> int:
        """What they take on disk."""

    @property
    def stored(self) -> int:
        """How many records were ever taken."""

    async def open(self) -> None:
        """Find what earlier processes have left. Called once, before anything else."""

    async def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take *records*; :attr:`stored` says how many, if not all.

        Raises:
            RecordsRejectedError: one of them cannot be kept; none was taken.
            StoreError: not all are taken: there is no room, or no disk.
        """

    async def read(self, max_records: int, max_bytes: int) -> Batch | None:
        """Return the oldest records; the same ones until :meth:`done`; None: there are none."""

    async def done(self) -> None:
        """Forget what was read last: it is delivered."""

    async def close(self) -> None:
        """Let go of the files."""


class Pump:
    """What moves records from a buffer to a sink.

    Args:
        name: the writer's.
        buffer: where they wait.
        delivery: what stores them.
        flush_seconds: how long a record waits for others at most.
        spool: where they go when the sink does not keep up; None: they stay.
        notices: what is to be said by and by.
    """

    def __init__(
        self,
        name: str,
        buffer: Buffer,
        delivery: Delivery,
        *,
        flush_seconds: float,
        spool: Spool | None = None,
        notices: Sequence[Notice] = (),
    ) -> None:
        #: Records that were lost here: the spool did not take them, or the process ended.
        self.lost = 0
        self._name = name
        self._buffer = buffer
        self._delivery = delivery
        self._flush_seconds = flush_seconds
        self._spool = spool
        self._task: asyncio.Task[None] | None = None
        self._spilling: asyncio.Task[None] | None = None
        self._is_known = self._is_delivering = self._is_pressed = False
        self._is_closing = self._is_closed = False
        # The part of the batch in hand that came from memory; what came from the spool stays there.
        self._in_hand: Taken | None = None
        # One for each caller that waits for a flush: how many records must have left by then.
        self._requests: list[tuple[int, asyncio.Future[None]]] = []
        self._is_spool_open = False
        if spool is not None:
            # A process before may have left something.
            on_begin(self.wake)
        self._not_spooled = Notice(f"writer {name}: %d records dropped, not spooled: %s")
        self._notices = (*notices, self._not_spooled)

    # From any thread.

    def wake(self) -> None:
        """Have the task look at what has changed; begins it if it was not there yet."""
        here = background()
        if not self._is_known:
            # In this thread, since the process may end before the loop gets to it.
            self._is_known = True
            here.on_close(self._close_here)
        here.call(self._look)

    async def flush(self) -> None:
        """Return when all that is in memory and in the spool now is stored or set aside."""
        await _in_background(self._flush_here())

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Deliver what is there within *seconds*, and let go of the sink; only the first counts."""
        await _in_background(self._close_here(seconds))

    def press(self) -> None:
        """Have what waits leave memory as soon as possible, however little it is."""
        background().call(self._press)

    # In the loop.

    def _look(self) -> None:
        if self._is_closed:
            return
        if self._task is None:
            self._event = asyncio.Event()
            # Those that take from the buffer, lest newer records pass older ones.
            self._order = asyncio.Lock()
            self._task = asyncio.create_task(self._run(), name=f"writer {self._name}")
        self._event.set()
        self._spill_if_due()

    def _press(self) -> None:
        self._is_pressed = True
        self._look()
        self._spill_if_due()

    async def _run(self) -> None:
        try:
            await self._open_spool()
        except StoreError as error:
            logger.warning("writer %s: the spool cannot be used: %s", self._name, told(error))
        while True:
            await self._until_due()
            self._is_pressed = False
            self._is_delivering = True
            # With a spool it has to hear while it delivers what more there is.
            self._buffer.is_watched = self._spool is None
            try:
                await self._deliver()
            except Exception:  # noqa: BLE001 - whatever it is, those that come are delivered
                logger.exception("writer %s could not deliver", self._name)
                self._lose_in_hand()
                await asyncio.sleep(AFTER_ERROR_SECONDS)
            finally:
                self._is_delivering = self._buffer.is_watched = False
            for notice in self._notices:
                notice.settle_if_due()
            if self._spooled:
                # It could not be read just now.
                await asyncio.sleep(AFTER_ERROR_SECONDS)
            else:
                self._answer(self._buffer.released)

    async def _open_spool(self) -> None:
        if self._spool is not None and not self._is_spool_open:
            await self._spool.open()
            self._is_spool_open = True

    def _answer(self, released: int) -> None:
        """Tell those who wait for a flush of the first *released* records that it is done."""
        while self._requests and self._requests[0][0] <= released:
            _, request = self._requests.pop(0)
            if not request.done():
                request.set_result(None)

    def _lose_in_hand(self) -> None:
        if self._in_hand is not None:
            taken, self._in_hand = self._in_hand, None
            self.lost += sum(map(len, self._delivery.left))
            self._release(taken)

    def _release(self, taken: Taken) -> None:
        """Give the room of *taken* to others, and tell those who waited for it."""
        served = self._buffer.release(taken)
        if not served:
            return
        if self._buffer.is_due and not self._is_closing:
            # The next batch goes first: told now, they would hold the interpreter while it could be
            # on its way, and have nothing to do while the sink is waited for.
            asyncio.get_running_loop().call_later(TELL_SECONDS, self._buffer.tell, served)
        else:
            self._buffer.tell(served)

    async def _until_due(self) -> None:
        while not (self._requests or self._is_pressed or self._spooled):
            self._event.clear()
            seconds = self._buffer.due_seconds(self._flush_seconds)
            if seconds == 0:
                return
            try:
                async with asyncio.timeout(seconds):
                    await self._event.wait()
            except TimeoutError:
                return

    @property
    def _spooled(self) -> int:
        return 0 if self._spool is None or not self._is_spool_open else self._spool.count

    async def _deliver(self) -> None:
        """Deliver what is in the spool, and then what waits in memory."""
        while True:
            async with self._order:
                batch = await self._read()
                if batch is None:
                    taken = self._in_hand = self._buffer.take()
                    if taken is None:
                        return
                    batch = self._as_batch(taken)
            self._spill_if_due()
            if batch.records:
                await self._delivery.deliver(batch)
            if self._in_hand is not None:
                taken, self._in_hand = self._in_hand, None
                self._release(taken)
                if not self._spooled:
                    return
            elif self._spool is not None:
                await self._spool.done()

    async def _read(self) -> Batch | None:
        if self._spool is None or not self._spooled:
            return None
        return await self._spool.read(self._buffer.max_records, self._buffer.max_bytes)

    def _as_batch(self, taken: Taken) -> Batch:
        try:
            mappings = to_mappings(taken.records)
        except Exception:  # noqa: BLE001 - a model's own code may raise anything
            mappings = self._one_by_one(taken.records)
        else:
            # The typed ones are not needed any more.
            taken.records = mappings
        return Batch(mappings)

    def _one_by_one(self, records: Sequence[Any]) -> list[Mapping[str, Any]]:
        mappings = []
        for record in records:
            try:
                mappings.append(to_mapping(record))
            except Exception as error:  # noqa: BLE001 - a model's own code may raise anything
                self._delivery.set_aside({"kind": type(record).__qualname__}, None, error)
        return mappings

    def _spill_if_due(self) -> None:
        """Have what waits moved to disk, if the sink is busy and there is too much of it."""
        if self._spool is None or not self._is_delivering:
            return
        is_due = self._is_pressed or self._buffer.is_due
        if is_due and (self._spilling is None or self._spilling.done()):
            self._spilling = asyncio.create_task(self._spill_here())

    async def _spill_here(self) -> None:
        """Move what waits to the spool, until there is less than a batch of it."""
        while self._is_delivering:
            async with self._order:
                if not await self._spill_once():
                    return
            if not self._buffer.is_due:
                return

    async def _spill_once(self) -> bool:
        """Spool what waits, else what waits for room; return whether there was any."""
        taken = self._buffer.take()
        if taken is not None:
            try:
                await self._append(self._as_batch(taken).records)
            finally:
                self._release(taken)
            return True
        # All that is in memory is on its way to the sink.
        passing = self._buffer.pass_on()
        if passing is not None:
            records, served = passing
            await self._append(self._as_batch(Taken(records, 0)).records)
            if served is not None:
                self._buffer.tell([served])
        return passing is not None

    async def _append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Put *records* on disk; what it does not take is counted."""
        if self._spool is None or not records:
            return
        before = self._spool.stored
        try:
            await self._open_spool()
            await self._spool.append(records)
        except RecordsRejectedError as error:
            if len(records) == 1:
                self._delivery.set_aside(records[0], None, error)
                return
            half = len(records) // 2
            await self._append(records[:half])
            await self._append(records[half:])
        except Exception as error:  # noqa: BLE001 - lost, whatever the disk says
            lost = len(records) - (self._spool.stored - before)
            self.lost += lost
            self._not_spooled.add(lost, error)

    async def _flush_here(self) -> None:
        if self._is_closed:
            return
        request = asyncio.get_running_loop().create_future()
        self._requests.append((self._buffer.total, request))
        self._look()
        await request

    # The end.

    async def _close_here(self, seconds: float | None = None) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._buffer.close()
        try:
            if self._buffer.count and (self._spool is None or not self._delivery.is_failing):
                async with asyncio.timeout(seconds):
                    await self._flush_here()
        except TimeoutError:
            pass
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        self._is_closed = True
        background().forget(self._close_here)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._spilling is not None:
            # It ends by itself, now that nothing is delivered; cut short it might lose records.
            await asyncio.wait([self._spilling])
        left = self._leftovers()
        self._answer(self._buffer.total)
        if self._spool is not None and self._task is not None:
            await self._append(left)
            await self._spool.close()
        elif left:
            self.lost += len(left)
            logger.warning("writer %s: %d records dropped at the end", self._name, len(left))
        for notice in self._notices:
            notice.settle()
        await self._delivery.close()

    def _leftovers(self) -> list[Mapping[str, Any]]:
        """Return what is neither stored nor set aside, the oldest first."""
        left: list[Mapping[str, Any]] = []
        if self._in_hand is not None:
            for part in self._delivery.left:
                left += part.records
            self._release(self._in_hand)
        while (taken := self._buffer.take()) is not None:
            left += self._as_batch(taken).records
            self._release(taken)
        return left


async def _in_background(coroutine: Coroutine[Any, Any, None]) -> None:
    here = background()
    if here.is_here:
        await coroutine
    else:
        await asyncio.wrap_future(here.start(coroutine))
