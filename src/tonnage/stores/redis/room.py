"""How much may wait for Redis in one process, and what has become of it so far. Pure.

    refusal = room.enter(packed_bytes)
    room.leave(1, packed_bytes, with_answer=True)

Bounded in commands and in bytes: whoever finds no room hears why, and waits for nothing. It has no
lock of its own: its owner does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tonnage.breaker import Breaker, State
from tonnage.units import MIB

MOST_WAITING: Final = 1000
MOST_WAITING_BYTES: Final = 16 * MIB


@dataclass(frozen=True, slots=True)
class RedisStatistics:
    """A link at one moment; counts are since it was made, in this process.

    Attributes:
        state: ``new``, ``connected`` or ``away``.
        waiting: commands that wait for an answer.
        waiting_bytes: what they take.
        answered: commands that got one.
        refused: commands that were not sent, since Redis was away or too many waited.
        unanswered: commands that were given up.
        failures: connections that failed or were lost.
        reconnects: how often Redis came back.
    """

    state: str
    waiting: int
    waiting_bytes: int
    answered: int
    refused: int
    unanswered: int
    failures: int
    reconnects: int

    @property
    def connected(self) -> bool:
        """Whether commands go out."""
        return self.state == State.CONNECTED.value


class Room:
    """The commands that wait, and their bytes.

    Args:
        most_waiting: how many there may be.
        most_bytes: what they may take.
    """

    def __init__(self, most_waiting: int, most_bytes: int) -> None:
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._waiting = self._waiting_bytes = 0
        self._answered = self._refused = self._unanswered = 0

    def enter(self, packed_bytes: int, *, is_away: bool = False) -> str | None:
        """Let a command wait; return why it may not, if so."""
        refusal = None
        if is_away:
            refusal = "Redis is away; it is tried again in the background"
        elif self._waiting >= self._most_waiting:
            refusal = f"{self._most_waiting} commands wait for Redis already; this one is not sent"
        elif self._waiting_bytes + packed_bytes > self._most_bytes:
            refusal = (
                f"{self._waiting_bytes} bytes wait for Redis already, and {self._most_bytes} may;"
                " this command is not sent"
            )
        if refusal is None:
            self.enter_anyway(packed_bytes)
        else:
            self._refused += 1
        return refusal

    def enter_anyway(self, packed_bytes: int) -> None:
        """Let one of ours wait, whatever there is: a ping, or what has to be said first."""
        self._waiting += 1
        self._waiting_bytes += packed_bytes

    def leave(self, commands: int, packed_bytes: int, *, with_answer: bool) -> None:
        """Note that so many commands wait no longer."""
        self._waiting -= commands
        self._waiting_bytes -= packed_bytes
        if with_answer:
            self._answered += commands
        else:
            self._unanswered += commands

    def statistics(self, breaker: Breaker) -> RedisStatistics:
        """Return what waits, and what has become of all so far."""
        return RedisStatistics(
            state=breaker.state.value,
            waiting=self._waiting,
            waiting_bytes=self._waiting_bytes,
            answered=self._answered,
            refused=self._refused,
            unanswered=self._unanswered,
            failures=breaker.failures,
            reconnects=breaker.reconnects,
        )
