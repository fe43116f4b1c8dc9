"""Who grows, and how fast: all that is used, and each worker in private and in shared memory.

Followed from look to look, for the brake (:mod:`tonnage.server.braking`). The programs of the
application are :mod:`tonnage.server.programs`'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tonnage.governor.brake import LEAST_OUTSIDE_BYTES, Mover
from tonnage.governor.fuse import Growth
from tonnage.governor.statistics import WorkerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tonnage.governor.page import SharedPage
    from tonnage.server.fuses import Fuses
    from tonnage.server.watch import Look, Reading


@dataclass(frozen=True, slots=True)
class _Followed:
    """A worker's growth, in its private memory and in what it shares."""

    pid: int
    private: Growth
    shared: Growth


class Growing:
    """How fast each worker and all together grow; as many as there are workers."""

    def __init__(self, page: SharedPage, fuses: Fuses) -> None:
        self._page = page
        self._fuses = fuses
        self._used: Growth | None = None
        # Of that, what is not the workers' own.
        self._outside: Growth | None = None
        self._workers: dict[int, _Followed] = {}

    @property
    def bytes_per_second(self) -> float:
        """How fast all that is used grows, but for isolated jobs."""
        return 0.0 if self._used is None else self._used.bytes_per_second

    @property
    def outside_bytes_per_second(self) -> float:
        """How fast grows what is not the workers' own; 0 where it only trembles."""
        outside = self._outside
        if outside is None or outside.grown_bytes < LEAST_OUTSIDE_BYTES:
            return 0.0
        return outside.bytes_per_second

    def follow(self, look: Look) -> None:
        """Take in what *look* has found."""
        self.note_used(look.used_bytes, look.readings, look.now_seconds)
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

    def note_used(
        self, used_bytes: int, readings: Mapping[int, Reading], now_seconds: float
    ) -> None:
        """Take in what is used, also between two looks."""
        slots = self._page.slots
        # What isolated jobs take was promised to them, and is nobody's growth.
        used_bytes -= self._page.header.jobs_held_bytes
        own = sum(each.private_bytes - slots[at].baseline_bytes for at, each in readings.items())
        if self._used is None or self._outside is None:
            self._used = Growth(used_bytes, now_seconds)
            self._outside = Growth(used_bytes - own, now_seconds)
        self._used.note(used_bytes, now_seconds)
        self._outside.note(used_bytes - own, now_seconds)

    def workers(self, readings: Mapping[int, Reading]) -> list[Mover]:
        """Return the workers by their private memory."""
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

    def sharing_workers(self) -> list[Mover]:
        """Return the workers by the shared memory that they fill, which no fuse bounds."""
        return [
            Mover(each.pid, at, each.shared.bytes_per_second, None, each.shared.grown_bytes)
            for at, each in self._workers.items()
            # One that starts maps the files that it needs.
            if self._page.slots[at].state != WorkerState.STARTING
        ]

    def before(self, index: int, *, outside: bool) -> tuple[int, float]:
        """Return the least that this memory of a worker was within a moment, and when it was."""
        followed = self._workers[index]
        growth = followed.shared if outside else followed.private
        return growth.before_bytes, growth.before_seconds

    def memory_bytes(self, index: int, *, outside: bool) -> int:
        """Return what a worker holds in shared (*outside*) or private memory; 0: it has ended."""
        followed = self._workers.get(index)
        if followed is None:
            return 0
        return (followed.shared if outside else followed.private).now_bytes

    def size_bytes(self, index: int) -> int:
        """Return what a worker holds, private and shared; 0: it has ended."""
        followed = self._workers.get(index)
        return 0 if followed is None else followed.private.now_bytes + followed.shared.now_bytes

    def as_now(self, mover: Mover, look: Look) -> Mover:
        """Return *mover* as *look* has found it."""
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

    def _excess_bytes(self, index: int, reading: Reading) -> int:
        """Return what a worker's requests have taken beyond what they were granted.

        As far as it has told itself, and what it has grown by since then.
        """
        slot = self._page.slots[index]
        told_bytes = slot.baseline_bytes + slot.held_bytes
        since = max(0, reading.private_bytes - told_bytes - slot.granted_bytes)
        return slot.overdrawn_bytes + since
