"""Who may go on, and who waits: turns in the order of asking, for threads and coroutines.

At most ``concurrent`` hold a turn and at most ``waiting`` wait for one; who comes after that is
refused at once. How long to wait, and what waiting is, is the caller's: a waiter hands in what
wakes it. Counts the turns of this process alone: nothing is shared between workers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Turn:
    """One caller's place: it is its turn once ``granted``."""

    __slots__ = ("granted", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.granted = False


class Turns:
    """The turns of one process; any thread may call."""

    def __init__(self, concurrent: int, waiting: int) -> None:
        self._free = concurrent
        self._waiting = waiting
        # Bounded by *waiting*.
        self._queue: deque[Turn] = deque()
        # The garbage collector ends what nobody has ended, also where this is held.
        self._lock = threading.RLock()

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._queue)

    def ask(self, wake: Callable[[], None]) -> Turn | None:
        """Take a turn, or a place in the queue; None: there is none.

        Args:
            wake: called once, from whichever thread hands its turn on, when the turn is granted
                later than now. It must not block or raise.
        """
        turn = Turn(wake)
        with self._lock:
            if self._free > 0:
                self._free -= 1
                turn.granted = True
            elif len(self._queue) < self._waiting:
                self._queue.append(turn)
            else:
                return None
        return turn

    def leave(self, turn: Turn) -> None:
        """Hand the turn on, or stop waiting for it. Once only."""
        with self._lock:
            if not turn.granted:
                self._queue.remove(turn)
                return
            if not self._queue:
                self._free += 1
                return
            following = self._queue.popleft()
            following.granted = True
            following.wake()
