"""Telling people from a worker: a line in the log, and a word to the supervisor.

That has the webhook (:mod:`tonnage.ops.alerts`); a worker says how it is told (:func:`use`). Under
another server there is none, and the log is all. Paced: whoever attacks from many addresses makes
many alerts, and the list of events has them all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("tonnage.security")

Tell = Callable[[str, dict[str, Any]], object]

_tell: Tell | None = None


def use(tell: Tell | None) -> None:
    """Have *tell* called with each text and its fields, in this process; from any thread."""
    global _tell  # one for a process
    _tell = tell


class Pace:
    """One alert in so many seconds.

    Args:
        seconds: how many.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next_seconds = float("-inf")
        self._held_back = 0
        # Held for nanoseconds.
        self._counting = threading.Lock()

    def tell(self, text: str, fields: dict[str, Any]) -> None:
        """Tell it, or count it for the next."""
        now_seconds = self._clock()
        with self._counting:
            if now_seconds < self._next_seconds:
                self._held_back += 1
                return
            self._next_seconds = now_seconds + self._seconds
            held_back, self._held_back = self._held_back, 0
        more = f" (and {held_back} more before it)" if held_back else ""
        logger.warning("security: %s%s", text, more)
        if _tell is not None:
            _tell(text + more, fields)
