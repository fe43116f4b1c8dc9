"""What the line of jobs decides, and what it decides from beside itself.

Words only: :mod:`tonnage.jobs.line` decides, :mod:`tonnage.server.jobs.owner` does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Refusal(StrEnum):
    """Why a job does not get its turn; the words stand in messages."""

    QUEUE = "queue"
    WAIT = "wait"
    NEVER = "never"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Start:
    """Start *job* in a new process, *child*."""

    job: int
    child: int


@dataclass(frozen=True, slots=True)
class Hand:
    """Hand *job* to the idle process *child*."""

    job: int
    child: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse *job*: it has waited for as long as it may, or too many wait."""

    job: int
    reason: Refusal


@dataclass(frozen=True, slots=True)
class Overdue:
    """End *child*, whose job has run for as long as it may."""

    child: int


@dataclass(frozen=True, slots=True)
class Overfull:
    """End *child*: with all that it has started, it holds more than its job may."""

    child: int


@dataclass(frozen=True, slots=True)
class EndIdle:
    """End the idle process *child*."""

    child: int


Action = Start | Hand | Refuse | Overdue | Overfull | EndIdle


@dataclass(frozen=True, slots=True)
class Room:
    """What a decision depends on beside the line itself.

    Attributes:
        free_bytes: what is neither held nor promised.
        is_pressed: memory is short: idle processes are ended.
        requests_since_seconds: since when the first large request has waited for memory; None:
            none does. Whoever has waited longer goes first, job or request.
    """

    free_bytes: int
    is_pressed: bool = False
    requests_since_seconds: float | None = None
