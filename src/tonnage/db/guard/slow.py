"""Queries that take long, in the log: for how long, how many rows, where, and for whom.

    slow query: 1.24 s, 10000 rows, at app/events.py:42, GET /events, request 3f2a: SELECT ...

Promises: a line for each query slower than the threshold, without values; at most
:data:`LINES_PER_SECOND` from a process, and the next one says how many were not logged. Of a stream
only its beginning is timed. Errors of statements are not logged: whoever catches them knows more.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from tonnage.db.guard.texts import here, shortened
from tonnage.logs.context import request_id
from tonnage.web.meter import current_request

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tonnage.db")

LINES_PER_SECOND: Final = 5


class LineLimit:
    """Lets :data:`LINES_PER_SECOND` through, and counts the others."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def left_out(self, now_seconds: float) -> int | None:
        """Return how many lines were left out before this one; None: so is this one."""
        if int(now_seconds) != self._second:
            self._second, self._lines = int(now_seconds), 0
        if self._lines >= LINES_PER_SECOND:
            self._left_out += 1
            return None
        self._lines += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


# All engines of a process together. A count that two threads spoil at once is off by one.
_limit = LineLimit()


class SlowQueries:
    """Notes queries that take longer than *threshold_seconds*.

    Args:
        now: the clock, in seconds.
        limit: how many lines there may be.
    """

    __slots__ = ("_limit", "_threshold_seconds", "now")

    def __init__(
        self,
        threshold_seconds: float,
        *,
        now: Callable[[], float] = time.monotonic,
        limit: LineLimit = _limit,
    ) -> None:
        self._threshold_seconds = threshold_seconds
        self._limit = limit
        self.now = now

    def is_slow(self, begun_seconds: float) -> bool:
        """Return whether what began then has taken long."""
        return self.now() - begun_seconds > self._threshold_seconds

    def note(self, begun_seconds: float, statement: str, rows: int) -> None:
        """Log *statement*, which has taken from then to now and has had so many *rows*.

        Args:
            begun_seconds: when it began.
            statement: its text; shortened here.
            rows: below 0: nobody knows.
        """
        now_seconds = self.now()
        left_out = self._limit.left_out(now_seconds)
        if left_out is None:
            return
        parts = [f"{now_seconds - begun_seconds:.3g} s"]
        if rows >= 0:
            parts.append(f"{rows} rows")
        parts.append(f"at {here()}")
        request = current_request.get()
        # What a request has left behind, such as a driver's own task, goes on after it.
        if request is not None and not request.has_ended:
            parts.append(request.route.name)
        if (known := request_id()) is not None:
            parts.append(f"request {known}")
        more = f" ({left_out} more were slow and not logged)" if left_out else ""
        logger.warning("slow query: %s: %s%s", ", ".join(parts), shortened(statement), more)
