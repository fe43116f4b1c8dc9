"""What is done about memory after each look: the one place where the measures meet.

    look → reclaim → recycle → tell

Each measure decides for itself and is kept in a module of its own; this says in which order they
act, what they are given, and what people are told. Neither samples nor holds anybody
(:mod:`tonnage.server.hold`), nor waits (:mod:`tonnage.server.supervisor`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.levels import Level
from tonnage.governor.recycle import Situation
from tonnage.governor.statistics import NANOSECONDS, read_statistics
from tonnage.ops.alertpolicy import CRITICAL, RESOLVED
from tonnage.server.recycling import Collected
from tonnage.server.samples import Sample
from tonnage.units import format_bytes, in_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.governor.reclaim import Reclaimed
    from tonnage.governor.statistics import JobStatistics
    from tonnage.server.asking import Asking
    from tonnage.server.crew import Crew, Member
    from tonnage.server.leaks.following import Leaking
    from tonnage.server.postmortem.blackbox import BlackBox
    from tonnage.server.recycling import Recycler
    from tonnage.server.rounds import Rounds
    from tonnage.server.watch import Look, Watch

logger = logging.getLogger("tonnage.supervisor")

# A worker above --recycle-above is asked for a collection this often.
_ABOVE_SECONDS: Final = 5.0
# Recycling is in no hurry.
_RECYCLE_SECONDS: Final = 0.1
_NO_HURRY: Final = float("inf")


@dataclass(slots=True)
class _Trouble:
    """Since when the level has not been OK, and what had come back until then."""

    since_seconds: float
    reclaimed_bytes: int
    recycled_bytes: int
    # Reclaims that had been answered.
    reclaims: int
    # The most that has been in use since.
    highest_bytes: int


class Keeper:
    """Keeps memory below the limit. Everything it works with is handed in."""

    def __init__(
        self,
        *,
        page: SharedPage,
        crew: Crew,
        watch: Watch,
        recycler: Recycler,
        leaking: Leaking,
        rounds: Rounds,
        asking: Asking,
        box: BlackBox,
        recycle_above_bytes: int | None,
        alert: Callable[[str, str, dict[str, Any]], object],
        clock: Callable[[], float],
    ) -> None:
        self.recycler = recycler
        self.leaking = leaking
        self.rounds = rounds
        self._page = page
        self._crew = crew
        self._watch = watch
        self._asking = asking
        self._box = box
        self._recycle_above_bytes = recycle_above_bytes
        self._above_applies = True
        self._alert = alert
        self._clock = clock
        self._trouble: _Trouble | None = None
        self._recycle_at = 0.0
        # By slot: what came of the last collection.
        self._collected: dict[int, Collected] = {}

    def next_look_seconds(self) -> float:
        """Return when the next look is due at the latest, for what is under way."""
        return _RECYCLE_SECONDS if self.recycler.is_busy else _NO_HURRY

    def act(self, look: Look) -> None:
        """Do what *look* demands."""
        self._note(look)
        self.rounds.end_overdue()
        if self._trouble is not None:
            self._trouble.highest_bytes = max(self._trouble.highest_bytes, look.used_bytes)
        if look.level is not look.previous:
            self._on_level(look)
        else:
            self.rounds.begin_if_due(look.level)
        if look.now_seconds >= self._recycle_at:
            self._recycle_at = look.now_seconds + _RECYCLE_SECONDS
            self.leaking.glance(look.readings, self._room_bytes())
            self._recycle(look)

    def on_reclaimed(self, member: Member, reclaimed: Reclaimed) -> None:
        """Take in what came of a reclaim in one worker."""
        self._collected[member.index] = Collected(self._clock(), reclaimed.own_bytes)
        self.leaking.collected(member, reclaimed, self._room_bytes())
        self.rounds.heard(member, reclaimed)

    def forget(self, member: Member) -> None:
        """Drop what is known of a worker that has ended."""
        self._collected.pop(member.index, None)
        self.rounds.forget(member)
        self.leaking.forget(member)
        self.recycler.heard_end(member)

    def log_memory(self) -> None:
        """Log where memory stands."""
        now = read_statistics(self._page, int(self._clock() * NANOSECONDS))
        logger.info(
            "memory %s of %s (%s), %d worker(s), %d in flight, %d waiting%s",
            format_bytes(now.used_bytes),
            format_bytes(now.limit_bytes),
            now.level.name,
            now.ready_workers,
            sum(worker.in_flight for worker in now.workers),
            sum(worker.waiting for worker in now.workers),
            _told_jobs(now.jobs),
            extra={"fields": self._figures(now.used_bytes, now.level)},
        )

    def _figures(self, used_bytes: int, level: Level) -> dict[str, Any]:
        """Return the figures that stand beside a line of the log."""
        return {
            "used_mb": in_mb(used_bytes),
            "limit_mb": in_mb(self._watch.marks.limit_bytes),
            "cache_mb": in_mb(self._page.header.cache_bytes),
            "memory_level": level.name,
        }

    def _note(self, look: Look) -> None:
        header, slots = self._page.header, self._page.slots
        self._box.note(
            Sample(
                look.now_seconds,
                look.used_bytes,
                header.raw_bytes,
                header.cache_bytes,
                look.level,
                tuple(
                    look.readings[slot.index].private_bytes if slot.index in look.readings else 0
                    for slot in slots
                ),
            )
        )

    # Levels.

    def _on_level(self, look: Look) -> None:
        header, level = self._page.header, look.level
        write = logger.warning if level > Level.WARNING else logger.info
        write(
            "memory %s -> %s: %s of %s",
            look.previous.name,
            level.name,
            format_bytes(look.used_bytes),
            format_bytes(self._watch.marks.limit_bytes),
            extra={"fields": self._figures(look.used_bytes, level)},
        )
        self.rounds.on_level(level)
        if self._trouble is None and level is not Level.OK:
            self._trouble = _Trouble(
                look.now_seconds,
                header.reclaimed_bytes,
                header.recycled_bytes,
                header.reclaims,
                look.used_bytes,
            )
        if level > look.previous:
            self._on_worse(look)
        elif level is Level.OK and self._trouble is not None:
            self._on_recovered(look, self._trouble)

    def _on_worse(self, look: Look) -> None:
        # Without regard to the pause: what did not help at the last level may at this one.
        self.rounds.begin(look.level, look.level.name)
        if look.level >= Level.CRITICAL:
            self._alert(
                CRITICAL,
                f"memory is {look.level.name}: {format_bytes(look.used_bytes)} of "
                f"{format_bytes(self._watch.marks.limit_bytes)} are used",
                self._alert_fields(look),
            )

    def _on_recovered(self, look: Look, trouble: _Trouble) -> None:
        header = self._page.header
        self._trouble = None
        reclaimed = header.reclaimed_bytes - trouble.reclaimed_bytes
        recycled = header.recycled_bytes - trouble.recycled_bytes
        fallen = max(0, trouble.highest_bytes - look.used_bytes)
        text = (
            f"memory is OK again after {look.now_seconds - trouble.since_seconds:.1f} s, "
            f"{format_bytes(fallen)} below its highest{_told_fall(fallen, reclaimed, recycled)}"
        )
        logger.info("%s", text, extra={"fields": self._figures(look.used_bytes, look.level)})
        self._alert(RESOLVED, text, self._alert_fields(look))

    def _alert_fields(self, look: Look) -> dict[str, Any]:
        return {
            "level": look.level.name,
            "used_bytes": look.used_bytes,
            "limit_bytes": self._watch.marks.limit_bytes,
        }

    # Recycling.

    def _recycle(self, look: Look) -> None:
        header = self._page.header
        above = self._above_bytes()
        if above is not None:
            self._check_above(above)
        since = header.level_since_nanoseconds / NANOSECONDS
        self.recycler.act(
            Situation(
                level=look.level,
                level_seconds=look.now_seconds - since,
                limit_bytes=self._watch.marks.limit_bytes,
                used_bytes=look.used_bytes,
                room_bytes=self._own_room_bytes(),
                reclaimed=self._trouble is not None and header.reclaims > self._trouble.reclaims,
                recycle_above_bytes=above,
            ),
            look.free_bytes,
            leaks=self.leaking.bytes_per_second,
            collected=self._collected.get,
            spared=self.leaking.tracing.traced if look.level < Level.CRITICAL else None,
        )

    def _own_room_bytes(self) -> int:
        """Return what each worker may own before the level becomes WARNING."""
        room = self._watch.marks.warning_bytes - self._page.header.others_bytes
        return max(0, room) // max(1, self._crew.size)

    def _room_bytes(self) -> int:
        """Return what each worker may still grow by before the level becomes WARNING."""
        room = self._watch.marks.warning_bytes - self._page.header.used_bytes
        return max(0, room) // max(1, self._crew.size)

    def _above_bytes(self) -> int | None:
        """Return ``--recycle-above``; None also where a fresh worker is no smaller than that.

        The last one that became ready counts: new code may need less, or more.
        """
        above, fresh = self._recycle_above_bytes, self.recycler.fresh_bytes
        if above is None:
            return None
        applies = above > fresh
        if applies is not self._above_applies:
            self._above_applies = applies
            write, how = (
                (logger.info, "is applied again") if applies else (logger.warning, "is not applied")
            )
            write(
                "--recycle-above %s %s: a fresh worker has %s of its own%s",
                format_bytes(above),
                how,
                format_bytes(fresh),
                "" if applies else " already",
            )
        return above if applies else None

    def _check_above(self, above_bytes: int) -> None:
        """Ask workers above ``--recycle-above`` for a collection: only what is left then counts."""
        for member in self._crew.serving():
            slot, last = self._page.slots[member.index], self._collected.get(member.index)
            asked = last is not None and self._clock() - last.now_seconds < _ABOVE_SECONDS
            if not asked and max(slot.uss_bytes, slot.held_bytes - slot.taken_bytes) > above_bytes:
                self._asking.ask(member, Level.OK, 0, "above --recycle-above")


def _told_fall(fallen_bytes: int, reclaimed_bytes: int, recycled_bytes: int) -> str:
    """Return what use fell by, part by part: they add up to *fallen_bytes*."""
    # What nobody had to bring back: it went with the requests, or processes, that held it. Less
    # than nothing: since its highest, more was taken anew than that.
    ended_bytes = fallen_bytes - reclaimed_bytes - recycled_bytes
    parts = (
        (ended_bytes, "as requests or processes ended"),
        (reclaimed_bytes, "by reclaim"),
        (recycled_bytes, "by recycling"),
    )
    told = [(format_bytes(count), how) for count, how in parts if count > 0]
    if not told:
        return ""
    (first, how), *others = told
    text = f": {first} came back {how}" + "".join(f", {count} {how}" for count, how in others)
    if ended_bytes < 0:
        text += f", and {format_bytes(-ended_bytes)} were taken anew meanwhile"
    return text


def _told_jobs(jobs: JobStatistics) -> str:
    """Return the log line's part on isolated jobs, nothing where there has been none."""
    if not jobs.started and not jobs.waiting:
        return ""
    held = format_bytes(jobs.held_bytes)
    return f", jobs: {jobs.running} run, {jobs.waiting} wait, {jobs.idle} idle, {held}"
