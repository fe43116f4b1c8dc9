"""Lines that wait to be written, and which of them go when there are too many.

Promises: at most :data:`MOST_BYTES` and :data:`MOST_LINES`; the order in which they came; and that
each line that came is written, waits, or is counted as dropped. Does no I/O, and does not lock.

When it is full, a new line is dropped: what led to the trouble tells more than its thousandth
repetition. One at ERROR or above takes the place of the oldest lines below ERROR, if there are any.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from tonnage.units import MIB

MOST_BYTES: Final = 1 * MIB
MOST_LINES: Final = 8192
# What Python needs for a line besides its bytes: the object, its place, and its number.
LINE_OVERHEAD_BYTES: Final = 128


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines to be written in one piece, and what is to be said before them.

    Attributes:
        data: whole lines.
        lines: how many there are.
        dropped_lines: how many were dropped since a batch was taken last.
        dropped_since: when the first of these was, in seconds since the epoch.
    """

    data: bytes
    lines: int
    dropped_lines: int
    dropped_since: float


class LineQueue:
    """The lines of a process.

    Args:
        most_bytes: the bound, overheads included.
        most_lines: as well.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, most_lines: int = MOST_LINES) -> None:
        self._most_bytes = most_bytes
        self._most_lines = most_lines
        # Each with its number, so that the two together are in order.
        self._usual: deque[tuple[int, bytes]] = deque()
        self._serious: deque[tuple[int, bytes]] = deque()
        self._number = 0
        #: What all lines that wait come to, overheads included.
        self.bytes = 0
        #: Lines that were dropped, ever.
        self.dropped_lines = 0
        self._untold_lines = 0
        self._untold_since = 0.0

    def __len__(self) -> int:
        return len(self._usual) + len(self._serious)

    def put(self, line: bytes, *, is_serious: bool, now: float) -> bool:
        """Take *line*, if there is room, and return whether it was taken.

        Args:
            line: with its line break.
            is_serious: whether it is at ERROR or above.
            now: in seconds since the epoch.
        """
        size_bytes = len(line) + LINE_OVERHEAD_BYTES
        while is_serious and self._usual and not self._has_room(size_bytes):
            self._forget(self._usual.popleft()[1])
            self._note_dropped(now)
        if not self._has_room(size_bytes):
            self._note_dropped(now)
            return False
        self._number += 1
        (self._serious if is_serious else self._usual).append((self._number, line))
        self.bytes += size_bytes
        return True

    def take(self, most_bytes: int) -> Batch | None:
        """Return the oldest lines, of *most_bytes* together or a single one; None: there is none.

        What was dropped counts as told with them.
        """
        lines: list[bytes] = []
        size_bytes = 0
        while (oldest := self._oldest()) is not None:
            if lines and size_bytes + len(oldest[0][1]) > most_bytes:
                break
            line = oldest.popleft()[1]
            self._forget(line)
            lines.append(line)
            size_bytes += len(line)
        if not lines:
            return None
        dropped, self._untold_lines = self._untold_lines, 0
        return Batch(b"".join(lines), len(lines), dropped, self._untold_since)

    def drop_all(self, now: float) -> int:
        """Drop what waits, and return how many lines that were."""
        lines = len(self)
        self._usual.clear()
        self._serious.clear()
        self.bytes = 0
        self._note_dropped(now, lines)
        return lines

    def _oldest(self) -> deque[tuple[int, bytes]] | None:
        if not self._serious:
            return self._usual or None
        if not self._usual:
            return self._serious
        return self._usual if self._usual[0][0] < self._serious[0][0] else self._serious

    def _has_room(self, size_bytes: int) -> bool:
        return self.bytes + size_bytes <= self._most_bytes and len(self) < self._most_lines

    def _forget(self, line: bytes) -> None:
        self.bytes -= len(line) + LINE_OVERHEAD_BYTES

    def _note_dropped(self, now: float, lines: int = 1) -> None:
        if not self._untold_lines:
            self._untold_since = now
        self.dropped_lines += lines
        self._untold_lines += lines
