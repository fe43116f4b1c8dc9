"""Log lines about what may happen a million times: one a second at most, with the sum.

Promises: the first time is said at once, and nothing is left out of the sums, as long as
:meth:`Notice.settle` is called in the end. Safe from any thread.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tonnage.stores")

EVERY_SECONDS: Final = 1.0
#: Of a reason so much is said.
LONGEST_REASON: Final = 300


class Notice:
    """One kind of line.

    Args:
        text: what is logged; ``%d`` is how many since the last line, ``%s`` the last reason.
        clock: monotonic seconds.
    """

    def __init__(self, text: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._text = text
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._reason = ""
        self._quiet_until_seconds = float("-inf")

    def add(self, count: int, reason: object) -> None:
        """Say that it happened *count* times more, now or with the next."""
        with self._lock:
            self._count += count
            self._reason = reason if isinstance(reason, str) else told(reason)
        self.settle_if_due()

    def settle_if_due(self) -> None:
        """Say what has not been said yet, if the last line is long enough ago."""
        if self._count and self._clock() >= self._quiet_until_seconds:
            self.settle()

    def settle(self) -> None:
        """Say what has not been said yet."""
        with self._lock:
            count, self._count = self._count, 0
            if not count:
                return
            self._quiet_until_seconds = self._clock() + EVERY_SECONDS
            reason = self._reason
        logger.warning(self._text, count, reason)


def told(error: object) -> str:
    """Return *error* on one line of bounded length, with its kind."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:LONGEST_REASON] if text else type(error).__name__
