"""Log lines about what may happen a million times: one a second at most, with the sum.

Promises: the first time is said at once, the rest a second later, in the loop beside requests
(:mod:`tonnage.stores.background`), whatever its users do meanwhile; nothing is left out of the
sums, as long as :meth:`Notice.settle` is called in the end. Safe from any thread.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from tonnage.stores.background import background

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tonnage.stores")

EVERY_SECONDS: Final = 1.0
#: Of a reason so much is said.
LONGEST_REASON: Final = 300


def later(seconds: float, function: Callable[[], object]) -> None:
    """Have *function* called in *seconds*, in the loop beside requests."""
    here = background()
    here.call(here.loop.call_later, seconds, function)


class Notice:
    """One kind of line.

    Args:
        text: what is logged; ``%d`` is how many since the last line, ``%s`` the last reason.
        clock: monotonic seconds.
        later: calls a function in so many seconds.
    """

    def __init__(
        self,
        text: str,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], object]], object] = later,
    ) -> None:
        self._text = text
        self._clock = clock
        self._later = later
        # Reentrant: the collector may run code meanwhile that has something to say.
        self._lock = threading.RLock()
        self._count = 0
        self._reason = ""
        self._quiet_until_seconds = float("-inf")
        # Whether it will be looked again by itself.
        self._is_timed = False

    def add(self, count: int, reason: object) -> None:
        """Say that it happened *count* times more, now or with the next."""
        with self._lock:
            self._count += count
            self._reason = reason if isinstance(reason, str) else told(reason)
        self._settle_in_time()

    def settle(self) -> None:
        """Say what has not been said yet."""
        with self._lock:
            count, self._count = self._count, 0
            if not count:
                return
            self._quiet_until_seconds = self._clock() + EVERY_SECONDS
            reason = self._reason
        logger.warning(self._text, count, reason)

    def _settle_in_time(self) -> None:
        """Say it now, if the last line is long enough ago, else as soon as it is."""
        with self._lock:
            seconds = self._quiet_until_seconds - self._clock()
            is_due = seconds <= 0
            is_to_wait = self._count > 0 and not is_due and not self._is_timed
            self._is_timed |= is_to_wait
        if is_due:
            self.settle()
        elif is_to_wait:
            self._later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._is_timed = False
        self._settle_in_time()


def told(error: object) -> str:
    """Return *error* on one line of bounded length, with its kind."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:LONGEST_REASON] if text else type(error).__name__
