"""Keeps the rows of one run in its book, with those of the runs before.

Promises: nothing that a disk does makes anybody fail; that nothing can be kept is said once, and
tried again. Of an hour or a day in which an earlier run was observed too, the row is of both, where
limit and number of workers are the same.

Bounded: the rows that are yet to be written, two days' hours and their days; the others are on
disk alone, and are read when the file is written.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from tonnage.ops.sizing.record import (
    DAY_SECONDS,
    HOUR_SECONDS,
    MOST_DAYS,
    MOST_HOURS,
    History,
    Row,
    in_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tonnage.ops.sizing.book import Book

logger = logging.getLogger("tonnage.supervisor")


class Keeping:
    """The book of one run, opened when there is something to keep, and what is to go into it."""

    def __init__(self, open_book: Callable[[], Book | None], first: History) -> None:
        """Begin; nothing is opened yet.

        Args:
            open_book: returns the book; None: there is none, for a reason that it has told.
            first: what is kept where nothing has been so far: a history without rows.
        """
        self._open_book, self._first = open_book, first
        self._book: Book | None = None
        self._was_opened = False
        self._is_writable = True
        # Of an earlier run in the same hour and day.
        self._before: dict[int, tuple[Row, ...]] = {}
        # By length: those that are over, and not written as such.
        self._closed: dict[int, deque[Row]] = {
            HOUR_SECONDS: deque(maxlen=MOST_HOURS),
            DAY_SECONDS: deque(maxlen=MOST_HOURS * HOUR_SECONDS // DAY_SECONDS + 1),
        }

    @property
    def is_hopeless(self) -> bool:
        """Whether there is no book, nor will be."""
        return self._was_opened and self._book is None

    def open(self) -> bool:
        """Open the book, if that was not done; return whether the last run has ended so, unsaid."""
        if self._was_opened:
            return False
        self._was_opened = True
        self._book = self._open_book()
        try:
            kept = None if self._book is None else self._kept(self._book)
        except OSError as error:
            self._complain(error)
            return False
        if kept is None:
            return False
        self._before = {HOUR_SECONDS: _latest(kept.hours), DAY_SECONDS: _latest(kept.days)}
        # It has the book no more.
        return kept.is_running

    def add(self, length: int, row: Row) -> None:
        """Have the *row* of an hour or a day that is over written the next time."""
        self._closed[length].append(row)

    def write(
        self, present: Mapping[int, Row], measured: str, wall_seconds: int, *, is_running: bool
    ) -> None:
        """Write all rows, the *present* ones of both lengths too."""
        if self._book is None:
            return
        try:
            kept = self._kept(self._book) or self._first
            days = self._rows(DAY_SECONDS, kept.days, present)
            if not days:
                return
            self._book.write(
                replace(
                    self._first,
                    is_running=is_running,
                    measured=measured,
                    written_seconds=wall_seconds,
                    hours=self._rows(HOUR_SECONDS, kept.hours, present)[-MOST_HOURS:],
                    days=days[-MOST_DAYS:],
                )
            )
        except OSError as error:
            self._complain(error)
        else:
            self._is_writable = True
            for rows in self._closed.values():
                rows.clear()

    def settle(self) -> None:
        """See that what was written is on the disk."""
        try:
            if self._book is not None:
                self._book.settle()
        except OSError as error:
            self._complain(error)

    def close(self) -> None:
        """Give the book back. Any number of times."""
        if self._book is not None:
            self._book.close()
            self._book = None

    def _rows(
        self, length: int, kept: Iterable[Row], present: Mapping[int, Row]
    ) -> tuple[Row, ...]:
        """Return the rows *kept* with this run's own: what it wrote of them before is replaced."""
        rows = {row.key: row for row in kept}
        for own in (*self._closed[length], present[length]):
            if not own.seconds:
                continue
            # This run's is the last of its time.
            rows.pop(own.key, None)
            for before in self._before.get(length, ()):
                if before.key == own.key:
                    own = before.joined(own, length)
            rows[own.key] = own
        return in_order(rows.values())

    def _kept(self, book: Book) -> History | None:
        """Return what was kept; what cannot be understood is set aside. Raises OSError."""
        try:
            return book.read()
        except ValueError as error:
            logger.warning(
                "what was observed before cannot be understood (%s); it is now %s",
                error,
                book.set_aside(),
            )
            return None

    def _complain(self, error: OSError) -> None:
        """Say once that nothing can be kept; a disk that is full can become free."""
        if self._is_writable:
            logger.warning(
                "what is observed of memory cannot be kept: %s; see --state-dir",
                error.strerror or error,
            )
        self._is_writable = False


def _latest(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return those of *rows* that begin when the last one does."""
    return tuple(row for row in rows if row.start_seconds == rows[-1].start_seconds)
