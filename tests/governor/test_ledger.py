"""The common ledger: publish first, then read the sum, withdraw if over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tonnage.governor.costs import Expectation
from tonnage.governor.ledger import SMALL_SHARE, Holding, Ledger
from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage
from tonnage.units import MIB


@dataclass
class Process:
    """A process's memory, in MB."""

    private_mb: float = 30.0
    kept_mb: float = 2.0

    def holding(self) -> Holding:
        """Return what the ledger reads."""
        return Holding(int(self.private_mb * MIB), int(self.kept_mb * MIB))


@dataclass(frozen=True)
class Expecting:
    """A request that will take so many MB, was granted them, and has taken some beside."""

    mb: float
    taken_mb: float = 0.0

    def remaining(self, room_bytes: int) -> Expectation:
        """Return them."""
        return Expectation(self.mb * MIB, 0.0, self.mb * MIB)

    @property
    def granted_bytes(self) -> float:
        """All of them."""
        return self.remaining(0).worst_bytes

    def taken_bytes(self) -> float:
        """Return what it has taken: nothing at first."""
        return self.taken_mb * MIB


@pytest.fixture
def page() -> SharedPage:
    """A page with a ceiling of 100 MB."""
    page = SharedPage()
    page.header.workers_ceiling_bytes = page.header.ceiling_bytes = 100 * MIB
    return page


def open_ledger(page: SharedPage, index: int = 0) -> tuple[Ledger, Process]:
    """Return a worker's ledger, and its process."""
    process = Process()
    return Ledger(page, page.slots[index], process.holding), process


def test_what_a_process_holds_at_first_is_its_baseline(page: SharedPage) -> None:
    """Others count that; the ledger counts what comes."""
    slot = page.slots[0]
    slot.committed_bytes = slot.held_bytes = slot.promised_bytes = slot.kept_bytes = 5

    ledger, process = open_ledger(page)
    assert slot.baseline_bytes == 30 * MIB
    assert (slot.committed_bytes, slot.held_bytes) == (0, 0)
    assert (slot.promised_bytes, slot.kept_bytes) == (0, 0)

    process.private_mb += 10
    assert ledger.update([]) == 10 * MIB
    assert slot.held_bytes == 10 * MIB


def test_what_the_allocator_kept_is_spent_before_the_process_grows(page: SharedPage) -> None:
    """So promises count only beyond the half of it; and what is kept is held all the same."""
    ledger, process = open_ledger(page)
    process.private_mb, process.kept_mb = 50, 12

    assert ledger.update([Expecting(4)]) == 20 * MIB
    assert ledger.update([Expecting(8), Expecting(8)]) == 31 * MIB
    assert page.slots[0].kept_bytes == 10 * MIB
    assert page.slots[0].promised_bytes == 16 * MIB


def test_a_process_may_come_to_hold_less_than_at_first(page: SharedPage) -> None:
    """That is room for others."""
    ledger, process = open_ledger(page)
    process.private_mb, process.kept_mb = 25, 0

    assert ledger.update([]) == -5 * MIB
    assert page.slots[0].kept_bytes == 0


@pytest.mark.parametrize(
    ("mb", "small", "fits"),
    [(99, False, True), (99.1, False, False), (99.1, True, True), (100.1, True, False)],
)
def test_large_requests_leave_a_share_to_small_ones(
    page: SharedPage, mb: float, small: bool, fits: bool
) -> None:
    """One percent of the ceiling."""
    ledger, _ = open_ledger(page)

    assert SMALL_SHARE == 0.01
    assert ledger.reserve(Expecting(mb), [], small=small) is fits


def test_a_reservation_that_does_not_fit_is_withdrawn(page: SharedPage) -> None:
    """What is in flight stays promised."""
    ledger, _ = open_ledger(page)
    assert ledger.reserve(Expecting(60), [], small=False)

    assert not ledger.reserve(Expecting(60), [Expecting(60)], small=False)

    assert page.committed_bytes() == page.slots[0].promised_bytes == 60 * MIB


def test_what_was_taken_is_told_apart_from_what_is_owed(page: SharedPage) -> None:
    """What one takes beyond its grant is no part of what the others may take yet."""
    ledger, _ = open_ledger(page)
    slot = page.slots[0]

    ledger.update([Expecting(10, 4), Expecting(10, 3), Expecting(5, 12), Expecting(5, 9)])
    assert slot.taken_bytes == (4 + 3 + 12 + 9) * MIB
    assert slot.overdrawn_bytes == (7 + 4) * MIB
    assert slot.granted_bytes == (6 + 7) * MIB

    assert ledger.reserve(Expecting(20), [Expecting(10, 4), Expecting(5, 12)], small=False)
    assert slot.granted_bytes == (6 + 20) * MIB
    # One that has freed what was there before it.
    ledger.update([Expecting(0, -3)])
    assert (slot.taken_bytes, slot.overdrawn_bytes) == (0, 0)


def test_a_refusal_measures_once(page: SharedPage) -> None:
    """What is withdrawn is what was published, and reading costs system calls."""
    readings = iter([Process().holding()] * 2)
    ledger = Ledger(page, page.slots[0], lambda: next(readings))

    assert not ledger.reserve(Expecting(200), [], small=False)
    assert not list(readings)


def test_an_edition_is_odd_only_while_it_is_written(page: SharedPage) -> None:
    """So a reader knows whether what it has read belongs together; also after one broke off."""
    ledger, _ = open_ledger(page)
    slot, seen = page.slots[0], [page.slots[0].edition]
    for _ in range(3):
        ledger.update([])
        seen.append(slot.edition)
    slot.edition += 1
    ledger.update([])
    seen.append(slot.edition)

    assert not any(edition % 2 for edition in seen)
    assert seen == sorted(set(seen))


def test_all_workers_share_the_ceiling(page: SharedPage) -> None:
    """What one has reserved, the other finds taken."""
    one, _ = open_ledger(page, 0)
    two, _ = open_ledger(page, 1)

    assert one.reserve(Expecting(60), [], small=False)
    assert not two.reserve(Expecting(60), [], small=False)
    one.update([])
    assert two.reserve(Expecting(60), [], small=False)


class Interrupted(SharedPage):
    """A page where, once, something happens between publishing and reading the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None

    def committed_bytes(self) -> int:
        """Return the sum, after what was to happen."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().committed_bytes()


def test_two_that_reserve_at_the_same_moment_cannot_both_go_over() -> None:
    """Both have published before either reads: each sees the other."""
    page = Interrupted()
    page.header.workers_ceiling_bytes = 100 * MIB
    one, _ = open_ledger(page, 0)
    two, _ = open_ledger(page, 1)
    second: list[bool] = []
    page.meanwhile = lambda: second.append(two.reserve(Expecting(60), [], small=False))

    first = one.reserve(Expecting(60), [], small=False)

    assert second == [False]
    assert first
    assert page.committed_bytes() == 60 * MIB


def test_whoever_is_in_flight_in_any_worker_counts(page: SharedPage) -> None:
    """As each worker's slot says."""
    ledger, _ = open_ledger(page)
    assert not ledger.anyone_in_flight()

    page.slots[7].in_flight = 1

    assert ledger.anyone_in_flight()


def test_who_waits_elsewhere_is_counted(page: SharedPage) -> None:
    """Without those who wait here."""
    ledger, _ = open_ledger(page)
    page.slots[0].waiting, page.slots[1].waiting, page.slots[9].waiting = 5, 2, 1

    assert ledger.waiting_elsewhere() == 3


@pytest.mark.parametrize(
    ("head", "beat", "behind"),
    [
        (None, 100.0, False),
        (99.0, 100.0, True),
        (99.0, 99.75, True),
        # Stuck in a call.
        (99.0, 99.6, False),
        # As good as the same moment.
        (99.99, 100.0, False),
        (100.0, 100.0, False),
    ],
)
def test_who_has_waited_longer_elsewhere_comes_first(
    page: SharedPage, head: float | None, beat: float, behind: bool
) -> None:
    """As long as its worker's heart beats."""
    one = Ledger(page, page.slots[0], lambda: Holding(0, 0), lambda: 100.0)
    two = Ledger(page, page.slots[1], lambda: Holding(0, 0), lambda: 100.0)
    page.slots[1].heartbeat_nanoseconds = int(beat * 1e9)
    two.announce_head(head)

    assert one.is_behind(100.0) is behind
    # Nobody is behind itself.
    assert not two.is_behind(1000.0)


@pytest.mark.parametrize(("head", "behind"), [(0.0, False), (99.0, True), (99.99, False)])
def test_a_job_that_has_waited_longer_comes_first(
    page: SharedPage, head: float, behind: bool
) -> None:
    """It waits for the same memory; its owner is the supervisor, which does not get stuck."""
    ledger, _ = open_ledger(page)
    page.header.jobs_head_nanoseconds = int(head * 1e9)

    assert ledger.is_behind(100.0) is behind


@pytest.mark.parametrize(
    ("level", "used_mb", "since_seconds", "is_full", "stays_full"),
    [
        (Level.CRITICAL, 497, 90.0, False, False),
        (Level.EXHAUSTED, 497, 98.0, True, False),
        (Level.EXHAUSTED, 497, 90.0, True, True),
        # The level is held for a moment although memory has come free.
        (Level.EXHAUSTED, 100, 90.0, False, False),
    ],
)
def test_memory_is_full_where_it_is_exhausted_just_now(
    page: SharedPage,
    level: Level,
    used_mb: int,
    since_seconds: float,
    is_full: bool,
    stays_full: bool,
) -> None:
    """It stays full only if that has lasted, so that reclaim and recycling have a chance."""
    ledger = Ledger(page, page.slots[0], lambda: Holding(0, 0), lambda: 100.0)
    header = page.header
    header.level, header.used_bytes, header.exhausted_bytes = level, used_mb * MIB, 496 * MIB
    header.level_since_nanoseconds = int(since_seconds * 1e9)

    assert (ledger.is_full, ledger.stays_full) == (is_full, stays_full)


def test_room_is_what_the_supervisor_published(page: SharedPage) -> None:
    """The ledger has no opinion of its own."""
    ledger, _ = open_ledger(page)
    page.header.workers_ceiling_bytes = 70 * MIB

    assert ledger.room_bytes == 70 * MIB
    assert ledger.ceiling_bytes(small=True) == 70 * MIB
    assert ledger.ceiling_bytes(small=False) == 69 * MIB


@pytest.mark.parametrize(
    ("held_mb", "promised_mb", "small", "left_mb"),
    [(0, 0, False, 99), (0, 0, True, 100), (40, 30, False, 29), (90, 30, False, 0)],
)
def test_what_is_left_is_neither_held_nor_promised(
    page: SharedPage, held_mb: float, promised_mb: float, small: bool, left_mb: float
) -> None:
    """By whichever worker; never less than nothing."""
    ledger, process = open_ledger(page, 0)
    other, _ = open_ledger(page, 1)
    process.private_mb += held_mb
    ledger.update([])
    other.update([Expecting(promised_mb)])

    assert ledger.left_bytes(small=small) == left_mb * MIB


@pytest.mark.parametrize(("mb", "fits"), [(50, True), (51, False)])
def test_a_worker_has_a_bound_of_its_own(page: SharedPage, mb: float, fits: bool) -> None:
    """What it held at first counts: 30 of 80 MB are taken, however much is free."""
    process = Process()
    ledger = Ledger(page, page.slots[0], process.holding, most_bytes=80 * MIB)

    assert ledger.reserve(Expecting(mb), [], small=False) is fits
    assert page.slots[0].promised_bytes == (mb * MIB if fits else 0)


def test_a_grant_is_told_once_it_is_published(page: SharedPage) -> None:
    """Before the request begins, so that the fuse can be raised; a refusal is not told."""
    slot, told = page.slots[0], []
    ledger = Ledger(page, slot, Process().holding, on_grant=lambda: told.append(slot.granted_bytes))

    assert ledger.reserve(Expecting(40), [], small=False)
    assert ledger.reserve(Expecting(20), [Expecting(40)], small=False)
    assert not ledger.reserve(Expecting(60), [Expecting(40)], small=False)

    assert told == [40 * MIB, 60 * MIB]
    assert slot.granted_bytes == 40 * MIB
