"""Whether to ask another server at all: a circuit breaker. No I/O, and no clock but the one given.

Redis has one for its link, and more to tell of what it refuses while it is there, as for want of
memory; each database has one behind its door.

    NEW        nobody has asked yet, or the first connection is being made: callers wait for it
    CONNECTED  commands go out
    AWAY       callers hear so at once; somebody tries again in the background

Promises: an outage is told once, and its end once. One that follows within :data:`QUIET_SECONDS`
of the last that was told is counted and not told, so that a server that comes and goes does not
fill the log. What waits longer from one attempt to the next is :func:`backoff_seconds`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

BACKOFF_STEP_SECONDS: Final = 0.05
MOST_BACKOFF_SECONDS: Final = 0.5
#: A connection that lasted so long was a good one: back-off begins anew after it.
STEADY_SECONDS: Final = 10.0
QUIET_SECONDS: Final = 60.0


class State(Enum):
    """How it stands with the other server."""

    NEW = "new"
    CONNECTED = "connected"
    AWAY = "away"


def backoff_seconds(retries: int) -> float:
    """Return how long to wait after so many failures in a row."""
    return min(retries * BACKOFF_STEP_SECONDS, MOST_BACKOFF_SECONDS)


class Breaker:
    """The state, and what it was before."""

    def __init__(self) -> None:
        self.state = State.NEW
        #: Attempts since the last steady connection.
        self.retries = 0
        #: Connections that failed or were lost, and those that came after the first.
        self.failures = 0
        self.reconnects = 0
        self._since_seconds = float("-inf")
        self._told_seconds = float("-inf")
        self._is_told = False

    def lose(self, now_seconds: float) -> bool:
        """Note that a connection failed or was lost; return whether to tell."""
        was, self.state = self.state, State.AWAY
        if was is State.CONNECTED and now_seconds - self._since_seconds >= STEADY_SECONDS:
            self.retries = 0
        self.retries += 1
        self.failures += 1
        return self._tell(was, now_seconds)

    def come(self, now_seconds: float) -> bool:
        """Note that there is a connection; return whether to tell."""
        self.reconnects += self.failures > 0
        self.state, self._since_seconds = State.CONNECTED, now_seconds
        is_told, self._is_told = self._is_told, False
        return is_told

    def _tell(self, was: State, now_seconds: float) -> bool:
        if was is State.AWAY or now_seconds - self._told_seconds < QUIET_SECONDS:
            return False
        self._told_seconds, self._is_told = now_seconds, True
        return True
