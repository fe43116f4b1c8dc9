"""Reclaims that all workers are asked for: begun, and followed until all have answered.

One at a time: the next takes the place of one that is not over. How far workers shrink and when the
next one is worth it is decided by :mod:`tonnage.governor.reclaim`; whether one is asked again that
has not answered, by :mod:`tonnage.server.asking`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.reclaim import (
    Effort,
    after_reclaim,
    after_recovery,
    describe,
    divide_need,
    need_bytes,
    should_reclaim,
)
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.levels import Level
    from tonnage.governor.page import SharedPage
    from tonnage.governor.reclaim import Reclaimed
    from tonnage.server.asking import Asking
    from tonnage.server.crew import Crew, Member
    from tonnage.server.watch import Watch

logger = logging.getLogger("tonnage.supervisor")

# A worker that has not answered a reclaim by then is stuck in a call, or gone.
_AWAIT_SECONDS: Final = 5.0
# What freed less needs no line of its own.
_WORTH_TELLING_BYTES: Final = 4 * MIB


@dataclass(slots=True)
class Round:
    """A reclaim that workers were asked for, and what has come of it so far."""

    why: str
    begun_seconds: float
    time: str
    # Who has not answered.
    awaited: set[Member]
    # How many were asked.
    asked_count: int
    # Somebody has asked for it, and has not been told what came of it.
    owes_line: bool
    # Not all have answered, and their time is not up.
    is_open: bool
    by: dict[str, int] = field(default_factory=dict)
    workers: list[dict[str, int]] = field(default_factory=list)
    # The longest of any worker.
    cost_seconds: float = 0.0

    @property
    def freed_bytes(self) -> int:
        """What has come free in all workers."""
        return sum(worker["freed_bytes"] for worker in self.workers)

    def heard(self, member: Member, reclaimed: Reclaimed) -> None:
        """Take in the answer of *member*, who is awaited."""
        self.awaited.discard(member)
        self.workers.append({"worker": member.index, "freed_bytes": reclaimed.freed_bytes})
        for name, count in reclaimed.by.items():
            self.by[name] = self.by.get(name, 0) + count
        self.cost_seconds = max(self.cost_seconds, reclaimed.cost_seconds)

    def as_json(self) -> dict[str, Any]:
        """Return it for people and machines."""
        return {
            "state": "running" if self.is_open and self.awaited else "done",
            "time": self.time,
            "why": self.why,
            "freed_bytes": self.freed_bytes,
            "by": self.by,
            "workers": self.workers,
            "unanswered": sorted(each.index for each in self.awaited),
        }


class Rounds:
    """The last round. Everything it works with is handed in."""

    def __init__(
        self,
        page: SharedPage,
        crew: Crew,
        watch: Watch,
        asking: Asking,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.last: Round | None = None
        self._page = page
        self._crew = crew
        self._watch = watch
        self._asking = asking
        self._clock = clock
        self._effort = Effort()

    def begin(self, level: Level, why: str, *, spare: int = -1, is_asked: bool = False) -> int:
        """Ask every worker but that of slot *spare* to give memory back; return how many.

        *is_asked*: by somebody, who is told in the log what came of it, however little.
        """
        if self.last is not None:
            _tell(self.last, "another reclaim has followed")
        members = [each for each in self._crew.serving() if each.index != spare]
        need = need_bytes(self._page.header.used_bytes, self._watch.marks, level)
        held = [self._page.slots[each.index].consumers_bytes for each in members]
        asked = {
            member
            for member, part in zip(members, divide_need(need, held), strict=True)
            if self._asking.ask(member, level, part, why)
        }
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.last = Round(why, self._clock(), now, asked, len(asked), is_asked, bool(asked))
        if not asked:
            _tell(self.last, "")
        return len(asked)

    def begin_if_due(self, level: Level) -> None:
        """Begin one if *level* calls for it, and it is time again."""
        if not self._is_awaiting() and should_reclaim(level, self._clock(), self._effort):
            self.begin(level, level.name)

    def heard(self, member: Member, reclaimed: Reclaimed) -> None:
        """Take in what came of a reclaim in one worker."""
        header, last = self._page.header, self.last
        self._asking.settle(member)
        header.reclaims += 1
        header.reclaimed_bytes += max(0, reclaimed.freed_bytes)
        if last is None or member not in last.awaited:
            # A worker's own, at its regular time, on suspicion of a leak, or of the round before.
            _write_reclaimed(reclaimed, member.index, reclaimed.why)
            return
        last.heard(member, reclaimed)
        _write_reclaimed(reclaimed, member.index, last.why)
        if not last.awaited:
            self._end(last, "")

    def end_overdue(self) -> None:
        """End the last one, if nobody who has not answered is waited for any more."""
        if self.last is not None and not self._is_awaiting():
            self._end(self.last, "the others do not answer")

    def on_level(self, level: Level) -> None:
        """Note that the level has become *level*: at OK, what did not help before may again."""
        self._effort = after_recovery(self._effort, level)

    def forget(self, member: Member) -> None:
        """Await nothing of a worker that has ended."""
        self._asking.settle(member)
        if self.last is not None:
            self.last.awaited.discard(member)

    def _is_awaiting(self) -> bool:
        last = self.last
        if last is None or not last.awaited:
            return False
        return self._clock() - last.begun_seconds < _AWAIT_SECONDS

    def _end(self, last: Round, why_not_all: str) -> None:
        """Note what *last* has brought by now, unless that was done."""
        _tell(last, why_not_all)
        if not last.is_open:
            return
        last.is_open = False
        # Of all together: what one worker frees is little of what all use.
        self._effort = after_reclaim(
            self._effort,
            used_bytes=self._page.header.used_bytes,
            freed_bytes=last.freed_bytes,
            cost_seconds=last.cost_seconds,
            now_seconds=self._clock(),
        )


def _tell(last: Round, why_not_all: str) -> None:
    """Log what came of *last*, if somebody has asked for it, unless that was done."""
    if not last.owes_line:
        return
    last.owes_line = False
    if not last.asked_count:
        logger.info("reclaimed nothing (%s): no worker serves just now", last.why)
        return
    answered = len(last.workers)
    logger.info(
        "reclaimed %s from %s worker(s) (%s)%s",
        format_bytes(last.freed_bytes) if last.freed_bytes > 0 else "nothing",
        answered if answered == last.asked_count else f"{answered} of {last.asked_count}",
        last.why,
        f": {why_not_all}" if last.awaited else "",
    )


def _write_reclaimed(reclaimed: Reclaimed, index: int, why: str) -> None:
    """Log what came of a reclaim; at INFO if it was worth it, as "nothing" comes often."""
    write = logger.info if reclaimed.freed_bytes >= _WORTH_TELLING_BYTES else logger.debug
    write("%s (%s)", describe(reclaimed, index), why)
