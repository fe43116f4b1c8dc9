"""How many rows, or documents, to fetch at a time: about a megabyte, whatever they weigh.

Promises: nobody knows how large rows are before the first has come, so a chunk begins with one row
and grows with what has come, at most :data:`GROWTH` times as many each time, as rows may grow, too.
Rows that are suddenly far larger than all before them are noticed one step late.

Decides; what fetches is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.db.guard.weights import weigh
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: How large what is fetched at a time should be.
CHUNK_BYTES: Final = MIB
#: Nor are more rows fetched at a time than this, whatever they weigh.
MOST_ROWS: Final = 5_000
#: Each time at most so many times as many as the time before.
GROWTH: Final = 8
#: Asked for first by who cannot ask for one: each question is a round trip.
FIRST_ROWS: Final = 100


def fitting(count: int, size_bytes: float, most: int) -> int:
    """Return how many make a chunk, if *count* take *size_bytes*; from 1 to *most*."""
    return max(1, min(most, int(CHUNK_BYTES * count // max(1, size_bytes))))


def following(asked_rows: int, rows: int, size_bytes: int) -> int:
    """Return how many rows to ask for after *asked_rows*.

    Args:
        asked_rows: how many were asked for the last time.
        rows: how many have come until now.
        size_bytes: how much they take.
    """
    return fitting(rows, size_bytes, min(asked_rows * GROWTH, MOST_ROWS))


def fetch_chunk(
    fetchmany: Callable[[int], Sequence[Any]], most_rows: int
) -> tuple[list[Any], int, bool]:
    """Return rows of a cursor that fetches bit by bit, their bytes, and whether these were all.

    Args:
        fetchmany: the cursor's; to ask it for few rows costs no round trip.
        most_rows: that may be fetched; fewer are when they make a chunk.
    """
    rows: list[Any] = []
    size_bytes, step = 0, 1
    while len(rows) < most_rows and size_bytes < CHUNK_BYTES:
        step = min(step, most_rows - len(rows))
        found = fetchmany(step)
        rows += found
        if len(found) < step:
            return rows, size_bytes + weigh(found), True
        size_bytes += weigh(found)
        step = following(step, len(rows), size_bytes)
    return rows, size_bytes, False


class Pace:
    """How many rows of one stream to ask for, and how much they will take.

    Args:
        chunk_rows: how many to ask for each time; None: it follows from what has come.
        first_rows: how many to ask for first, where that is None.
        most_rows: how many to ask for at most, then.
    """

    __slots__ = ("_is_adapting", "_most_rows", "asked_rows", "next_bytes", "next_rows")

    def __init__(
        self,
        chunk_rows: int | None = None,
        first_rows: int = FIRST_ROWS,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self._is_adapting = chunk_rows is None
        self._most_rows = most_rows
        self.next_rows = chunk_rows or first_rows
        #: How many were asked for when the last came.
        self.asked_rows = 0
        #: What the next will take, as far as it is known.
        self.next_bytes = 0

    def note(self, rows: Sequence[Any], size_bytes: int | None = None) -> None:
        """Learn from *rows*, which have come, and take *size_bytes*; None: it is found out."""
        self.asked_rows = self.next_rows
        if not rows:
            return
        if size_bytes is None:
            size_bytes = weigh(rows)
        if self._is_adapting:
            wanted = following(self.next_rows, len(rows), size_bytes)
            self.next_rows = min(wanted, self._most_rows)
        self.next_bytes = size_bytes * self.next_rows // len(rows)
