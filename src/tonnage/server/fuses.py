"""The workers' fuses, set: after each look, ``RLIMIT_DATA`` follows what is free.

Where a fuse belongs is decided by :mod:`tonnage.governor.fuse`; this follows each worker's growth
and carries the decision out. A worker sets its first fuse itself when it is ready, so that the
application's startup can load what it needs; until then it has none.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.governor.fuse import LEAST_SLACK_BYTES, SLACK_BYTES, Growth, Strand, fuses
from tonnage.governor.statistics import WorkerState
from tonnage.host.reins import UNLIMITED, limit_data
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tonnage.governor.page import SharedPage, Slot
    from tonnage.server.watch import Reading

logger = logging.getLogger("tonnage.supervisor")

# So much of the stacks of its threads no worker ever touches (see tonnage.host.stacks.Stacks).
_UNTOUCHED_STACK_SHARE: Final = 7 / 8
# What all workers together may find for requests that were promised memory a moment ago, where a
# burst has taken it since: half of what must stay free by default.
_OVERDRAFT_BYTES: Final = 8 * MIB
# Moving a fuse by less is not worth a system call while there is plenty ...
_STEP_BYTES: Final = MIB
# ... that is, while the worker is farther from it than this.
_NEAR_BYTES: Final = 32 * MIB


@dataclass(slots=True)
class _Held:
    """What is known of one worker: its growth, and what it was when it became ready."""

    pid: int
    growth: Growth
    # What is reserved and not touched.
    gap_bytes: int
    ready_data_bytes: int
    ready_private_bytes: int
    # Its data and what it had promised beyond that, when it last told both.
    told: tuple[int, int] = (0, 0)


class Fuses:
    """One fuse for each worker that is ready; at most as many as the page has slots."""

    def __init__(
        self,
        page: SharedPage,
        *,
        worker_memory_bytes: int | None,
        enabled: bool = True,
    ) -> None:
        """Make the holder of all fuses.

        Args:
            page: where the workers' slots are.
            worker_memory_bytes: what a worker may hold of its own, where that is bounded.
            enabled: whether any fuse is set.
        """
        self._page = page
        self._worker_memory_bytes = worker_memory_bytes
        self._enabled = enabled
        self._held: dict[int, _Held] = {}

    def follow(
        self,
        readings: Mapping[int, Reading],
        free_bytes: int,
        now_seconds: float,
        *,
        claimed_bytes: int = 0,
        spared: int | None = None,
    ) -> None:
        """Set every fuse anew.

        Args:
            readings: what each worker holds now, by its slot.
            free_bytes: what all of them together may still allocate.
            now_seconds: now.
            claimed_bytes: what is free besides, and isolated jobs were promised.
            spared: the slot of a worker whose fuse is loosened, and stays so.
        """
        if not self._enabled:
            return
        slots = [
            slot
            for slot in self._page.slots
            if self._take_in(slot, readings, now_seconds) and slot.index != spared
        ]
        strands = [self._strand(slot) for slot in slots]
        wanted = list(zip(slots, strands, fuses(strands, free_bytes, claimed_bytes), strict=True))
        starting = sum(slot.granted_bytes > 0 for slot in slots)
        # Whose fuse falls goes first, so that together they never allow more than is free.
        for slot, strand, fuse_bytes in sorted(
            wanted, key=lambda each: each[2] - each[1].fuse_bytes
        ):
            self._set(slot, strand, max(fuse_bytes, _least(slot, strand, starting)))

    def room_bytes(self, index: int) -> int | None:
        """Return what the worker of slot *index* can still grow by; None: it has no fuse."""
        slot, held = self._page.slots[index], self._held.get(index)
        if held is None or held.pid != slot.pid or not slot.data_limit_bytes:
            return None
        return max(0, slot.data_limit_bytes - held.growth.now_bytes) + held.gap_bytes

    def loosen(self, index: int) -> None:
        """Take the fuse of slot *index* away, as from a process that is traced."""
        slot = self._page.slots[index]
        if slot.pid and limit_data(slot.pid, UNLIMITED):
            slot.data_limit_bytes = 0

    def _take_in(self, slot: Slot, readings: Mapping[int, Reading], now_seconds: float) -> bool:
        """Follow the worker of *slot*; return whether it is to have a fuse."""
        reading = readings.get(slot.index)
        # One that has answered its last request has taken its own away: what it still does, such as
        # ending its thread pool, has to succeed.
        is_done = slot.state == WorkerState.DRAINING and not slot.data_limit_bytes
        if reading is None or slot.state == WorkerState.STARTING or is_done:
            self._held.pop(slot.index, None)
            return False
        held = self._held.get(slot.index)
        if held is None or held.pid != reading.pid:
            held = _Held(
                reading.pid,
                Growth(reading.data_bytes, now_seconds),
                0,
                reading.data_bytes,
                reading.private_bytes,
                (slot.data_bytes, slot.granted_bytes),
            )
            self._held[slot.index] = held
        held.growth.note(reading.data_bytes, now_seconds)
        held.gap_bytes = max(
            0,
            reading.data_bytes
            - reading.private_bytes
            - int(slot.stacks_bytes * _UNTOUCHED_STACK_SHARE),
        )
        return True

    def _strand(self, slot: Slot) -> Strand:
        held = self._held[slot.index]
        edition, told = slot.edition, (slot.data_bytes, slot.granted_bytes)
        if edition == slot.edition and not edition % 2:
            held.told = told
        told_bytes, promised_bytes = held.told
        return Strand(
            data_bytes=held.growth.now_bytes,
            untouched_bytes=held.gap_bytes,
            told_bytes=told_bytes,
            bytes_per_second=held.growth.bytes_per_second,
            promised_bytes=promised_bytes,
            most_bytes=self._most_bytes(held),
            fuse_bytes=slot.data_limit_bytes,
        )

    def _most_bytes(self, held: _Held) -> int | None:
        if self._worker_memory_bytes is None:
            return None
        own = max(0, self._worker_memory_bytes - held.ready_private_bytes)
        return held.ready_data_bytes + own + SLACK_BYTES

    def _set(self, slot: Slot, strand: Strand, fuse_bytes: int) -> None:
        moved = abs(fuse_bytes - strand.fuse_bytes)
        if not moved or (moved < _STEP_BYTES and fuse_bytes - strand.data_bytes > _NEAR_BYTES):
            return
        if slot.data_limit_bytes != strand.fuse_bytes:
            return  # the worker has just raised it for a request: that counts at the next look
        if not limit_data(slot.pid, fuse_bytes):
            return
        slot.data_limit_bytes = fuse_bytes
        # ... and if it was about to, its request is not to meet the lower one.
        needed = slot.data_bytes + slot.granted_bytes + LEAST_SLACK_BYTES
        if slot.granted_bytes > strand.promised_bytes and fuse_bytes < needed:
            limit_data(slot.pid, needed)
            slot.data_limit_bytes = needed


def _least(slot: Slot, strand: Strand, starting: int) -> int:
    """Return how low the fuse may be set while requests that were let in have not begun.

    Where *starting* workers have such, they share what there is for them; the others need none.
    """
    if not slot.granted_bytes:
        return 0
    # The worker may have let the request in since they were counted.
    due = min(slot.granted_bytes + LEAST_SLACK_BYTES, _OVERDRAFT_BYTES // max(1, starting))
    least = slot.data_bytes + due
    return least if strand.most_bytes is None else min(least, strand.most_bytes)
