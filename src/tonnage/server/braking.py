"""The brake, applied: processes stopped, and let go on or ended.

Decisions are :mod:`tonnage.governor.brake`'s, who grows is :mod:`tonnage.server.growing`'s. At most
one is stopped at a time: a worker, or those programs of the application that grow
(:mod:`tonnage.server.programs`). These are stopped together. Where they may go on as on a leash,
they do so one after another, the largest first: that one is the nearest to giving back what it
holds, and together they would grow as fast as there are processors, and leave none of them to the
supervisor. Where one has to go, it is the largest too.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tonnage.governor.brake import (
    LEASH_BYTES_PER_SECOND,
    Danger,
    Then,
    after_stop,
    danger,
    on_leash,
    victim,
)
from tonnage.governor.fuse import MOMENT_SECONDS
from tonnage.host import reins
from tonnage.server.growing import Growing
from tonnage.server.held import Ended, Held, Mark
from tonnage.server.programs import Programs
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tonnage.governor.page import SharedPage
    from tonnage.server.fuses import Fuses
    from tonnage.server.postmortem.facts import Kill
    from tonnage.server.watch import Look, Reading, Watch

logger = logging.getLogger("tonnage.supervisor")

#: How often the programs are looked at while all is well.
CENSUS_SECONDS: Final = 1.0
# The programs are looked at anew where what is free could be gone within this time: only against a
# look that is fresh does it show who grows just now.
_FRESH_SECONDS: Final = 1.0
# Whoever is on a leash and changes by less is quiet.
_STEP_BYTES: Final = MIB
# It takes the kernel some tens of milliseconds to free a large process, and no decision is taken
# on what is free meanwhile; longer, where the process hangs in the kernel, is not waited.
_ENDING_SECONDS: Final = 0.25


class Brake:
    """Stops what is about to use the last memory."""

    def __init__(
        self,
        page: SharedPage,
        watch: Watch,
        fuses: Fuses,
        *,
        others: Callable[[], Iterable[int]],
        shrink: Callable[[int], object],
        clock: Callable[[], float],
    ) -> None:
        """Make a brake that is off.

        Args:
            page: where the workers' slots are.
            watch: to look again, freshly, before anybody is stopped.
            fuses: what bounds the workers.
            others: lists the processes of ours that are neither server nor worker.
            shrink: asks all workers but that of one slot (-1: none) to give memory back.
            clock: monotonic seconds.
        """
        self._watch = watch
        self._growing = Growing(page, fuses)
        self.programs = Programs(page, others=others, clock=clock)
        self._shrink = shrink
        self._clock = clock
        self.stopped: Held | None = None
        # Who goes on, and is looked at all the time.
        self.leashed: Held | None = None
        # Who was ended last, for the report on that death.
        self.killed: tuple[int, Kill] | None = None
        # The same of a program: nobody else hears of its end.
        self.ended: Ended | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is stopped, or on a leash: then looks have to be dense."""
        return self.stopped is not None or self.leashed is not None

    def act(self, look: Look) -> None:
        """Stop, resume or end a process, as *look* demands."""
        self._growing.follow(look)
        if self.stopped is not None:
            self._decide_on(self.stopped, look)
            return
        if self.leashed is not None and self._is_busy_with(self.leashed, look):
            return
        if self._growing.outside_bytes_per_second * _FRESH_SECONDS > look.free_bytes:
            self.programs.scan()
        if self._danger(look.free_bytes, look.readings) is None:
            return
        # Page cache makes use look larger until the kernel's statistics are read again.
        used_bytes = self._watch.used_bytes_now()
        if used_bytes is None:
            return
        self._growing.note_used(used_bytes, look.readings, self._clock())
        found = self._danger(look.free_bytes + look.used_bytes - used_bytes, look.readings)
        if found is not None:
            self._stop_one(look, found)

    def take_census(self) -> None:
        """Look at the programs that the application has started."""
        self.programs.scan()

    def release(self) -> None:
        """Let who is stopped go on, since the server ends."""
        for held in (self.stopped, self.leashed):
            if held is not None:
                held.release()
        self.stopped = self.leashed = None

    def take_killed(self, pid: int | None) -> Kill | None:
        """Hand over why worker process *pid* was ended, once; None: it was not, by us."""
        if self.killed is None or self.killed[0] != pid:
            return None
        (_, kill), self.killed = self.killed, None
        return kill

    def take_ended(self) -> Ended | None:
        """Hand over the program that was ended last, once; None: none was."""
        ended, self.ended = self.ended, None
        return ended

    def _free_bytes_now(self, look: Look) -> int:
        used_bytes = self._watch.used_bytes_now()
        if used_bytes is None:
            return look.free_bytes
        return look.free_bytes + look.used_bytes - used_bytes

    def _danger(self, free_bytes: int, readings: Mapping[int, Reading]) -> Danger | None:
        return danger(
            free_bytes,
            self._growing.bytes_per_second,
            self._growing.outside_bytes_per_second,
            self._watch.floor_bytes,
            self._growing.workers(readings),
        )

    def _stop_one(self, look: Look, found: Danger) -> None:
        if found.outside:
            self.programs.scan()
            together = self.programs.as_mover()
            movers = [*self._growing.sharing_workers(), *([together] if together else ())]
        else:
            movers = self._growing.workers(look.readings)
        chosen = victim(movers, self._growing.bytes_per_second)
        if chosen is None:
            return
        held = Held(chosen, self._clock(), found, look.free_bytes)
        if chosen.index is None:
            self._stop_growing(held)
        elif reins.stop(chosen.pid):
            before = self._growing.before(chosen.index, outside=found.outside)
            held.marks[chosen.pid] = Mark(*before, held.since_seconds)
        if held.marks:
            self._hold(held, look)

    def _hold(self, held: Held, look: Look) -> None:
        self.stopped = held
        self._shrink(-1 if held.mover.index is None else held.mover.index)
        logger.warning(
            "brake: stopped %s, which grows by %s/s; %s free would be gone in %.0f ms",
            held.name,
            format_bytes(held.mover.bytes_per_second),
            format_bytes(look.free_bytes),
            held.danger.seconds * 1000,
        )

    def _stop_growing(self, held: Held) -> None:
        """Stop the programs that grow and are not held yet: some start at this moment.

        Where one is on a leash, they wait for it.
        """
        into = held.waiting if held is self.leashed else held.marks
        for pid in self.programs.growing():
            if pid not in held.marks and pid not in held.waiting and reins.stop(pid):
                into[pid] = Mark(*self.programs.before(pid), self._clock())

    def _drop_gone(self, held: Held) -> None:
        for pids in (held.marks, held.waiting):
            for pid in [pid for pid in pids if pid not in self.programs]:
                reins.resume(pid)  # in case it is there after all, and only no longer listed
                del pids[pid]

    def _size_bytes(self, held: Held) -> int:
        if held.mover.index is None:
            return self.programs.size_bytes(held.marks)
        return self._growing.size_bytes(held.mover.index)

    def _decide_on(self, stopped: Held, look: Look) -> None:
        if stopped.mover.index is None:
            self.programs.scan()
            self._drop_gone(stopped)
            self._stop_growing(stopped)
            if not stopped.marks:
                self.stopped = None
                return
        now = self._clock()
        if stopped.ending is not None:
            if now - stopped.since_seconds < _ENDING_SECONDS and not reins.has_ended(
                stopped.ending
            ):
                return
            stopped.ending = None
        free_bytes = self._free_bytes_now(look)
        then = after_stop(
            self._growing.as_now(stopped.mover, look),
            stopped_seconds=now - stopped.since_seconds,
            free_bytes=free_bytes,
            needed_bytes=max(3 * self._watch.floor_bytes, 2 * stopped.free_bytes),
            floor_bytes=self._watch.floor_bytes,
        )
        if then is Then.WAIT:
            return
        if then is Then.END:
            self._end(stopped, free_bytes)
            return
        self.stopped = None
        goes_on = stopped
        if then is Then.LEASH:
            goes_on = self._next_of(stopped)
            goes_on.size_bytes = self._size_bytes(goes_on)
            goes_on.grown_seconds = goes_on.leashed_seconds = now
            self.leashed = goes_on
        goes_on.resume()
        logger.warning(
            "brake: %s goes on after %.0f ms, with %s free%s",
            goes_on.name,
            (now - stopped.since_seconds) * 1000,
            format_bytes(free_bytes),
            ", on a leash" if then is Then.LEASH else "",
        )

    def _next_of(self, stopped: Held) -> Held:
        """Return who goes on alone: a worker, or the largest of the programs."""
        if stopped.mover.index is not None:
            return replace(stopped)
        pid = self.programs.largest(stopped.marks)
        return stopped.one(pid, LEASH_BYTES_PER_SECOND)

    def _speed(self, leashed: Held, now: float) -> float:
        """Return how fast who is on a leash may be taken to grow: no slower than was seen of it.

        One that others wait for is let off once it is known to be slow.
        """
        mover = leashed.mover
        if mover.index is None and now - leashed.leashed_seconds >= MOMENT_SECONDS:
            return self.programs.bytes_per_second(mover.pid)
        return max(mover.bytes_per_second, self._growing.bytes_per_second)

    def _is_busy_with(self, leashed: Held, look: Look) -> bool:
        """Decide on who is on a leash; return False once it is let off, and nobody is held."""
        now = self._clock()
        self._follow(leashed, now)
        then = on_leash(
            leashed.mover,
            quiet_seconds=now - leashed.grown_seconds,
            free_bytes=look.free_bytes,
            floor_bytes=self._watch.floor_bytes,
        )
        if leashed.mover.index is None and not leashed.marks:
            then = Then.RESUME
        if then is Then.LEASH:
            return True
        self.leashed = None
        if then is Then.STOP:
            self._stop_again(leashed, look, now)
            return True
        if leashed.waiting:
            mover, found = leashed.mover, leashed.danger
            self.stopped = Held(mover, now, found, look.free_bytes, leashed.waiting)
        return self.stopped is not None

    def _follow(self, leashed: Held, now: float) -> None:
        """Take in how large who is on a leash has become, and how fast it grows."""
        if leashed.mover.index is None:
            self.programs.scan()
            self._drop_gone(leashed)
            self._stop_growing(leashed)
        size_bytes = self._size_bytes(leashed)
        if size_bytes >= leashed.size_bytes + _STEP_BYTES:
            leashed.grown_seconds = now
        if abs(size_bytes - leashed.size_bytes) >= _STEP_BYTES:
            leashed.size_bytes = size_bytes
        leashed.mover = replace(leashed.mover, bytes_per_second=self._speed(leashed, now))

    def _stop_again(self, leashed: Held, look: Look, now: float) -> None:
        """Stop who takes the last memory on a leash, together with those that wait."""
        speed = leashed.mover.bytes_per_second
        found = Danger(max(0.0, look.free_bytes / max(speed, 1.0)), leashed.danger.outside)
        held = Held(leashed.mover, now, found, look.free_bytes, leashed.waiting)
        for pid, mark in leashed.marks.items():
            if reins.stop(pid):
                held.marks[pid] = replace(mark, stopped_seconds=now)
        if held.marks:
            self._hold(held, look)

    def _end(self, stopped: Held, free_bytes: int) -> None:
        index, ended = stopped.mover.index, stopped
        if index is None:
            pid = self.programs.largest(stopped.marks)
            size_bytes = self.programs.size_bytes([pid])
            ended = replace(stopped, marks={pid: stopped.marks.pop(pid)})
        else:
            pid = stopped.mover.pid
            size_bytes = self._growing.memory_bytes(index, outside=stopped.danger.outside)
        kill = stopped.as_kill(ended.marks[pid], size_bytes)
        if index is None:
            self.ended = Ended(self.programs.end(pid), kill)
            # The others wait for what comes free.
            stopped.ending, stopped.since_seconds = pid, self._clock()
        else:
            self.killed = pid, kill
            reins.end(pid)
        if index is not None or not stopped.marks:
            self.stopped = None
        logger.error(
            "brake: ended %s, which took the last memory: %s free, and nothing else could shrink",
            ended.name,
            format_bytes(free_bytes),
        )
