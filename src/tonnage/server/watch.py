"""The watch: sample, decide, publish.

Reads what is used, decides the level, and publishes both with the ceiling for the workers' own
memory in the shared page. Acting on it is the supervisor's; looking at single workers' PSS, which
is slow, is done here one process at a time.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.budget.sizes import guard_bytes
from tonnage.governor.levels import Level, Marks, Standing, decide
from tonnage.governor.pace import next_look_seconds
from tonnage.governor.statistics import NANOSECONDS
from tonnage.host.counters import MeterError
from tonnage.host.measures import MEASURES
from tonnage.host.processes import Statm, read_rollup
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tonnage.governor.page import SharedPage, Slot
    from tonnage.host.usage import Meter, Usage

logger = logging.getLogger("tonnage.supervisor")

# Between the reading of the total and of the workers, a worker may have allocated; beyond this the
# readings do not belong together and are taken again.
_SKEW_BYTES: Final = 2 * MIB
_SKEW_TRIES: Final = 4
# What is not the workers' own is followed at once upwards and slowly downwards, since a reading
# that is too low lets too much in and one that is too high is corrected by the next.
_FALLING_SHARE: Final = 0.25
# One process a time; with five processes each is looked at every 5 s.
ROLLUP_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one worker holds.

    Attributes:
        pid: the worker.
        private_bytes: its private memory.
        shared_bytes: file pages and shared memory that it has mapped.
        data_bytes: its data, which is address space.
    """

    pid: int
    private_bytes: int
    shared_bytes: int
    data_bytes: int


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: the level and the one before, and each worker by its slot's index."""

    now_seconds: float
    level: Level
    previous: Level
    used_bytes: int
    free_bytes: int
    bytes_per_second: float
    kills: int
    readings: Mapping[int, Reading]
    # What isolated jobs were promised and have not taken yet: it is nobody else's.
    owed_bytes: int = 0


class Watch:
    """The one owner of the level and of the header's figures."""

    def __init__(
        self,
        page: SharedPage,
        meter: Meter,
        marks: Marks,
        ceiling_bytes: int,
        *,
        clock: Callable[[], float],
    ) -> None:
        #: Reads what the processes of isolated jobs hold of their own.
        self.read_jobs: Callable[[], int] = lambda: 0
        self._page = page
        self._clock = clock
        self._standing = Standing()
        self._growth = 0.0
        self._others_bytes: float | None = None
        self._last: tuple[float, int] | None = None
        self._kills_before: int | None = None
        # How many roll-ups there have been: whose turn it is.
        self._rolled_up = 0
        # One open statm for each slot in use.
        self._statms: dict[int, tuple[int, Statm]] = {}
        # The last reading of each, by its slot's index.
        self._readings: dict[int, Reading] = {}
        self.retarget(meter, marks, ceiling_bytes)

    def retarget(self, meter: Meter, marks: Marks, ceiling_bytes: int) -> None:
        """Measure with *meter* against *marks* from now on: at the start, or after a new limit."""
        self.meter, self.marks, self.ceiling_bytes = meter, marks, ceiling_bytes
        header = self._page.header
        header.limit_bytes = marks.limit_bytes
        header.ceiling_bytes = ceiling_bytes
        header.warning_bytes = marks.warning_bytes
        header.critical_bytes = marks.critical_bytes
        header.exhausted_bytes = marks.exhausted_bytes

    def look(self) -> Look | None:
        """Sample, decide and publish; return None where use cannot be read (blind)."""
        try:
            usage, own_bytes = self._sample()
        except MeterError as error:
            if not self._page.header.blind:
                logger.error("memory use cannot be read, no level is kept: %s", error)
            self._page.header.blind = 1
            return None
        now = self._clock()
        previous = self._standing.level
        self._standing = decide(usage.used_bytes, now, self.marks, self._standing)
        self._follow_growth(usage.used_bytes, now)
        self._publish(usage, own_bytes, now, previous)
        return Look(
            now_seconds=now,
            level=self._standing.level,
            previous=previous,
            used_bytes=usage.used_bytes,
            free_bytes=self.marks.limit_bytes - usage.used_bytes,
            bytes_per_second=self._growth,
            kills=self._kills(usage),
            readings=dict(self._readings),
            owed_bytes=max(
                0, self._page.header.jobs_committed_bytes - self._page.header.jobs_held_bytes
            ),
        )

    @property
    def floor_bytes(self) -> int:
        """What the fuses leave free, and where the brake begins."""
        return guard_bytes(self.marks.limit_bytes)

    def used_bytes_now(self) -> int | None:
        """Return what is used, with nothing in it that was read a while ago; None: blind."""
        self.meter.refresh()
        try:
            return self.meter.read().used_bytes
        except MeterError:
            return None

    def take_kills(self) -> int:
        """Return how many processes the kernel has killed; they are not told of again."""
        try:
            return self._kills(self.meter.read())
        except MeterError:
            return 0

    def next_look_seconds(self) -> float:
        """Return how long to wait before the next look."""
        header = self._page.header
        headroom = self.marks.limit_bytes - header.used_bytes
        busy = any(slot.connections for slot in self._page.slots)
        return next_look_seconds(headroom, self._growth, busy=busy)

    def roll_up_next(self, zygote_pid: int | None) -> None:
        """Measure the PSS of one process, in turn: a roll-up takes 6 to 14 ms for 100 MB."""
        slots = self._page.live_slots()
        turn = self._rolled_up % (len(slots) + 2)
        self._rolled_up += 1
        if turn == 0:
            self.roll_up(os.getpid(), None, "supervisor_pss_bytes")
        elif turn > 1:
            self.roll_up(slots[turn - 2].pid, slots[turn - 2])
        elif zygote_pid is not None:
            self.roll_up(zygote_pid, None, "zygote_pss_bytes")

    def roll_up(self, pid: int, slot: Slot | None, field: str = "") -> None:
        """Read the PSS of one process and publish it, in its slot or in the header's *field*."""
        try:
            rollup = read_rollup(pid)
        except (OSError, ValueError):
            return
        if slot is None:
            setattr(self._page.header, field, rollup.pss_bytes)
        elif slot.pid == pid:
            slot.pss_bytes, slot.uss_bytes = rollup.pss_bytes, rollup.uss_bytes
            slot.rolled_up_private_bytes = self._private_bytes(slot)

    def forget(self, index: int) -> None:
        """Close what was open for the worker of slot *index*."""
        self._readings.pop(index, None)
        held = self._statms.pop(index, None)
        if held is not None:
            held[1].close()

    def _sample(self) -> tuple[Usage, int]:
        """Return the use, and of that the workers' and jobs' own bytes, as of the same moment."""
        before = self._own_bytes()
        for _ in range(_SKEW_TRIES):
            usage = self.meter.read()
            after = self._own_bytes()
            if abs(after - before) <= _SKEW_BYTES:
                break
            before = after
        return usage, (before + after) // 2

    def _own_bytes(self) -> int:
        total = self.read_jobs()
        for slot in self._page.slots:
            if slot.pid and slot.baseline_bytes:
                total += self._private_bytes(slot) - slot.baseline_bytes
        return total

    def _private_bytes(self, slot: Slot) -> int:
        pid, statm = self._statms.get(slot.index, (0, None))
        try:
            if statm is None or pid != slot.pid:
                self.forget(slot.index)
                statm = Statm(slot.pid)
                self._statms[slot.index] = (slot.pid, statm)
            sample = statm.read()
        except OSError:
            # It has just ended; its slot is wiped when its end is heard of.
            self._readings.pop(slot.index, None)
            return slot.baseline_bytes
        self._readings[slot.index] = Reading(
            slot.pid, sample.private_bytes, sample.shared_bytes, sample.data_bytes
        )
        return sample.private_bytes

    def _follow_growth(self, used_bytes: int, now: float) -> None:
        if self._last is not None and now > self._last[0]:
            speed = (used_bytes - self._last[1]) / (now - self._last[0])
            # Upwards at once, downwards by and by: a burst is rarely alone.
            self._growth = max(speed, self._growth * 0.8, 0.0)
        self._last = (now, used_bytes)

    def _publish(self, usage: Usage, own_bytes: int, now: float, previous: Level) -> None:
        header = self._page.header
        others = max(0, usage.used_bytes - own_bytes)
        if self._others_bytes is None or others > self._others_bytes:
            self._others_bytes = float(others)
        else:
            self._others_bytes += (others - self._others_bytes) * _FALLING_SHARE
        header.used_bytes = usage.used_bytes
        header.workers_own_bytes = max(0, own_bytes - header.jobs_held_bytes)
        header.raw_bytes = usage.raw_bytes
        header.cache_bytes = usage.cache_bytes
        header.others_bytes = int(self._others_bytes)
        header.workers_ceiling_bytes = self.ceiling_bytes - int(self._others_bytes)
        header.measured_how = MEASURES.index(usage.how)
        header.sampled_nanoseconds = int(now * NANOSECONDS)
        header.blind = 0
        if self._standing.level is not previous or not header.level_since_nanoseconds:
            header.level = self._standing.level
            header.level_since_nanoseconds = int(now * NANOSECONDS)

    def _kills(self, usage: Usage) -> int:
        """Return how many processes the kernel has killed since the last look."""
        before, self._kills_before = self._kills_before, usage.kills
        new = 0 if before is None else max(0, usage.kills - before)
        self._page.header.kernel_kills += new
        return new
