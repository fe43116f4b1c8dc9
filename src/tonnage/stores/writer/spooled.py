"""Where a writer in memory puts on disk what does not fit, and which spool a writer has.

What was spooled survives the process, and is delivered by the next; what was still in memory is
not. What is on disk, and how, is :mod:`tonnage.stores.writer.spool`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tonnage.stores.writer.spool import Chunk, Spool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tonnage.stores.sinks.sink import Batch
    from tonnage.stores.writer.options import WriterOptions


class Spooled:
    """A spool as a writer in memory uses it; see :class:`tonnage.stores.writer.backlog.Spool`."""

    def __init__(self, options: WriterOptions, spool: Spool | None = None) -> None:
        self._spool = spool if spool is not None else spool_for(options)
        self._chunk: Chunk | None = None

    @property
    def count(self) -> int:
        """How many records are there; those that other processes have left count as one."""
        return self._spool.waiting + self._spool.adopting

    @property
    def used_bytes(self) -> int:
        """What they take on disk."""
        return self._spool.used_bytes

    @property
    def stored(self) -> int:
        """How many records were ever taken."""
        return self._spool.books.stored

    async def open(self) -> None:
        """Find what earlier processes have left.

        Raises:
            SpoolError: the directory is not fit.
        """
        await self._spool.adopt()

    async def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take *records*; :attr:`stored` says how many, the first ones, if not all.

        Raises:
            RecordsRejectedError: one of them cannot be kept; none was taken.
            StoreError: not all are taken: there is no room, or no disk.
        """
        await self._spool.add(records, first_ones=True)

    async def read(self, max_records: int, max_bytes: int) -> Batch | None:
        """Return the oldest records; the same ones until :meth:`done`; None: there are none."""
        self._chunk = await self._spool.read(max_records, max_bytes)
        return None if self._chunk is None else self._chunk.batch

    async def done(self) -> None:
        """Forget what was read last: it is delivered."""
        if self._chunk is not None:
            chunk, self._chunk = self._chunk, None
            await self._spool.delivered(chunk)

    async def close(self) -> None:
        """Let go of the files; what is left stays, for the next process."""
        await self._spool.close()


def spool_for(options: WriterOptions) -> Spool:
    """Return the spool that *options* ask for."""
    return Spool(
        options.name,
        directory=options.spool_dir,
        max_bytes=options.spool_bytes,
        waits=options.durable and options.overflow == "wait",
    )
