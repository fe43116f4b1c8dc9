"""Who held what over the last quarter of an hour, for the page's picture.

One block of numbers (:data:`ROWS` rows of :data:`COLUMNS`, 13 KB), made at the start and written
round and round. Reads nothing and keeps no time: whoever notes a row says what is in it.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final

from tonnage.ops.page.state import HOLDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERY_SECONDS: Final = 5
ROWS: Final = 180
#: Unix seconds; then bytes, in the order of the tank; then the level, as its number.
COLUMNS: Final = ("time", *HOLDERS, "level")

_WIDTH: Final = len(COLUMNS)


class History:
    """The last rows, oldest first."""

    def __init__(self) -> None:
        # Whole numbers up to 2**53, bytes among them, are exact.
        self._numbers = array("d", bytes(8 * ROWS * _WIDTH))
        self._noted = 0

    def note(self, row: Sequence[float]) -> None:
        """Keep *row*, one number for each of :data:`COLUMNS`; the oldest gives way."""
        at = self._noted % ROWS * _WIDTH
        self._numbers[at : at + _WIDTH] = array("d", row)
        self._noted += 1

    def rows(self) -> list[list[float]]:
        """Return what is kept, the oldest first."""
        first = max(0, self._noted - ROWS)
        return [self._row(number % ROWS) for number in range(first, self._noted)]

    def as_json(self) -> dict[str, Any]:
        """Return it with what one needs to read it."""
        return {"every_seconds": EVERY_SECONDS, "columns": COLUMNS, "rows": self.rows()}

    def _row(self, place: int) -> list[float]:
        numbers = self._numbers[place * _WIDTH : (place + 1) * _WIDTH]
        return [round(numbers[0], 1), *map(int, numbers[1:])]
