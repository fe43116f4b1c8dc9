"""How many rows of a stream to ask for at a time, so that they are about a megabyte. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.db.guard.chunks import following
from tonnage.db.guard.weights import weigh

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Rows that are asked for first, when nothing is known of them.
FIRST_ROWS: Final = 100


class Pace:
    """Of one stream.

    Args:
        chunk_rows: how many to ask for each time; None: it follows from what has come.
    """

    __slots__ = ("_chunk_rows", "asked_rows", "next_bytes", "next_rows")

    def __init__(self, chunk_rows: int | None = None) -> None:
        self._chunk_rows = chunk_rows
        self.next_rows = chunk_rows or FIRST_ROWS
        #: How many were asked for when the last came.
        self.asked_rows = 0
        #: What the next will take, as far as it is known.
        self.next_bytes = 0

    def note(self, rows: Sequence[Any]) -> None:
        """Learn from *rows*, which have come."""
        self.asked_rows = self.next_rows
        if not rows:
            return
        size_bytes = weigh(rows)
        if self._chunk_rows is None:
            self.next_rows = following(self.next_rows, len(rows), size_bytes)
        self.next_bytes = size_bytes * self.next_rows // len(rows)
