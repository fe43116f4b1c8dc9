"""Records from memory to disk, while the sink is busy and more wait than it will take soon.

Promises: the oldest go first, those that wait in the buffer before those that wait for room in it;
nobody who takes records from the buffer passes another (:attr:`Spilling.order`). Ends when there is
less than a batch left, or the sink is no longer busy.

Records from the buffer that the disk does not take go back into it; if one of them was rejected, so
that it is not known which these are, they are dropped and counted. So are those of whoever waits
for room, and all who wait are told that there is none. Without a disk it does nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tonnage.stores.writer.buffer import Taken
from tonnage.stores.writer.waiters import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tonnage.stores.writer.backlog import Backlog
    from tonnage.stores.writer.buffer import Buffer


class Spilling:
    """What moves records from a buffer to a backlog; used in one event loop.

    Args:
        buffer: where they wait.
        backlog: where they go.
        as_mappings: makes mappings of those that were taken.
        release: gives their room to others.
    """

    def __init__(
        self,
        buffer: Buffer,
        backlog: Backlog,
        as_mappings: Callable[[Taken], Sequence[Mapping[str, Any]]],
        release: Callable[[Taken], None],
    ) -> None:
        #: Whether the sink is busy.
        self.is_busy = False
        #: Held by who takes from the buffer, lest newer records pass older ones.
        self.order = asyncio.Lock()
        self._buffer = buffer
        self._backlog = backlog
        self._as_mappings = as_mappings
        self._release = release
        self._task: asyncio.Task[None] | None = None

    def begin_if_due(self, *, is_pressed: bool) -> None:
        """Begin if the sink is busy, and a batch waits, or memory *is_pressed*."""
        if not (self._backlog.is_possible and self.is_busy):
            return
        if self._task is not None and not self._task.done():
            return
        if self._backlog.is_shut:
            self._turn_away()
        elif is_pressed or self._buffer.is_due:
            self._task = asyncio.create_task(self._run())

    async def ended(self) -> None:
        """Return when nothing is under way. Never cut short: that might lose records."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self.is_busy:
            async with self.order:
                if not await self._spill_once():
                    return
            if not self._buffer.is_due:
                return

    async def _spill_once(self) -> bool:
        """Spill what waits, else what waits for room; return whether there may be more."""
        taken = self._buffer.take()
        if taken is not None:
            await self._spill(taken)
        else:
            # All that is in memory is on its way to the sink.
            passing = self._buffer.pass_on()
            if passing is None:
                return False
            records, waiter, is_last = passing
            lost = await self._backlog.append(self._as_mappings(Taken(records, 0)))
            self._backlog.lose(lost)
            waiter.refused += lost
            if is_last:
                tell([waiter])
        if self._backlog.is_shut:
            self._turn_away()
            return False
        return True

    async def _spill(self, taken: Taken) -> None:
        records = self._as_mappings(taken)
        left = 0
        try:
            left = await self._backlog.append(records)
        finally:
            if left and len(records) == len(taken.records):
                taken = self._keep(taken, left)
            else:
                self._backlog.lose(left)
            self._release(taken)

    def _keep(self, taken: Taken, count: int) -> Taken:
        """Have the last *count* records of *taken* wait again; return the others."""
        gone = len(taken.records) - count
        gone_bytes = taken.used_bytes * gone // len(taken.records)
        self._buffer.put_back(Taken(taken.records[gone:], taken.used_bytes - gone_bytes))
        return Taken(taken.records[:gone], gone_bytes)

    def _turn_away(self) -> None:
        """Have nobody wait for room that is neither in memory nor on disk."""
        self._backlog.lose(self._buffer.turn_away())
