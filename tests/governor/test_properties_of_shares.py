"""What holds whatever the figures: the ledger and the plan, which divide one limit among many.

Each test states a rule; hypothesis looks for figures that break it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tonnage.budget.plan import make_plan
from tonnage.budget.sizes import AppSize, Wishes
from tonnage.errors import PlanError
from tonnage.governor.costs import Expectation
from tonnage.governor.ledger import Holding, Ledger
from tonnage.governor.page import SharedPage
from tonnage.units import GIB, MIB

# The same examples in every run: a failure is never a matter of luck.
steady = settings(deadline=None, derandomize=True, max_examples=120)


# The ledger.


@dataclass(frozen=True)
class Wanting:
    """A request that will take so many bytes."""

    size_bytes: int

    def remaining(self, room_bytes: int) -> Expectation:
        """Return them."""
        return Expectation(float(self.size_bytes), 0.0, float(self.size_bytes))

    @property
    def granted_bytes(self) -> float:
        """All of them."""
        return self.remaining(0).worst_bytes

    def taken_bytes(self) -> float:
        """Return nothing: it has taken none yet."""
        return 0.0


class Interleaved(SharedPage):
    """A page where other workers act between a worker's publishing and its reading of the sum."""

    def __init__(self, ceiling_bytes: int) -> None:
        super().__init__()
        self.header.workers_ceiling_bytes = self.header.ceiling_bytes = ceiling_bytes
        self.meanwhile: list[Callable[[], object]] = []

    def committed_bytes(self) -> int:
        """Let the next of those who wait for this moment act, then read."""
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return super().committed_bytes()


@dataclass
class Office:
    """One worker's ledger, what its process holds, and what it has let in."""

    page: SharedPage
    index: int
    held_bytes: int = 0
    kept_bytes: int = 0
    in_flight: list[Wanting] = field(default_factory=list)
    is_busy: bool = False

    def __post_init__(self) -> None:
        self.slot = self.page.slots[self.index]
        self.ledger = Ledger(
            self.page, self.slot, lambda: Holding(self.held_bytes, self.kept_bytes)
        )

    def reserve(self, size_bytes: int, *, small: bool = False) -> bool:
        """Let a request in if it fits; return whether it did. A worker does one thing at a time."""
        if self.is_busy:
            return False
        self.is_busy, request = True, Wanting(size_bytes)
        fits = self.ledger.reserve(request, self.in_flight, small=small)
        self.is_busy = False
        if fits:
            self.in_flight.append(request)
        return fits

    def leave(self) -> None:
        """End the oldest request."""
        del self.in_flight[:1]
        self.ledger.update(self.in_flight)


steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 120), st.booleans(), st.booleans()), max_size=30
)


@steady
@given(steps)
@example([(0, 60, True, False), (1, 60, True, False)])
def test_the_ledger_is_never_over_its_ceiling(steps: list[tuple[int, int, bool, bool]]) -> None:
    """However the workers' steps fall between each other's: publish, then read, then withdraw."""
    page = Interleaved(100 * MIB)
    offices = [Office(page, index) for index in range(4)]

    for index, mb, come, nested in steps:
        office = offices[index]
        if not come:
            office.leave()
        elif nested:
            # Acts in the middle of the next reservation, whoever makes that.
            page.meanwhile.append(partial(office.reserve, mb * MIB, small=True))
        else:
            office.reserve(mb * MIB, small=True)
        let_in = sum(each.size_bytes for office in offices for each in office.in_flight)
        assert let_in <= 100 * MIB

    page.meanwhile.clear()
    committed = sum(office.slot.committed_bytes for office in offices)
    assert committed == sum(each.size_bytes for office in offices for each in office.in_flight)


@steady
@given(st.lists(st.integers(0, 60), max_size=6), st.integers(0, 90), st.integers(0, 90))
def test_a_withdrawal_leaves_the_ledger_as_it_was(others: list[int], held: int, kept: int) -> None:
    """A worker that asks for too much, over and over, holds nobody else up."""
    page = Interleaved(100 * MIB)
    one, other = Office(page, 0), Office(page, 1)
    one.held_bytes, one.kept_bytes = held * MIB, kept * MIB
    for mb in others:
        other.reserve(mb * MIB)
        one.reserve(mb * MIB // 2)
    one.ledger.update(one.in_flight)
    before = page.committed_bytes(), one.slot.promised_bytes

    assert not one.reserve(GIB)
    assert (page.committed_bytes(), one.slot.promised_bytes) == before


@steady
@given(st.integers(0, 90), st.integers(0, 90), st.lists(st.integers(0, 30), max_size=4))
def test_what_an_allocator_keeps_is_spent_once(held: int, kept: int, sizes: list[int]) -> None:
    """It makes room for promises, for as many bytes as it has, and for nothing else."""
    office = Office(SharedPage(), 0)
    office.held_bytes, office.kept_bytes = held * MIB, min(kept, held) * MIB
    office.in_flight = [Wanting(mb * MIB) for mb in sizes]
    office.ledger.update(office.in_flight)

    slot, promised = office.slot, sum(sizes) * MIB
    assert slot.held_bytes <= slot.committed_bytes <= slot.held_bytes + promised
    assert slot.committed_bytes >= slot.held_bytes + promised - office.kept_bytes


# The plan.

apps = st.builds(
    AppSize,
    zygote_bytes=st.integers(8 * MIB, 400 * MIB),
    private_anon_bytes=st.integers(0, 300 * MIB),
    worker_own_bytes=st.one_of(st.none(), st.integers(1 * MIB, 60 * MIB)),
    how=st.just("measured"),
    seconds=st.just(0.5),
)
wishes = st.builds(
    Wishes,
    workers=st.one_of(st.none(), st.integers(1, 16)),
    workers_source=st.just("--workers"),
    workers_strict=st.booleans(),
    clustering=st.sampled_from((None, True, False)),
    threads=st.integers(1, 64),
    queue_requests=st.one_of(st.none(), st.integers(0, 4096)),
    free_floor_bytes=st.integers(0, 64 * MIB),
    exhausted_bytes=st.just(0),
    preload=st.booleans(),
)


def with_exhausted(wishes: Wishes, limit_bytes: int) -> Wishes:
    """Put EXHAUSTED at the usual 98 %."""
    return replace(wishes, exhausted_bytes=limit_bytes * 98 // 100)


@steady
@given(st.integers(1, 16 * GIB), st.one_of(st.none(), apps), wishes, st.floats(0.1, 64))
def test_a_plan_adds_up_or_is_refused(
    limit_bytes: int, app: AppSize | None, wished: Wishes, cpus: float
) -> None:
    """To the byte, with nothing negative, room for requests, and the workers asked for."""
    wished = with_exhausted(wished, limit_bytes)
    try:
        plan = make_plan(limit_bytes, "a test", cpus, app, wished)
    except PlanError:
        return

    assert sum(line.bytes for line in plan.lines) == limit_bytes
    assert all(line.bytes >= 0 for line in plan.lines)
    assert plan.room_bytes >= 32 * MIB
    assert plan.ceiling_bytes < limit_bytes
    assert plan.ceiling_bytes <= wished.exhausted_bytes
    if wished.workers is not None and wished.workers_strict and wished.clustering is not False:
        assert plan.workers == wished.workers


@steady
@given(st.integers(64 * MIB, 8 * GIB), st.integers(0, GIB), wishes, st.integers(1, 8))
def test_a_larger_limit_leaves_more_room(
    limit_bytes: int, more_bytes: int, wished: Wishes, workers: int
) -> None:
    """But for the rounding of two lines to whole MB; and where one fits, it fits all the more."""
    wished = replace(wished, workers=workers, workers_strict=True, clustering=None)
    try:
        plan = make_plan(limit_bytes, "a test", 2, None, with_exhausted(wished, limit_bytes))
    except PlanError:
        assume(False)
        raise
    larger = limit_bytes + more_bytes
    try:
        other = make_plan(larger, "a test", 2, None, with_exhausted(wished, larger))
    except PlanError:
        pytest.fail("a larger limit was refused") if plan.room_bytes >= 34 * MIB else None
        return
    assert other.room_bytes >= plan.room_bytes - 2 * MIB


@steady
@given(st.integers(64 * MIB, 4 * GIB), wishes, st.integers(1, 7))
def test_a_worker_more_never_leaves_more_room(
    limit_bytes: int, wished: Wishes, workers: int
) -> None:
    """And one that is refused is not let in by asking for more."""
    wished = replace(
        with_exhausted(wished, limit_bytes), workers_strict=True, clustering=None, workers=workers
    )
    rooms = []
    for count in (workers, workers + 1):
        try:
            plan = make_plan(limit_bytes, "a test", 2, None, replace(wished, workers=count))
            rooms.append(plan.room_bytes)
        except PlanError:
            rooms.append(0)
    assert rooms[1] < rooms[0] or rooms == [0, 0]
