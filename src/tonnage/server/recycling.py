"""Recycling: a worker is replaced by a fresh one, and no request is lost.

    choose → (start the successor) → drain the old one → (start the successor) → account for it

One at a time. Where a second worker fits into what is free, the successor accepts before the old
one stops accepting; where it does not, the old one drains first, and connections wait in the
listening socket for the moment that a fork takes. An old worker that does not finish in time is
ended, with a report.

Who is to be recycled is decided by :mod:`tonnage.governor.recycle`. Where recycling does not help,
the server goes on with a worker less, until SIGHUP brings new code. Each replacement is one line of
the log at INFO, when it is over; its steps are told at DEBUG.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.levels import Level
from tonnage.governor.recycle import (
    GIVEN_UP_SECONDS,
    LASTING_SECONDS,
    MOST_WITHOUT_RELIEF,
    Candidate,
    History,
    Reason,
    Situation,
    Trial,
    after_recycle,
    before_recycle,
    choose,
)
from tonnage.governor.statistics import read_statistics
from tonnage.ops.alertpolicy import RECYCLING_GAVE_UP
from tonnage.server.postmortem.facts import KillReason
from tonnage.units import MIB, format_bytes, in_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.governor.statistics import WorkerStatistics
    from tonnage.server.crew import Crew, Member
    from tonnage.settings import RecyclingSettings

logger = logging.getLogger("tonnage.supervisor")

# A fresh worker holds about 6 MB; a second needs twice that, or more where one was seen to.
_ASSUMED_START_BYTES: Final = 12 * MIB
# Beyond what a second worker needs, so much stays free for those that serve.
_SPARE_BYTES: Final = 16 * MIB
_JITTER_SHARE: Final = 0.1
# With this history nobody is recycled for memory: --no-recycle.
_NEVER: Final = History(given_up_until_seconds=float("inf"))

_WORDS: Final = {
    Reason.LIFETIME: "it has reached --max-lifetime",
    Reason.REQUESTS: "it has reached --max-requests",
    Reason.LEAK: "it leaks",
    Reason.TOO_LARGE: "its own memory is above --recycle-above",
    Reason.STUCK: "it keeps memory that no request explains and that collecting did not bring back",
    Reason.NOT_BACK: "it kept what a request had allocated before it ran out of memory",
    Reason.NEW_CODE: "the application was imported anew",
    Reason.ASKED: "it was asked for",
}


@dataclass(frozen=True, slots=True)
class Collected:
    """What a worker held after a collection, less what its running requests did."""

    now_seconds: float
    held_bytes: int


def _drawn(most: float) -> float:
    from random import uniform  # Only here: most workers have no bounds that are drawn.

    return uniform(0, most)


@dataclass(slots=True)
class _Bounds:
    """What one worker may come to, drawn when it started, so that not all end at once."""

    requests: int | None
    seconds: float | None


@dataclass(slots=True)
class _Replacement:
    """A worker that is being replaced."""

    old: Member
    reason: Reason
    begun_seconds: float
    held_bytes: int
    # What was in use when it began.
    used_bytes: int
    # Whether what it gives back has to stay free, for the recycle to be a relief.
    has_to_last: bool
    start_first: bool
    deadline_seconds: float = float("inf")
    successor: Member | None = None
    # From the beginning to the moment when it was ready.
    ready_seconds: float = 0.0
    old_is_gone: bool = False


class Recycler:
    """Replaces workers, one at a time."""

    def __init__(
        self,
        page: SharedPage,
        crew: Crew,
        settings: RecyclingSettings,
        *,
        drain_seconds: float,
        start_seconds: float,
        alert: Callable[[str, str, dict[str, Any]], object],
        clock: Callable[[], float],
        draw: Callable[[float], float] = _drawn,
    ) -> None:
        """Make a recycler that has nothing to do.

        Args:
            page: where the workers' slots are.
            crew: the workers.
            settings: when a worker is to be replaced.
            drain_seconds: how long an old worker may take to finish its requests.
            start_seconds: how long a successor may take to become ready.
            alert: told, with a kind, a sentence and figures, when recycling does not help.
            clock: monotonic seconds.
            draw: returns a number between 0 and its argument.
        """
        self._page = page
        self._crew = crew
        self._settings = settings
        self._drain_seconds = drain_seconds
        self._start_seconds = start_seconds
        self._alert = alert
        self._clock = clock
        self._draw = draw
        self._now: _Replacement | None = None
        self._history = History()
        #: What a start needs: as much as the last one, and half as much again for a moment.
        self.start_bytes = _ASSUMED_START_BYTES
        # By slot; one entry for each worker.
        self._bounds: dict[int, _Bounds] = {}
        # By slot: what the application's startup has taken. A successor would take as much.
        self._startup_bytes: dict[int, int] = {}
        # By worker and not by slot, so that a wish does not pass to a successor.
        self._wishes: dict[Member, Reason] = {}
        #: What a worker had of its own when the last one became ready; 0: not known yet.
        self.fresh_bytes = 0

    @property
    def is_busy(self) -> bool:
        """Whether a worker is being replaced."""
        return self._now is not None

    def want(self, index: int, reason: Reason) -> bool:
        """Have the worker of slot *index* replaced in its turn; return whether there is one."""
        member = self._crew.members.get(index)
        if member is None or member.is_leaving:
            return False
        self._wishes[member] = max(self._wishes.get(member, reason), reason)
        return True

    def want_all(self, reason: Reason) -> int:
        """Have every worker replaced, by turns; return how many.

        Also those that still start: they are as old as the others, if it is for new code. That may
        also need less memory, so then there are as many workers again as were planned.
        """
        if reason is Reason.NEW_CODE:
            self._restore()
        return sum(self.want(index, reason) for index in self._crew.members)

    def act(
        self,
        situation: Situation,
        free_bytes: int,
        *,
        leaks: Callable[[int], float],
        collected: Callable[[int], Collected | None],
        spared: int | None = None,
    ) -> None:
        """Go on with the replacement under way, or begin one if it is time.

        Args:
            situation: the server's memory.
            free_bytes: what is left to the limit.
            leaks: how fast the worker of a slot leaks, in bytes a second; 0: it does not.
            collected: what the worker of a slot held after its last collection.
            spared: the slot of a worker that is needed as it is just now.
        """
        if self._now is not None:
            self._go_on(self._now, situation)
            return
        statistics = read_statistics(self._page, int(self._clock() * 1e9))
        by_index = {worker.index: worker for worker in statistics.workers}
        candidates = [
            self._candidate(member, by_index[member.index], situation, leaks, collected)
            for member in self._crew.serving()
            if member.index in by_index and member.index != spared
        ]
        history = self._history if self._settings.recycle else _NEVER
        choice = choose(candidates, situation, history, self._clock())
        if choice is None:
            return
        chosen = next(each for each in candidates if each.index == choice.index)
        if choice.reason.is_for_memory and not self._still_helps(chosen, choice.reason, situation):
            return
        self._begin(chosen, choice.reason, situation, free_bytes)

    def heard_ready(self, member: Member) -> None:
        """Note that a worker has become ready."""
        slot = self._page.slots[member.index]
        self.fresh_bytes = slot.uss_bytes
        self._learn_start(slot.uss_bytes)
        self._startup_bytes[member.index] = max(
            0, slot.rolled_up_private_bytes - slot.baseline_bytes
        )
        now = self._now
        if now is None or now.successor is not None or member is now.old:
            return
        now.successor, now.ready_seconds = member, self._clock() - now.begun_seconds
        logger.debug(
            "worker %d (pid %s) has taken over from worker %d after %.0f ms",
            member.index,
            member.pid,
            now.old.index,
            now.ready_seconds * 1000,
        )
        if now.start_first and not now.old_is_gone:
            self._drain(now)

    def _learn_start(self, owned_bytes: int) -> None:
        self.start_bytes = max(_ASSUMED_START_BYTES, owned_bytes + owned_bytes // 2)

    def heard_end(self, member: Member) -> None:
        """Note that a worker has ended."""
        self._bounds.pop(member.index, None)
        self._startup_bytes.pop(member.index, None)
        self._wishes.pop(member, None)
        now = self._now
        if now is None:
            return
        if member is now.old:
            now.old_is_gone = True
        elif member is now.successor:
            # It has served and died; the crew starts another, which takes over instead.
            now.successor = None
        elif not (member.is_ready or now.old.is_leaving or now.old_is_gone):
            self._give_up_unless_another_starts(now)

    def _give_up_unless_another_starts(self, now: _Replacement) -> None:
        if any(not member.is_ready for member in self._crew.members.values()):
            return
        logger.error(
            "worker %d was to be recycled, since %s; no successor came up, so it goes on",
            now.old.index,
            _WORDS[now.reason],
        )
        now.old.is_replaced = False
        if now.reason in (Reason.NEW_CODE, Reason.ASKED):
            # Or it would be tried again and again; whoever wanted it asks again.
            self._wishes.clear()
        self._now = None

    def _candidate(
        self,
        member: Member,
        worker: WorkerStatistics,
        situation: Situation,
        leaks: Callable[[int], float],
        collected: Callable[[int], Collected | None],
    ) -> Candidate:
        bounds, after = self._bounds_of(member), collected(member.index)
        startup_bytes = self._startup_bytes.get(member.index, 0)
        unexplained = worker.held_bytes - worker.taken_bytes - startup_bytes
        if after is not None and self._clock() - after.now_seconds <= situation.level_seconds:
            # What a collection would bring back is no reason to recycle.
            unexplained = min(unexplained, after.held_bytes - startup_bytes)
        from_start = max(0, worker.uss_bytes - worker.held_bytes)
        return Candidate(
            index=member.index,
            age_seconds=self._clock() - member.ready_seconds,
            own_bytes=max(worker.uss_bytes, worker.held_bytes),
            unexplained_bytes=max(0, unexplained),
            in_flight=worker.in_flight,
            requests=worker.requests,
            requests_limit=bounds.requests,
            seconds_limit=bounds.seconds,
            leak_bytes_per_second=leaks(member.index),
            collected_bytes=None if after is None else from_start + after.held_bytes,
            wanted=self._wishes.get(member),
        )

    def _bounds_of(self, member: Member) -> _Bounds:
        found = self._bounds.get(member.index)
        if found is None:
            requests, seconds = self._settings.max_requests, self._settings.max_lifetime_seconds
            found = _Bounds(
                requests + round(self._draw(requests * _JITTER_SHARE)) if requests else None,
                seconds + self._draw(seconds * _JITTER_SHARE) if seconds else None,
            )
            self._bounds[member.index] = found
        return found

    def _begin(
        self, chosen: Candidate, reason: Reason, situation: Situation, free_bytes: int
    ) -> None:
        old = self._crew.members[chosen.index]
        start_first = free_bytes >= self.start_bytes + _SPARE_BYTES
        self._now = _Replacement(
            old,
            reason,
            begun_seconds=self._clock(),
            held_bytes=chosen.own_bytes,
            used_bytes=situation.used_bytes,
            has_to_last=self._has_to_last(chosen, reason),
            start_first=start_first,
        )
        logger.debug(
            "recycling worker %d (pid %s, %s of its own): %s; %s",
            old.index,
            old.pid,
            format_bytes(chosen.own_bytes),
            _WORDS[reason],
            "its successor starts first" if start_first else "no room for two, so it drains first",
        )
        if start_first:
            old.is_replaced = True
        else:
            self._drain(self._now)

    def _drain(self, now: _Replacement) -> None:
        now.deadline_seconds = self._clock() + self._drain_seconds
        self._crew.dismiss(now.old)

    def _go_on(self, now: _Replacement, situation: Situation) -> None:
        seconds = self._clock()
        if now.old_is_gone and now.successor is not None:
            self._finish(now, situation)
        elif seconds >= now.deadline_seconds and not now.old_is_gone:
            now.deadline_seconds = float("inf")
            logger.error("worker %d has not finished in time: ending it", now.old.index)
            self._crew.end(now.old, KillReason.RECYCLE_DEADLINE)
        elif now.old_is_gone and seconds - now.begun_seconds > self._drain_seconds + (
            2 * self._start_seconds
        ):
            # The crew goes on trying; there is nobody left to replace.
            logger.error(
                "worker %d has ended to be recycled, since %s, and after %.0f s no successor has "
                "come up: others can be recycled again, and starting one is tried further",
                now.old.index,
                _WORDS[now.reason],
                seconds - now.begun_seconds,
            )
            self._now = None

    def _finish(self, now: _Replacement, situation: Situation) -> None:
        assert now.successor is not None
        self._now = None
        header = self._page.header
        header.recycles += 1
        fresh = self._page.slots[now.successor.index]
        owned = max(fresh.uss_bytes, 0)
        self._learn_start(owned)
        freed = max(0, now.held_bytes - owned)
        header.recycled_bytes += freed
        self._tell(now, now.successor, freed)
        if now.reason.is_for_memory:
            self._account(now, freed, situation)

    def _tell(self, now: _Replacement, successor: Member, freed_bytes: int) -> None:
        order = "" if now.start_first else " (no room for two, so the old one drained first)"
        logger.info(
            "worker %d (pid %s, %s of its own) is recycled: %s; worker %d was ready after "
            "%.0f ms%s, %s came free",
            now.old.index,
            now.old.pid,
            format_bytes(now.held_bytes),
            _WORDS[now.reason],
            successor.index,
            now.ready_seconds * 1000,
            order,
            format_bytes(freed_bytes),
            extra={
                "fields": {
                    "reason": now.reason.name.lower(),
                    "ready_seconds": round(now.ready_seconds, 4),
                    "freed_mb": in_mb(freed_bytes),
                }
            },
        )

    def _account(self, now: _Replacement, freed_bytes: int, situation: Situation) -> None:
        before, seconds, trial = self._history, self._clock(), None
        if now.has_to_last:
            trial = Trial(now.reason, now.used_bytes, freed_bytes, seconds + LASTING_SECONDS)
        self._history = after_recycle(
            self._history,
            freed_bytes=freed_bytes,
            held_bytes=now.held_bytes,
            limit_bytes=situation.limit_bytes,
            now_seconds=seconds,
            trial=trial,
        )
        if self._history.given_up_until_seconds != before.given_up_until_seconds:
            self._give_up("recycling workers has not brought memory back", situation)

    def _has_to_last(self, chosen: Candidate, reason: Reason) -> bool:
        """Return whether the relief counts only if it lasts.

        What a request has left behind that ran out of memory has to go in any case, where there is
        no worker that could be given up for it.
        """
        if chosen.leak_bytes_per_second or (reason is Reason.NOT_BACK and self._crew.size == 1):
            return False
        return reason.has_to_last

    def _still_helps(self, chosen: Candidate, reason: Reason, situation: Situation) -> bool:
        """Judge the last recycle by the next one that is called for; return whether to do that."""
        if chosen.leak_bytes_per_second:
            return True
        before = self._history
        self._history = before_recycle(
            before, reason, used_bytes=situation.used_bytes, now_seconds=self._clock()
        )
        if self._history.given_up_until_seconds == before.given_up_until_seconds:
            return True
        what = f"was in use again within {LASTING_SECONDS:g} s"
        self._give_up(f"what recycling workers brought back {what}", situation)
        return False

    def _give_up(self, why: str, situation: Situation) -> None:
        text = (
            f"{why} {MOST_WITHOUT_RELIEF} times in a row: "
            f"it is given up for {GIVEN_UP_SECONDS / 60:g} minutes"
        )
        # While memory is not short, one less would serve less and help nobody.
        if self._crew.size > 1 and situation.level is not Level.OK:
            self._crew.resize(self._crew.size - 1)
            oldest = min(self._crew.serving(), key=lambda each: each.ready_seconds, default=None)
            if oldest is not None:
                self._crew.dismiss(oldest)
            text += (
                f", and the server goes on with {self._crew.size} worker(s) instead of "
                f"{self._page.header.planned_workers}, until SIGHUP or a restart; give it more "
                "memory, or fewer workers"
            )
        logger.error("%s", text)
        self._alert(
            RECYCLING_GAVE_UP,
            text,
            {"workers": self._crew.size, "planned_workers": self._page.header.planned_workers},
        )

    def _restore(self) -> None:
        """Have as many workers as were planned, and recycle them for memory, as at the start."""
        planned = self._page.header.planned_workers
        if planned > self._crew.size:
            logger.info("there are %d worker(s) again, as planned", planned)
            self._crew.resize(planned)
        self._history = History()
