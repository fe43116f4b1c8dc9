"""Since when the oldest of some numbered things waits, without a time for each of them. Pure."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

_MOST: Final = 128


class Marks:
    """Times of some of the numbers; the fewer, the longer the queue is."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()
        self._spacing_seconds = 0.05

    def add(self, number: int, now_seconds: float) -> None:
        """Note that *number* has come, and all before it."""
        if self._marks and now_seconds - self._marks[-1][1] < self._spacing_seconds:
            return
        self._marks.append((number, now_seconds))
        if len(self._marks) > _MOST:
            self._marks = deque(islice(self._marks, 0, None, 2))
            self._spacing_seconds *= 2

    def remove(self, number: int) -> None:
        """Note that *number* is gone, and all before it."""
        while self._marks and self._marks[0][0] <= number:
            self._marks.popleft()
        if not self._marks:
            self._spacing_seconds = 0.05

    def oldest_seconds(self, default: float) -> float:
        """Return since when the oldest waits, at most the spacing too late; *default*: unknown."""
        return self._marks[0][1] if self._marks else default
