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
from tonnage.governor.levels import Level

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
# Memory that is full for so long without a request in flight is not made free by waiting.
FULL_SECONDS = 5.0
_NANOSECONDS = 1_000_000_000


class Expecting(Protocol):
    """A request in flight, as far as the ledger cares."""

    @property
    def granted_bytes(self) -> float:
        """What it was expected to take when it was let in."""

    def remaining(self, room_bytes: int) -> Expectation:
        """Return the growth still to come."""

    def taken_bytes(self) -> float:
        """Return what it has taken, as far as that is measured."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What the process holds.

    Attributes:
        private_bytes: its private memory.
        kept_bytes: of that, freed but kept by the allocator.
        data_bytes: its data, which is address space.
    """

    private_bytes: int
    kept_bytes: int
    data_bytes: int = 0


class Ledger:
    """This worker's slot, and the ceiling that all slots share."""

    def __init__(
        self,
        page: SharedPage,
        slot: Slot,
        read: Callable[[], Holding],
        clock: Callable[[], float] = time.monotonic,
        *,
        most_bytes: int | None = None,
        on_grant: Callable[[], object] = lambda: None,
    ) -> None:
        """Begin the entry: what the process holds now, its baseline, is for others to count.

        Args:
            page: the shared page.
            slot: this worker's slot.
            read: what this process holds now.
            clock: monotonic seconds.
            most_bytes: what this process may hold in all; None: only the common ceiling counts.
            on_grant: called when a request was let in and has not begun.
        """
        self._page = page
        self._slot = slot
        self._read = read
        self._clock = clock
        holding = read()
        slot.baseline_bytes = holding.private_bytes
        self._most_bytes = most_bytes
        self._on_grant = on_grant
        # Free room inside pages still shared with the zygote: spending it copies the page, so it
        # is not room.
        self._inherited_kept_bytes = holding.kept_bytes
        slot.committed_bytes = slot.held_bytes = slot.promised_bytes = 0
        slot.kept_bytes = 0

    @property
    def room_bytes(self) -> int:
        """What the workers' requests may come to in all."""
        return self._page.header.workers_ceiling_bytes

    def now_seconds(self) -> float:
        """Return the time by the ledger's clock."""
        return self._clock()

    @property
    def is_full(self) -> bool:
        """Whether memory is EXHAUSTED just now; the level itself is held for a second longer."""
        header = self._page.header
        return header.level >= Level.EXHAUSTED and header.used_bytes >= header.exhausted_bytes

    @property
    def spare_bytes(self) -> int:
        """What is free below the limit itself, the reserve and all; not less than nothing."""
        return max(0, self._page.header.limit_bytes - self._page.header.used_bytes)

    @property
    def stays_full(self) -> bool:
        """Whether memory has been EXHAUSTED for :data:`FULL_SECONDS`, and is so still."""
        since = self._page.header.level_since_nanoseconds
        return self.is_full and self._clock() * _NANOSECONDS - since >= FULL_SECONDS * _NANOSECONDS

    def anyone_in_flight(self) -> bool:
        """Return whether any worker has an admitted request, or a job runs.

        Their ends make room, so whoever finds none can wait for it.
        """
        if self._page.header.jobs_running:
            return True
        return any(slot.in_flight for slot in self._page.slots)

    def waiting_elsewhere(self) -> int:
        """Return how many requests wait in the other workers: the queue's bound is everybody's."""
        return sum(slot.waiting for slot in self._page.slots if slot is not self._slot)

    def announce_head(self, arrived_seconds: float | None) -> None:
        """Publish since when our first large request has waited for room; None: none does."""
        self._slot.head_nanoseconds = int((arrived_seconds or 0) * _NANOSECONDS)

    def is_behind(self, arrived_seconds: float) -> bool:
        """Return whether a large request of another worker has waited longer than since then.

        Or an isolated job has. Whoever frees memory would otherwise be the first to take it again,
        and the others' queues would starve. A worker that is stuck in a call is not waited for.
        """
        before = int((arrived_seconds - HEAD_START_SECONDS) * _NANOSECONDS)
        if 0 < self._page.header.jobs_head_nanoseconds < before:
            return True
        alive = int((self._clock() - ALIVE_SECONDS) * _NANOSECONDS)
        return any(
            0 < slot.head_nanoseconds < before and slot.heartbeat_nanoseconds > alive
            for slot in self._page.slots
            if slot is not self._slot
        )

    def update(self, in_flight: Iterable[Expecting]) -> int:
        """Measure and publish what this worker comes to; return what all workers come to."""
        expected, owed, overdrawn, taken_in_all = [], 0.0, 0.0, 0.0
        room = self.room_bytes
        for each in in_flight:
            expected.append(each.remaining(room))
            taken = each.taken_bytes()
            taken_in_all += taken
            if taken > each.granted_bytes:
                overdrawn += taken - each.granted_bytes
            else:
                owed += each.granted_bytes - taken
        self._slot.overdrawn_bytes = int(overdrawn)
        self._slot.taken_bytes = max(0, int(taken_in_all))
        return self._publish(promise(expected), owed)

    def reserve(self, request: Expecting, in_flight: Iterable[Expecting], *, small: bool) -> bool:
        """Publish what this worker comes to with *request*; withdraw and return False if over."""
        room, before = self.room_bytes, list(in_flight)
        expected = [each.remaining(room) for each in before]
        owed = sum(max(0.0, each.granted_bytes - each.taken_bytes()) for each in before)
        without = promise(expected)
        expected.append(request.remaining(room))
        total = self._publish(promise(expected), owed + expected[-1].worst_bytes)
        if total <= self.ceiling_bytes(small=small) and self._is_within_own():
            self._on_grant()
            return True
        self._publish(without, owed, measure=False)
        return False

    def left_bytes(self, *, small: bool) -> int:
        """Return what is neither held nor promised."""
        return max(0, self.ceiling_bytes(small=small) - self._page.committed_bytes())

    def _is_within_own(self) -> bool:
        if self._most_bytes is None:
            return True
        return self._slot.baseline_bytes + self._slot.committed_bytes <= self._most_bytes

    def ceiling_bytes(self, *, small: bool) -> int:
        """Return what all workers may come to: large requests leave a share to small ones."""
        header = self._page.header
        set_aside = 0 if small else int(header.ceiling_bytes * SMALL_SHARE)
        return header.workers_ceiling_bytes - set_aside

    def _publish(self, promised_bytes: int, owed_bytes: float, *, measure: bool = True) -> int:
        slot = self._slot
        holding = self._read() if measure else None
        # Not counted from where it is: a MemoryError in between must not turn odd and even round.
        writing = slot.edition | 1
        slot.edition = writing
        if holding is not None:
            slot.held_bytes = holding.private_bytes - slot.baseline_bytes
            slot.kept_bytes = max(0, holding.kept_bytes - self._inherited_kept_bytes)
            slot.data_bytes = holding.data_bytes
        slot.promised_bytes = promised_bytes
        slot.granted_bytes = min(promised_bytes, int(owed_bytes))
        # What the allocator kept is spent again before the process grows.
        spendable = int(slot.kept_bytes * KEPT_SHARE)
        slot.committed_bytes = slot.held_bytes + max(0, promised_bytes - spendable)
        slot.edition = writing + 1
        return self._page.committed_bytes()
