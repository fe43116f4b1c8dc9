"""The records that a sink has not kept up with, on disk, as a writer in memory uses them.

What was spooled survives the process, and is delivered by the next; what was still in memory is
not. What is on disk, and how, is :mod:`tonnage.stores.writer.spool`'s.

Promises: how many records the disk does not take is said, and nobody has to catch it; what is lost
for that is counted (:attr:`Backlog.lost`) and logged, once a second at most; a record that cannot
be kept is found by halves and set aside.
Nothing is touched before :meth:`Backlog.open`. Without a spool it is empty, for ever.

Bounded by its spool. When to put records there is the pump's decision
(:mod:`tonnage.stores.writer.pump`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import RecordsRejectedError
from tonnage.stores.writer.notices import Notice, logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tonnage.stores.sinks.sink import Batch
    from tonnage.stores.writer.delivery import Delivery
    from tonnage.stores.writer.spool import Chunk, Spool


#: How long a disk that did not take records is not asked again.
SHUT_SECONDS: Final = 0.1


class Backlog:
    """What is on disk of one writer.

    Args:
        name: the writer's.
        spool: where it is; None: nowhere.
        delivery: what sets aside the records that cannot be kept.
    """

    def __init__(self, name: str, spool: Spool | None, delivery: Delivery) -> None:
        #: Records that the disk did not take.
        self.lost = 0
        self._name = name
        self.not_taken = Notice(f"writer {name}: %d records dropped, not spooled: %s")
        self._spool = spool
        self._delivery = delivery
        self._is_open = False
        # What was read last, until it is delivered.
        self._chunk: Chunk | None = None
        # Until when nothing is tried, and why.
        self._shut_until_seconds = float("-inf")
        self._why: object = ""

    @property
    def is_shut(self) -> bool:
        """Whether the disk has just not taken records."""
        return time.monotonic() < self._shut_until_seconds

    @property
    def is_possible(self) -> bool:
        """Whether there is a spool."""
        return self._spool is not None

    @property
    def count(self) -> int:
        """How many records are there; those that other processes have left count as one."""
        return 0 if self._spool is None else self._spool.books.waiting + self._spool.adopting

    @property
    def used_bytes(self) -> int:
        """What they take on disk."""
        return 0 if self._spool is None else self._spool.books.used_bytes

    async def open(self) -> None:
        """Find what earlier processes have left; nothing happens if that is done.

        What of it cannot be read is for the next process, which is said.

        Raises:
            StoreError: the disk is not fit.
        """
        if self._spool is not None and not self._is_open:
            try:
                await self._spool.adopt()
            except OSError as error:
                # Of what was left before, which stays: no reason to take nothing.
                logger.error("writer %s: %s", self._name, error)
            self._is_open = True

    async def append(self, records: Sequence[Mapping[str, Any]]) -> int:
        """Put *records* on disk; return how many it does not take, the last ones of them."""
        if self._spool is None or not records:
            return len(records)
        before = self._spool.books.stored
        try:
            await self.open()
            await self._spool.add(records, first_ones=True)
        except RecordsRejectedError as error:
            if len(records) == 1:
                self._delivery.set_aside(records[0], None, error)
                return 0
            half = len(records) // 2
            left = await self.append(records[:half])
            rest = records[half:]
            return left + len(rest) if left else await self.append(rest)
        except Exception as error:  # noqa: BLE001 - whatever the disk says
            self._why = error
            self._shut_until_seconds = time.monotonic() + SHUT_SECONDS
            return len(records) - (self._spool.books.stored - before)
        return 0

    def lose(self, count: int) -> None:
        """Count *count* records that the disk did not take as lost."""
        if count:
            self.lost += count
            self.not_taken.add(count, self._why)

    async def read(self, max_records: int, max_bytes: int) -> Batch | None:
        """Return the oldest records; the same ones until :meth:`done`; None: there are none."""
        if self._spool is None or not self.count:
            return None
        self._chunk = await self._spool.read(max_records, max_bytes)
        return None if self._chunk is None else self._chunk.batch

    async def done(self) -> None:
        """Forget what was read last: it is delivered."""
        if self._spool is not None and self._chunk is not None:
            chunk, self._chunk = self._chunk, None
            await self._spool.delivered(chunk)

    async def close(self) -> None:
        """Let go of the files; what is left there stays."""
        if self._spool is not None:
            await self._spool.close()
