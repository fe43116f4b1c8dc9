"""What is in a shared level: what comes in, what is found, and who leaves.

Who leaves when there is no room: the oldest, but whoever was found since it came, or since its last
turn, goes to the end of the queue once more ("FIFO with a second chance"). That is marked in memory
that workers share, so a lookup writes nothing to the file. Each write does a bounded part of that
work; what does not fit then is not kept, and the next write goes on.

What was forgotten stays forgotten. Each record carries a moment, the number of the transaction as
of which its value was made; and so does what was forgotten, a tag or a key. A value that is older
than one of its tags is not found, one that is older than its key is not kept. What was forgotten
stands in the queue too; when it leaves, nothing that is older than it is there any more: that has
left before it, or was looked at when it had its second chance. From then on nothing that is older
comes in.

Decides; the tables are :mod:`.queue`'s, and transactions :mod:`.store`'s. No bound of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.stores.shared import queue
from tonnage.stores.shared.records import RECORD_BYTES, Record
from tonnage.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tonnage.stores.shared.store import Tables

#: A value may take so much of the whole.
LARGEST_SHARE: Final = 1 / 16
#: Pages that are being changed are there twice, and those of before are free only afterwards.
SPARE_SHARE: Final = 0.1
#: Marks of who was found; several digests may have one.
MARKS: Final = 65536
#: A moment that is older than all others.
BEFORE_ALL: Final = -1

_LEAST_SPARE_BYTES: Final = 256 * KIB
# What one write does at most for those that come after it.
_MOST_STEPS: Final = 1000
_MOST_MOVED_BYTES: Final = 256 * KIB
# Leads to the moment before which nothing comes in.
_FORGOTTEN: Final = b"forgotten"


class Contents:
    """What is in the tables of one level.

    Args:
        size_bytes: what its file takes at most.
        marks: so many bytes, shared by all workers.
        clock: seconds since 1970.
    """

    def __init__(self, size_bytes: int, marks: memoryview, clock: Callable[[], float]) -> None:
        self._most_bytes = size_bytes - max(int(size_bytes * SPARE_SHARE), _LEAST_SPARE_BYTES)
        self._largest_bytes = int(size_bytes * LARGEST_SHARE)
        self._marks = marks
        self._clock = clock

    def find(self, tables: Tables, digest: bytes) -> Record | None:
        """Return the record of a key, if that is something good."""
        record = queue.find(tables, digest)
        return record if record is not None and self._is_good(tables, record) else None

    def mark(self, digest: bytes) -> None:
        """Note that a key was found."""
        place = _mark(digest)
        if not self._marks[place]:
            self._marks[place] = 1

    def put(self, tables: Tables, record: Record) -> bool:
        """Put *record* in, in the place of what its key leads to; return whether that could be."""
        digests = (record.digest, *(digest for _, digest in record.tags))
        forgotten = max(0, queue.moment_of(tables, _FORGOTTEN))
        if record.moment < forgotten or any(
            queue.moment_of(tables, each) > record.moment for each in digests
        ):
            return False
        packed = record.pack()
        if len(packed) > self._largest_bytes or not self._make_room(tables, len(packed)):
            return False
        queue.append(tables, record.digest, record.moment, packed)
        return True

    def forget(self, tables: Tables, kind: int, digests: Sequence[bytes]) -> bool:
        """Have keys or tags be forgotten as of now; return True."""
        moment = int(tables.transaction.id())
        self._make_room(tables, len(digests) * RECORD_BYTES)
        for digest in digests:
            queue.append(tables, digest, moment, Record(kind, digest, moment).pack())
        return True

    def shorten(self, tables: Tables) -> None:
        """Take out a good part, whoever it is: no page was left."""
        self._make_room(tables, self._most_bytes // 4, second_chances=False)

    def empty(self, tables: Tables) -> None:
        """Take everything out; nothing that is older comes in any more."""
        queue.empty(tables)
        self._let_in_from(tables, int(tables.transaction.id()))

    def _is_good(self, tables: Tables, record: Record) -> bool:
        """Whether *record* is a value whose time has not come, by the clock or by its tags."""
        if not record.is_value or record.expires_seconds <= self._clock():
            return False
        return all(queue.moment_of(tables, tag) <= record.moment for _, tag in record.tags)

    def _make_room(self, tables: Tables, need_bytes: int, *, second_chances: bool = True) -> bool:
        """Take out the oldest until there is room; return whether there is, after so much work."""
        most_bytes = self._most_bytes - need_bytes - RECORD_BYTES
        moved_bytes = 0 if second_chances else _MOST_MOVED_BYTES
        steps = 0
        while queue.used_bytes(tables) > most_bytes:
            record = queue.first(tables) if steps < _MOST_STEPS else None
            if record is None:
                return False
            steps += queue.remove(tables, record.digest)
            if not record.is_value:
                self._let_in_from(tables, record.moment)
                continue
            place = _mark(record.digest)
            if (
                self._marks[place]
                and moved_bytes + len(record.value) <= _MOST_MOVED_BYTES
                and self._is_good(tables, record)
            ):
                self._marks[place] = 0
                moved_bytes += len(record.value)
                queue.append(tables, record.digest, record.moment, record.pack())
        return True

    def _let_in_from(self, tables: Tables, moment: int) -> None:
        """Have nothing come in any more that is older than *moment*."""
        if moment > queue.moment_of(tables, _FORGOTTEN):
            queue.set_moment(tables, _FORGOTTEN, moment)


def _mark(digest: bytes) -> int:
    return digest[0] | digest[1] << 8
