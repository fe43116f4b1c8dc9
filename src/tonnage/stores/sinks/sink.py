"""What a writer hands its records to: one small protocol.

    class Printer:
        async def write(self, batch: Batch) -> None:
            for record in batch.records:
                print(record)

        async def close(self) -> None: ...

A sink is made where the application is imported, and used in the event loop that all writers of a
process share (:mod:`tonnage.stores.background`): it connects at its first write, not when it is
made, since a process that forks may come between. One batch at a time is written to it by one
writer; the writer retries, bounds and counts, so a sink does none of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records, in the order in which they were added.

    Never empty. A sink keeps none of it once it has returned, and changes nothing in it.
    """

    records: Sequence[Mapping[str, Any]]
    #: For each record what tells it from all others, where the writer is durable; else None. A
    #: record has the same id each time it is tried, so a sink can leave out what it has already.
    ids: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def part(self, begin: int, end: int) -> Batch:
        """Return the records from *begin* to before *end*, with their ids."""
        ids = None if self.ids is None else self.ids[begin:end]
        return Batch(self.records[begin:end], ids)


class Sink(Protocol):
    """Whatever stores records."""

    async def write(self, batch: Batch) -> None:
        """Store all of *batch*; when it returns, all of it is stored.

        It may be cancelled when it takes too long, and is then called again with the same batch:
        to store all or nothing is best; what is half stored is stored twice.

        Raises:
            RecordsRejectedError: the records themselves are at fault, one of them at least: trying
                again would not help. The writer finds out which, by halves.
            Exception: anything else is of the moment, such as a lost connection: the writer tries
                again later. What looks like a mistake in a program, such as ``KeyError``, is not
                tried for ever (:mod:`tonnage.stores.writer.patience`).
        """

    async def close(self) -> None:
        """Let go of connections and files. Called once, after the last write."""
