"""Who is recycled: which worker is replaced by a fresh one, when, and when to stop doing so.

Only a new process gives all memory back for certain: what an allocator keeps, what a library or a
leak holds. Since a worker is a fork, it costs little, and the server drains the old one first.

Covers the choice from figures, and the guard against recycling that does not help: because nothing
comes free, or because what came free is soon in use again. Does not cover how
a worker is replaced (:mod:`tonnage.server.recycling`) nor how a leak is told from a warm cache
(:mod:`tonnage.governor.leaks`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from tonnage.governor.levels import Level
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A younger worker is not recycled for its memory: it would be again and again.
LEAST_AGE_SECONDS: Final = 5.0
#: Between two recycles for memory; after one that brought nothing, so many times longer.
COOL_DOWN_SECONDS: Final = 2.0
COOL_DOWN_FACTOR: Final = 8.0
#: So many recycles without relief in a row, and it is given up ...
MOST_WITHOUT_RELIEF: Final = 3
#: ... for so long.
GIVEN_UP_SECONDS: Final = 600.0
#: A recycle was a relief if it gave back this share of the limit, or half of what the worker held.
RELIEF_SHARE: Final = 0.05
#: It was none after all if another is called for within this time, for the same reason, and this
#: share of what it gave back is in use again. A worker that loads what it needs with its first
#: requests has done so by then; and once in so long a recycle disturbs little, even if for ever.
LASTING_SECONDS: Final = 30.0
LOST_SHARE: Final = 0.5

#: Memory that is held without a request to explain it, at WARNING and above, for so long although
#: reclaim has been tried, is not coming back by itself.
PATIENCE_SECONDS: Final = 2.0
#: A worker that holds less than this share of the limit is not what fills it.
WORTH_SHARE: Final = 0.05

#: A leak is dealt with between these shares of a worker's room: from the first on at a quiet
#: moment, at the second whatever happens.
LEAK_SHARES: Final = (0.5, 0.75)


class Reason(IntEnum):
    """Why a worker is recycled; a higher one goes before a lower one."""

    LIFETIME = 1
    REQUESTS = 2
    LEAK = 3
    TOO_LARGE = 4
    STUCK = 5
    NOT_BACK = 6
    NEW_CODE = 7
    ASKED = 8

    @property
    def is_for_memory(self) -> bool:
        """Whether the recycle is to give memory back, so that its effect counts."""
        return Reason.LEAK <= self <= Reason.NOT_BACK

    @property
    def has_to_last(self) -> bool:
        """Whether what the recycle gives back has to stay free.

        Not for a leak: its worker is recycled as often as needed.
        """
        return Reason.TOO_LARGE <= self <= Reason.NOT_BACK


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker, as the choice sees it.

    Attributes:
        index: its slot.
        age_seconds: since it became ready.
        own_bytes: what would come free if it ended.
        unexplained_bytes: of that, what came after its start and is no running request's.
        in_flight: its running requests.
        requests: how many it has had.
        requests_limit: how many it may have; None: any number.
        seconds_limit: how old it may become; None: any age.
        leak_bytes_per_second: how fast it leaks; 0: it does not, as far as is known.
        collected_bytes: its own memory after the last collection; None: none was yet.
        wanted: a reason that somebody else found, if any.
    """

    index: int
    age_seconds: float
    own_bytes: int
    unexplained_bytes: int
    in_flight: int
    requests: int
    requests_limit: int | None = None
    seconds_limit: float | None = None
    leak_bytes_per_second: float = 0.0
    collected_bytes: int | None = None
    wanted: Reason | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """The server's memory, as the choice sees it.

    Attributes:
        level: the level, held for *level_seconds*.
        level_seconds: since when.
        limit_bytes: the limit.
        used_bytes: what is in use.
        room_bytes: what each worker may own before the level becomes WARNING.
        reclaimed: whether any worker has given back what it could since the level was last OK, at
            its regular time or when asked; that was not enough, then.
        recycle_above_bytes: own memory that is too much, where the user says so.
    """

    level: Level
    level_seconds: float
    limit_bytes: int
    used_bytes: int
    room_bytes: int
    reclaimed: bool
    recycle_above_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A recycle that gave memory back, of which it is not known yet whether that stays free.

    Attributes:
        reason: why it was.
        used_bytes: what was in use when it began.
        freed_bytes: what came free.
        until_seconds: what is free until then has stayed so.
    """

    reason: Reason
    used_bytes: int
    freed_bytes: int
    until_seconds: float

    def is_lost(self, used_bytes: int) -> bool:
        """Return whether what came free is in use again."""
        return used_bytes >= self.used_bytes - self.freed_bytes * LOST_SHARE


@dataclass(frozen=True, slots=True)
class History:
    """What recycling has brought so far."""

    without_relief: int = 0
    not_before_seconds: float = 0.0
    given_up_until_seconds: float = 0.0
    trial: Trial | None = None

    def may(self, now_seconds: float) -> bool:
        """Return whether to recycle for memory now."""
        return now_seconds >= max(self.not_before_seconds, self.given_up_until_seconds)


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is recycled, and why."""

    index: int
    reason: Reason


def choose(
    candidates: Sequence[Candidate], situation: Situation, history: History, now_seconds: float
) -> Choice | None:
    """Return which of *candidates*, all ready, is to be recycled now; None: nobody."""
    chosen: tuple[Reason, int, int] | None = None
    for candidate in candidates:
        reason = _reason(candidate, candidates, situation, history, now_seconds)
        if reason is not None:
            rank = (reason, candidate.own_bytes, candidate.index)
            chosen = rank if chosen is None else max(chosen, rank)
    return None if chosen is None else Choice(chosen[2], chosen[0])


def _reason(
    candidate: Candidate,
    candidates: Sequence[Candidate],
    situation: Situation,
    history: History,
    now_seconds: float,
) -> Reason | None:
    if candidate.wanted in (Reason.ASKED, Reason.NEW_CODE):
        return candidate.wanted
    if history.may(now_seconds) and candidate.age_seconds >= LEAST_AGE_SECONDS:
        for_memory = _reason_of_memory(candidate, candidates, situation)
        if for_memory is not None:
            return for_memory
    if candidate.requests_limit is not None and candidate.requests >= candidate.requests_limit:
        return Reason.REQUESTS
    if candidate.seconds_limit is not None and candidate.age_seconds >= candidate.seconds_limit:
        return Reason.LIFETIME
    return None


def _reason_of_memory(
    candidate: Candidate, candidates: Sequence[Candidate], situation: Situation
) -> Reason | None:
    if candidate.wanted is Reason.NOT_BACK:
        return Reason.NOT_BACK
    if _is_stuck(candidate, candidates, situation):
        return Reason.STUCK
    above, collected = situation.recycle_above_bytes, candidate.collected_bytes
    if above is not None and collected is not None and collected > above:
        return Reason.TOO_LARGE
    return Reason.LEAK if _leak_matters(candidate, situation) else None


def _is_stuck(candidate: Candidate, candidates: Sequence[Candidate], situation: Situation) -> bool:
    """Whether *candidate* holds what keeps the level up, and does not give it back."""
    patience = PATIENCE_SECONDS if situation.level < Level.EXHAUSTED else PATIENCE_SECONDS / 2
    if situation.level is Level.OK or situation.level_seconds < patience:
        return False
    if not situation.reclaimed:
        return False
    largest = max(each.unexplained_bytes for each in candidates)
    worth = max(int(situation.limit_bytes * WORTH_SHARE), MIB)
    return candidate.unexplained_bytes == largest and largest >= worth


def _leak_matters(candidate: Candidate, situation: Situation) -> bool:
    if not candidate.leak_bytes_per_second:
        return False
    quiet, anyway = (share * situation.room_bytes for share in LEAK_SHARES)
    if candidate.own_bytes >= anyway:
        return True
    return candidate.own_bytes >= quiet and not candidate.in_flight


def before_recycle(
    history: History, reason: Reason, *, used_bytes: int, now_seconds: float
) -> History:
    """Return the history now that a worker is to be recycled for *reason*: the last one is judged.

    It may say that this is given up.

    Args:
        history: what was before.
        reason: why the next is called for: one for memory.
        used_bytes: what is in use.
        now_seconds: now.
    """
    trial = history.trial
    if trial is None:
        return history
    if now_seconds > trial.until_seconds:
        return replace(history, without_relief=0, trial=None)
    if not reason.has_to_last:
        return history
    if trial.is_lost(used_bytes):
        return _in_vain(replace(history, trial=None), now_seconds)
    # Another worker's turn: what the last one held is still free, and is not enough.
    return replace(history, without_relief=0, trial=None)


def after_recycle(
    history: History,
    *,
    freed_bytes: int,
    held_bytes: int,
    limit_bytes: int,
    now_seconds: float,
    trial: Trial | None = None,
) -> History:
    """Return the history after a recycle for memory.

    Args:
        history: what was before.
        freed_bytes: what came free: the old worker's own memory less the new one's.
        held_bytes: the old worker's own memory.
        limit_bytes: the limit.
        now_seconds: now.
        trial: how to judge later whether that lasts; None: it need not.
    """
    if freed_bytes < min(limit_bytes * RELIEF_SHARE, held_bytes / 2):
        failed = _in_vain(replace(history, trial=None), now_seconds)
        return replace(
            failed, not_before_seconds=now_seconds + COOL_DOWN_SECONDS * COOL_DOWN_FACTOR
        )
    # What is still on trial stays so.
    trial = trial or history.trial
    return replace(
        history,
        without_relief=0 if trial is None else history.without_relief,
        not_before_seconds=now_seconds + COOL_DOWN_SECONDS,
        trial=trial,
    )


def _in_vain(history: History, now_seconds: float) -> History:
    """Return the history with one more recycle that brought nothing."""
    failed = history.without_relief + 1
    if failed < MOST_WITHOUT_RELIEF:
        return replace(history, without_relief=failed)
    return replace(history, without_relief=0, given_up_until_seconds=now_seconds + GIVEN_UP_SECONDS)
