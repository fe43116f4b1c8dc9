"""One worker's entry in the common ledger: what it holds, what it has promised.

The ledger is one slot for each worker in the shared page, written by its owner alone, so there is
no lock. To reserve, a worker first publishes what it would come to, then reads the sum over all
workers, and withdraws if that is over the ceiling. Two workers that reserve at the same moment may
both withdraw and try again; they can never both go over (check-then-write can, and did so a
million times in a test with four processes).

Covers reading the process's own size, publishing it, and the test for room. Does not cover who
asks in which order (:mod:`tonnage.governor.admission`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tonnage.governor.costs import Expectation, promise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.governor.page import SharedPage, Slot

# A share of the ceiling that only small requests may use, so that they pass large ones that wait.
SMALL_SHARE = 0.01


# Of what the allocator kept, this share is taken to be of use: the other holes are too small.
KEPT_SHARE = 0.5
# Arrivals closer together than this count as one moment.
HEAD_START_SECONDS = 0.02
# A worker whose heart has not beaten for so long (it beats ten times a second) is busy elsewhere.
ALIVE_SECONDS = 0.3
_NANOSECONDS = 1_000_000_000


class Expecting(Protocol):
    """A request in flight, as far as the ledger cares."""

    def remaining(self, room_bytes: int) -> Expectation:
        """Return the growth still to come."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What the process holds: its private memory, and of that, freed but kept by the allocator."""

    private_bytes: int
    kept_bytes: int


class Ledger:
    """This worker's slot, and the ceiling that all slots share."""

    def __init__(
        self,
        page: SharedPage,
        slot: Slot,
        read: Callable[[], Holding],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin the entry: what the process holds now, its baseline, is for others to count."""
        self._page = page
        self._slot = slot
        self._read = read
        self._clock = clock
        holding = read()
        slot.baseline_bytes = holding.private_bytes
        # Free room inside pages still shared with the zygote: spending it copies the page, so it
        # is not room.
        self._inherited_kept_bytes = holding.kept_bytes
        slot.committed_bytes = slot.held_bytes = slot.promised_bytes = 0
        slot.kept_bytes = 0

    @property
    def room_bytes(self) -> int:
        """What the workers' requests may come to in all."""
        return self._page.header.workers_ceiling_bytes

    @property
    def level(self) -> int:
        """The current level, as the supervisor published it."""
        return self._page.header.level

    def anyone_in_flight(self) -> bool:
        """Return whether any worker has an admitted request that is not a small one."""
        return any(slot.in_flight for slot in self._page.slots)

    def waiting_elsewhere(self) -> int:
        """Return how many requests wait in the other workers: the queue's bound is everybody's."""
        return sum(slot.waiting for slot in self._page.slots if slot is not self._slot)

    def announce_head(self, arrived_seconds: float | None) -> None:
        """Publish since when our first large request has waited for room; None: none does."""
        self._slot.head_nanoseconds = int((arrived_seconds or 0) * _NANOSECONDS)

    def is_behind(self, arrived_seconds: float) -> bool:
        """Return whether a large request of another worker has waited longer than since then.

        Whoever frees memory would otherwise be the first to take it again, and the other workers'
        queues would starve. A worker that is stuck in a call is not waited for.
        """
        before = int((arrived_seconds - HEAD_START_SECONDS) * _NANOSECONDS)
        alive = int((self._clock() - ALIVE_SECONDS) * _NANOSECONDS)
        return any(
            0 < slot.head_nanoseconds < before and slot.heartbeat_nanoseconds > alive
            for slot in self._page.slots
            if slot is not self._slot
        )

    def update(self, in_flight: Iterable[Expecting]) -> int:
        """Measure and publish what this worker comes to; return what all workers come to."""
        return self._publish(promise([each.remaining(self.room_bytes) for each in in_flight]))

    def reserve(self, request: Expecting, in_flight: Iterable[Expecting], *, small: bool) -> bool:
        """Publish what this worker comes to with *request*; withdraw and return False if over."""
        room = self.room_bytes
        expected = [each.remaining(room) for each in in_flight]
        without = promise(expected)
        expected.append(request.remaining(room))
        if self._publish(promise(expected)) <= self.ceiling_bytes(small=small):
            return True
        self._publish(without, measure=False)
        return False

    def ceiling_bytes(self, *, small: bool) -> int:
        """Return what all workers may come to: large requests leave a share to small ones."""
        header = self._page.header
        set_aside = 0 if small else int(header.ceiling_bytes * SMALL_SHARE)
        return header.workers_ceiling_bytes - set_aside

    def _publish(self, promised_bytes: int, *, measure: bool = True) -> int:
        slot = self._slot
        if measure:
            holding = self._read()
            slot.held_bytes = holding.private_bytes - slot.baseline_bytes
            slot.kept_bytes = max(0, holding.kept_bytes - self._inherited_kept_bytes)
        slot.promised_bytes = promised_bytes
        # What the allocator kept is spent again before the process grows.
        spendable = int(slot.kept_bytes * KEPT_SHARE)
        slot.committed_bytes = slot.held_bytes + max(0, promised_bytes - spendable)
        return self._page.committed_bytes()
