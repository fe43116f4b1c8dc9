"""Counts what a query loads, row by row and byte by byte, and says when it is too much.

    tally = Tally("SELECT * FROM events", max_rows=10_000, max_bytes=32 * MIB)
    tally.count(rows)             # each time that some have come; ResultTooLargeError when over

Promises: whoever asks for :attr:`Tally.next_rows` at a time, and counts what he gets, has never
loaded more than one row too many, and about a megabyte too much as long as rows are like those
before them; how the first ones are had in time is each driver's matter. The error names the
statement without its values, the line of the application that asked, and what to do. In the mode
``warn`` the same is logged, once a minute for each statement.

No I/O: does not fetch anything. Bytes are those of the rows as the driver gives them
(:mod:`tonnage.db.guard.weights`): objects that an ORM makes of them take some times as much.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from tonnage.db.guard.chunks import FIRST_ROWS, following
from tonnage.db.guard.texts import here, shortened
from tonnage.db.guard.weights import weigh
from tonnage.errors import ResultTooLargeError
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger("tonnage.db")

#: What an answer may have on the wire beyond what may still be loaded, as texts that are not ASCII
#: take more there than in Python.
SLACK_BYTES: Final = 4 * MIB

#: What can be done about a query that loads too much.
ADVICE: Final = (
    "add a LIMIT, read pages (db.page), stream (db.stream), or allow it with"
    " execution_options(max_rows=..., max_bytes=...)"
)
#: How often a statement that loads too much is warned about.
WARN_EVERY_SECONDS: Final = 60.0
#: Statements whose last warning is remembered.
_MOST_WARNED: Final = 100
_warned: dict[str, float] = {}


class Tally:
    """What one execution of *statement* has loaded so far.

    Args:
        statement: for messages; shortened there, and without values.
        max_rows, max_bytes: how much it may load; None: as much as there is.
        mode: ``stop``, or ``warn`` to log it and go on.
        clock: for how often a warning is logged, in seconds.
        advice: what an error says can be done about it.
    """

    __slots__ = ("_advice", "_clock", "_is_over", "_max_bytes", "_max_rows", "_mode", "_statement",
                 "next_rows", "rows", "size_bytes")  # fmt: skip

    def __init__(
        self,
        statement: str,
        max_rows: int | None,
        max_bytes: int | None,
        mode: str = "stop",
        *,
        clock: Callable[[], float] = time.monotonic,
        advice: str = ADVICE,
    ) -> None:
        self._statement = statement
        self._advice = advice
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._mode = mode
        self._clock = clock
        self._is_over = False
        #: Loaded until now.
        self.rows = 0
        self.size_bytes = 0
        #: How many rows to fetch next.
        self.next_rows = FIRST_ROWS
        self._bound()

    @property
    def next_bytes(self) -> int:
        """How much the next rows will take if they are like those before them."""
        return self.size_bytes * self.next_rows // max(1, self.rows)

    @property
    def most_bytes(self) -> int | None:
        """How much the next answer may have at most, whatever it holds; None: any."""
        if self._max_bytes is None or self._mode != "stop":
            return None
        return max(0, self._max_bytes - self.size_bytes) + SLACK_BYTES

    def count(self, rows: Sequence[Any]) -> None:
        """Add *rows*, which have been loaded.

        Raises:
            ResultTooLargeError: with them it is more than may be loaded.
        """
        self.add(len(rows), weigh(rows))

    def add(self, rows: int, size_bytes: int) -> None:
        """Add so many rows of so many bytes, which have been loaded, or are about to be.

        Raises:
            ResultTooLargeError: as :meth:`count`.
        """
        if not rows and not size_bytes:
            return
        self.rows += rows
        self.size_bytes += size_bytes
        if not self._is_over and (
            (self._max_rows is not None and self.rows > self._max_rows)
            or (self._max_bytes is not None and self.size_bytes > self._max_bytes)
        ):
            self._is_over = True
            self._object()
        self.next_rows = following(self.next_rows, self.rows, self.size_bytes)
        self._bound()

    def _bound(self) -> None:
        # One more than may be, to know that there are more.
        if self._max_rows is not None and not self._is_over:
            self.next_rows = min(self.next_rows, self._max_rows + 1 - self.rows)

    def _object(self) -> None:
        text = shortened(self._statement)
        if self._mode == "stop":
            raise ResultTooLargeError(self._message("was stopped", text))
        now_seconds = self._clock()
        if now_seconds - _warned.get(text, -WARN_EVERY_SECONDS) < WARN_EVERY_SECONDS:
            return
        if len(_warned) >= _MOST_WARNED:
            del _warned[next(iter(_warned))]
        _warned.pop(text, None)
        _warned[text] = now_seconds
        logger.warning("%s", self._message("goes on", text))

    def _message(self, outcome: str, text: str) -> str:
        if self._max_rows is not None and self.rows > self._max_rows:
            bound = f"{self._max_rows} rows"
        else:
            bound = format_bytes(self._max_bytes or 0)
        return (
            f"a query loads more than {bound} at once and {outcome}, at {here()}: {self._advice}:"
            f" {text}"
        )
