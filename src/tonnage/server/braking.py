"""The brake, applied: processes looked for, stopped, and let go on or ended.

Decisions are :mod:`tonnage.governor.brake`'s. At most one process is stopped at a time. The
processes that the application starts are known by a census taken every second, so that in the
moment of danger their growth is the difference to that.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tonnage.governor.brake import (
    LEAST_OUTSIDE_BYTES,
    Danger,
    Mover,
    Then,
    after_stop,
    danger,
    victim,
)
from tonnage.governor.fuse import Growth
from tonnage.governor.statistics import WorkerState
from tonnage.host import reins
from tonnage.host.processes import Statm, age_seconds, command_name, parent_pid
from tonnage.server.facts import Kill, KillReason, Program
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tonnage.governor.page import SharedPage
    from tonnage.server.fuses import Fuses
    from tonnage.server.watch import Look, Reading, Watch

logger = logging.getLogger("tonnage.supervisor")

#: How often the other processes of ours are looked at while all is well.
CENSUS_SECONDS: Final = 1.0
# At most so many of them are known; the kernel lists the oldest first.
_MOST_OTHERS: Final = 256
# Generations between a worker and a program that it has started.
_DEEPEST: Final = 32


@dataclass(frozen=True, slots=True)
class _Followed:
    """A worker's growth, in its private memory and in what it shares."""

    pid: int
    private: Growth
    shared: Growth


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that was ended, and the slot of the worker that had started it, where known."""

    program: Program
    worker: int | None
    kill: Kill


@dataclass(slots=True)
class Stopped:
    """The process that is stopped just now."""

    mover: Mover
    since_seconds: float
    danger: Danger
    free_bytes: int
    grown_bytes: int

    def as_kill(self) -> Kill:
        """Return the figures for the report on its end."""
        return Kill(
            KillReason.BRAKE,
            grown_bytes=self.grown_bytes,
            grown_seconds=self.grown_bytes / max(self.mover.bytes_per_second, 1.0),
            room_seconds=self.danger.seconds,
        )


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
        self._page = page
        self._watch = watch
        self._fuses = fuses
        self._others = others
        self._shrink = shrink
        self._clock = clock
        self._used: Growth | None = None
        # Of that, what is not the workers' own.
        self._outside: Growth | None = None
        # As many as there are workers.
        self._workers: dict[int, _Followed] = {}
        # At most _MOST_OTHERS: resident bytes at the last census, and when that was.
        self._census: dict[int, int] = {}
        self._census_seconds = clock()
        self.stopped: Stopped | None = None
        # Who was ended last, for the report on that death.
        self.killed: tuple[int, Kill] | None = None
        # The same of a program: nobody else hears of its end.
        self.ended: Ended | None = None

    def act(self, look: Look) -> None:
        """Stop, resume or end a process, as *look* demands."""
        self._follow(look)
        if self.stopped is not None:
            self._decide_on(self.stopped, look)
            return
        if self._danger(look.free_bytes, look.readings) is None:
            return
        # Page cache makes use look larger until the kernel's statistics are read again.
        used_bytes = self._watch.used_bytes_now()
        if used_bytes is None:
            return
        self._note_used(used_bytes, look.readings, self._clock())
        found = self._danger(look.free_bytes + look.used_bytes - used_bytes, look.readings)
        if found is not None:
            self._stop_one(look, found)

    def take_census(self) -> None:
        """Note how large the processes are that the application has started."""
        self._census = _resident(self._others())
        self._census_seconds = self._clock()

    def release(self) -> None:
        """Let a stopped process go on, since the server ends."""
        if self.stopped is not None:
            reins.resume(self.stopped.mover.pid)
            self.stopped = None

    def _follow(self, look: Look) -> None:
        self._note_used(look.used_bytes, look.readings, look.now_seconds)
        for index, reading in look.readings.items():
            followed = self._workers.get(index)
            if followed is None or followed.pid != reading.pid:
                followed = self._workers[index] = _Followed(
                    reading.pid,
                    Growth(reading.private_bytes, look.now_seconds),
                    Growth(reading.shared_bytes, look.now_seconds),
                )
            followed.private.note(reading.private_bytes, look.now_seconds)
            followed.shared.note(reading.shared_bytes, look.now_seconds)
        for index in self._workers.keys() - look.readings.keys():
            del self._workers[index]

    def _note_used(
        self, used_bytes: int, readings: Mapping[int, Reading], now_seconds: float
    ) -> None:
        slots = self._page.slots
        own = sum(each.private_bytes - slots[at].baseline_bytes for at, each in readings.items())
        if self._used is None or self._outside is None:
            self._used = Growth(used_bytes, now_seconds)
            self._outside = Growth(used_bytes - own, now_seconds)
        self._used.note(used_bytes, now_seconds)
        self._outside.note(used_bytes - own, now_seconds)

    def _danger(self, free_bytes: int, readings: Mapping[int, Reading]) -> Danger | None:
        assert self._used is not None
        assert self._outside is not None
        outside = self._outside
        return danger(
            free_bytes,
            self._used.bytes_per_second,
            outside.bytes_per_second if outside.grown_bytes >= LEAST_OUTSIDE_BYTES else 0.0,
            self._watch.floor_bytes,
            self._movers(readings),
        )

    def _movers(self, readings: Mapping[int, Reading]) -> list[Mover]:
        return [
            Mover(
                reading.pid,
                index,
                self._workers[index].private.bytes_per_second,
                self._fuses.room_bytes(index),
                self._excess_bytes(index, reading),
            )
            for index, reading in readings.items()
            # One that starts has promised nothing, and is not to be stopped while it forks.
            if self._page.slots[index].state != WorkerState.STARTING
        ]

    def _excess_bytes(self, index: int, reading: Reading) -> int:
        """Return what a worker's requests have taken beyond what they were granted.

        As far as it has told itself, and what it has grown by since then.
        """
        slot = self._page.slots[index]
        told_bytes = slot.baseline_bytes + slot.held_bytes
        since = max(0, reading.private_bytes - told_bytes - slot.granted_bytes)
        return slot.overdrawn_bytes + since

    def _stop_one(self, look: Look, found: Danger) -> None:
        assert self._used is not None
        if found.outside:
            movers = [*self._sharing_movers(), *self._other_movers()]
        else:
            movers = self._movers(look.readings)
        chosen = victim(movers, self._used.bytes_per_second)
        if chosen is None or not reins.stop(chosen.pid):
            return
        now = self._clock()
        self.stopped = Stopped(
            chosen,
            now,
            found,
            look.free_bytes,
            self._grown_bytes(chosen, outside=found.outside),
        )
        self._shrink(-1 if chosen.index is None else chosen.index)
        logger.warning(
            "brake: stopped %s, which grows by %s/s; %s free would be gone in %.0f ms",
            *(_name(chosen), format_bytes(chosen.bytes_per_second)),
            *(format_bytes(look.free_bytes), found.seconds * 1000),
        )

    def _grown_bytes(self, chosen: Mover, *, outside: bool) -> int:
        if chosen.index is None:
            now_bytes = _resident([chosen.pid]).get(chosen.pid, 0)
            return max(0, now_bytes - self._census.get(chosen.pid, 0))
        followed = self._workers[chosen.index]
        return (followed.shared if outside else followed.private).grown_bytes

    def _as_now(self, mover: Mover, look: Look) -> Mover:
        if mover.index is None or mover.index not in look.readings:
            return mover
        if mover.bound_bytes is None and self._fuses.room_bytes(mover.index) is not None:
            # Stopped for the shared memory that it fills, which no fuse bounds.
            return mover
        return replace(
            mover,
            bound_bytes=self._fuses.room_bytes(mover.index),
            excess_bytes=self._excess_bytes(mover.index, look.readings[mover.index]),
        )

    def _sharing_movers(self) -> list[Mover]:
        """Return the workers by the shared memory that they fill, which no fuse bounds."""
        return [
            Mover(each.pid, at, each.shared.bytes_per_second, None, each.shared.grown_bytes)
            for at, each in self._workers.items()
            # One that starts maps the files that it needs.
            if self._page.slots[at].state != WorkerState.STARTING
        ]

    def _other_movers(self) -> list[Mover]:
        span = max(self._clock() - self._census_seconds, 0.02)
        return [
            Mover(pid, None, max(0, now - self._census.get(pid, 0)) / span, None)
            for pid, now in _resident(self._others()).items()
        ]

    def _decide_on(self, stopped: Stopped, look: Look) -> None:
        now, mover = self._clock(), stopped.mover
        then = after_stop(
            self._as_now(mover, look),
            stopped_seconds=now - stopped.since_seconds,
            free_bytes=look.free_bytes,
            needed_bytes=max(3 * self._watch.floor_bytes, 2 * stopped.free_bytes),
            floor_bytes=self._watch.floor_bytes,
        )
        if then is Then.WAIT:
            return
        self.stopped = None
        if then is Then.RESUME:
            reins.resume(mover.pid)
            logger.warning(
                "brake: %s goes on after %.0f ms, with %s free",
                *(_name(mover), (now - stopped.since_seconds) * 1000),
                format_bytes(look.free_bytes),
            )
            return
        if mover.index is None:
            # What is to be known of it has to be asked before it is gone.
            program = _program(mover.pid)
            self.ended = Ended(program, self._started_by(mover.pid), stopped.as_kill())
        else:
            self.killed = mover.pid, stopped.as_kill()
        reins.end(mover.pid)
        logger.error(
            "brake: ended %s, which took the last memory: %s free, and nothing else could shrink",
            *(_name(mover), format_bytes(look.free_bytes)),
        )

    def _started_by(self, pid: int) -> int | None:
        """Return the slot of the worker below which process *pid* is; None: below none.

        None also for a program whose parents have all ended: the supervisor has adopted it.
        """
        workers = {slot.pid: slot.index for slot in self._page.live_slots()}
        for _ in range(_DEEPEST):
            try:
                pid = parent_pid(pid)
            except OSError:
                return None
            if pid in workers:
                return workers[pid]
        return None


def _program(pid: int) -> Program:
    try:
        return Program(pid, command_name(pid), age_seconds(pid))
    except OSError:
        return Program(pid, "a program")


def _resident(pids: Iterable[int]) -> dict[int, int]:
    """Return what each process has resident, shared memory included."""
    found: dict[int, int] = {}
    for pid in pids:
        if len(found) >= _MOST_OTHERS:
            break
        try:
            statm = Statm(pid)
        except OSError:
            continue
        try:
            found[pid] = statm.read().resident_bytes
        except OSError:
            continue
        finally:
            statm.close()
    return found


def _name(mover: Mover) -> str:
    if mover.index is None:
        return f"process {mover.pid}, started by the application"
    return f"worker {mover.index} (pid {mover.pid})"
