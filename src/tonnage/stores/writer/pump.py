"""The writer's task in the loop beside requests: waits until records are due, and delivers them.

Promises: records are delivered as soon as half of a bound is reached, after ``flush_seconds`` at
most, and at once when somebody asks for it or waits for room; in the order in which they came.
With a spool, what arrives faster than the sink takes it goes to disk
(:mod:`tonnage.stores.writer.spilling`) and is delivered from there first, so the order stays. One
batch is on its way at a time. Sleeps while there is nothing to do.

Closing delivers what is there within a deadline; what is left then goes to the spool, or is counted
and logged as dropped.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import StoreError
from tonnage.stores.background import background
from tonnage.stores.writer.closing import Closing
from tonnage.stores.writer.notices import logger
from tonnage.stores.writer.spilling import Spilling
from tonnage.stores.writer.tended import Tended
from tonnage.stores.writer.waiters import tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tonnage.stores.background import Background
    from tonnage.stores.sinks.sink import Batch
    from tonnage.stores.writer.backlog import Backlog
    from tonnage.stores.writer.buffer import Buffer, Taken
    from tonnage.stores.writer.closing import Deadline
    from tonnage.stores.writer.delivery import Delivery
    from tonnage.stores.writer.notices import Notice

#: How long closing may take where no one says.
CLOSE_SECONDS: Final = 10.0
#: How long callers whose records have got room are not told yet, while another batch is sent off:
#: a round trip to a database nearby. Into PostgreSQL it makes up to a fifth more a second.
TELL_SECONDS: Final = 0.0005
#: How long the task rests after an error of its own.
AFTER_ERROR_SECONDS: Final = 1.0


class Pump:
    """What moves records from a buffer to a sink.

    Args:
        name: the writer's.
        buffer: where they wait.
        delivery: what stores them.
        flush_seconds: how long a record waits for others at most.
        backlog: where they go when the sink does not keep up.
        notices: what is to be said by and by.
    """

    def __init__(
        self,
        name: str,
        buffer: Buffer,
        delivery: Delivery,
        *,
        flush_seconds: float,
        backlog: Backlog,
        notices: Sequence[Notice] = (),
    ) -> None:
        self._name = name
        self._buffer = buffer
        self._delivery = delivery
        self._flush_seconds = flush_seconds
        self._backlog = backlog
        self._spilling = Spilling(
            buffer, self._backlog, lambda taken: self._as_batch(taken).records, self._release
        )
        self._lost_here = 0
        self._task: Tended | None = None
        self._is_known = self._is_pressed = False
        self._is_closing = self._is_closed = False
        # The part of the batch in hand that came from memory; what came from the spool stays there.
        self._in_hand: Taken | None = None
        # One for each caller that waits for a flush: how many records must have left by then.
        self._requests: dict[asyncio.Future[None], int] = {}
        self._closing = Closing()
        self._notices = (*notices, self._backlog.not_taken)

    # From any thread.

    @property
    def lost(self) -> int:
        """Records that were lost here: the spool did not take them, or the process ended."""
        return self._lost_here + self._backlog.lost

    def begin(self) -> Background:
        """Return the loop beside requests, where this is finished before the process ends.

        Raises:
            MemoryError: it has not begun, and there is no memory for its thread.
            RuntimeError: the same, for want of another thread.
        """
        here = background()
        if not self._is_known:
            # In this thread, since the process may end before the loop gets to it.
            self._is_known = True
            here.on_close(self._close_here)
        return here

    def wake(self) -> None:
        """Have the task look at what has changed; begins it if it was not there yet."""
        self.begin().call(self._look)

    async def flush(self) -> None:
        """Return when all that is in memory and in the spool now is stored or set aside."""
        await background().run(self._flush_here())

    async def close(self, seconds: float) -> None:
        """Deliver what is there within *seconds* of the first call, and let go of the sink."""
        await background().run(self._close_here(seconds))

    def press(self) -> None:
        """Have what waits leave memory as soon as possible, however little it is."""
        background().call(self._press)

    # In the loop.

    def _look(self) -> None:
        if self._is_closed:
            return
        if self._task is None:
            self._event = asyncio.Event()
            self._task = Tended(self._name, self._run)
        self._event.set()
        self._spilling.begin_if_due(is_pressed=self._is_pressed)

    def _press(self) -> None:
        self._is_pressed = True
        self._look()

    async def _run(self) -> None:
        # Where it begins anew.
        self._lose_in_hand()
        with suppress(StoreError):
            # The spool has said it, and is asked again with the first records for it.
            await self._backlog.open()
        while True:
            await self._until_due()
            self._is_pressed = False
            self._spilling.is_busy = True
            # With a spool it has to hear while it delivers what more there is.
            self._buffer.is_watched = not self._backlog.is_possible
            try:
                await self._deliver()
            except Exception:  # noqa: BLE001 - whatever it is, those that come are delivered
                logger.exception("writer %s could not deliver", self._name)
                self._lose_in_hand()
                await asyncio.sleep(AFTER_ERROR_SECONDS)
            finally:
                self._spilling.is_busy = self._buffer.is_watched = False
            if self._backlog.count:
                # It could not be read just now.
                await asyncio.sleep(AFTER_ERROR_SECONDS)
            else:
                self._answer(self._buffer.released)

    def _answer(self, released: int) -> None:
        """Tell those who wait for a flush of the first *released* records that it is done."""
        for request in [each for each, count in self._requests.items() if count <= released]:
            del self._requests[request]
            if not request.done():
                request.set_result(None)

    def _lose_in_hand(self) -> None:
        if self._in_hand is not None:
            taken, self._in_hand = self._in_hand, None
            self._lost_here += sum(map(len, self._delivery.left))
            self._release(taken)

    def _release(self, taken: Taken) -> None:
        """Give the room of *taken* to others, and tell those who waited for it."""
        served = self._buffer.release(taken)
        if not served:
            return
        if self._buffer.is_due and not self._is_closing:
            # The next batch goes first: told now, they would hold the interpreter while it could be
            # on its way, and have nothing to do while the sink is waited for.
            asyncio.get_running_loop().call_later(TELL_SECONDS, tell, served)
        else:
            tell(served)

    async def _until_due(self) -> None:
        while not (self._requests or self._is_pressed or self._backlog.count):
            self._event.clear()
            seconds = self._buffer.due_seconds(self._flush_seconds)
            if seconds == 0:
                return
            try:
                async with asyncio.timeout(seconds):
                    await self._event.wait()
            except TimeoutError:
                return

    async def _deliver(self) -> None:
        """Deliver what is in the spool, and then what waits in memory."""
        while True:
            async with self._spilling.order:
                bounds = self._buffer.bounds
                batch = await self._backlog.read(bounds.max_records, bounds.max_bytes)
                if batch is None:
                    taken = self._in_hand = self._buffer.take()
                    if taken is None:
                        return
                    batch = self._as_batch(taken)
            self._spilling.begin_if_due(is_pressed=self._is_pressed)
            if batch.records:
                await self._delivery.deliver(batch)
            if self._in_hand is not None:
                taken, self._in_hand = self._in_hand, None
                self._release(taken)
                if not self._backlog.count:
                    return
            else:
                await self._backlog.done()

    def _as_batch(self, taken: Taken) -> Batch:
        batch = self._delivery.batch_of(taken.records)
        if len(batch) == len(taken.records):
            # The typed ones are not needed any more.
            taken.records = batch.records
        return batch

    async def _flush_here(self) -> None:
        if self._is_closed:
            return
        request = asyncio.get_running_loop().create_future()
        self._requests[request] = self._buffer.total
        self._look()
        try:
            await request
        finally:
            # Who gives up leaves nothing, however long the sink is down.
            self._requests.pop(request, None)

    # The end.

    async def _close_here(self, seconds: float | None = None) -> None:
        self._is_closing = True
        self._buffer.close()
        seconds = background().closing_seconds if seconds is None else seconds
        await self._closing.end(self._deliver_rest, self._let_go, seconds)

    async def _deliver_rest(self) -> None:
        # With a spool, a sink that fails is not waited for.
        if self._buffer.count and not (self._backlog.is_possible and self._delivery.is_failing):
            await self._flush_here()

    async def _let_go(self, deadline: Deadline) -> None:
        self._is_closed = True
        background().forget(self._close_here)
        if self._task is not None:
            await self._task.stop(deadline.for_sink_seconds)
        await self._spilling.ended()
        left = self._leftovers()
        self._answer(self._buffer.total)
        if self._backlog.is_possible and self._task is not None:
            self._backlog.lose(await self._backlog.append(left))
            await self._backlog.close()
        elif left:
            self._lost_here += len(left)
            logger.warning("writer %s: %d records dropped at the end", self._name, len(left))
        for notice in self._notices:
            notice.settle()
        await self._delivery.close(deadline.for_sink_seconds)

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
