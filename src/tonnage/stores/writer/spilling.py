"""Records from memory to disk, while the sink is busy and more wait than it will take soon.

Promises: the oldest go first, those that wait in the buffer before those that wait for room in it;
nobody who takes records from the buffer passes another (:attr:`Spilling.order`). Ends when there is
less than a batch left, or the sink is no longer busy.

Without a disk it does nothing. What becomes of records that the disk does not take is
:mod:`tonnage.stores.writer.backlog`'s.
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
        if (is_pressed or self._buffer.is_due) and (self._task is None or self._task.done()):
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
        """Spill what waits, else what waits for room; return whether there was any."""
        taken = self._buffer.take()
        if taken is not None:
            try:
                await self._backlog.append(self._as_mappings(taken))
            finally:
                self._release(taken)
            return True
        # All that is in memory is on its way to the sink.
        passing = self._buffer.pass_on()
        if passing is not None:
            records, served = passing
            await self._backlog.append(self._as_mappings(Taken(records, 0)))
            if served is not None:
                tell([served])
        return passing is not None
