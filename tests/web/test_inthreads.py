"""What threads hold is shared: what was promised covers what comes, and no more is promised."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from tonnage.governor.admission import Desk, Request, Verdict
from tonnage.governor.costs import RouteCost
from tonnage.governor.ledger import Holding, Ledger
from tonnage.governor.page import SharedPage
from tonnage.units import MIB
from tonnage.web.meter import Meter

COST_BYTES = 16 * MIB
# One at a time first, so that the route is known.
ALONE = 30


@dataclass
class Threads:
    """A worker whose requests each take 16 MB in a thread, late, and free it before they end.

    *mixed* of the allocations and frees fall into the middle of somebody's step. To be answered
    takes *answering* times as long as a thread is late.
    """

    seed: int
    room_mb: int
    mixed: float
    answering: float = 0.0
    now: float = 0.0
    data_bytes: int = 0
    to_come: dict[Request, int] = field(default_factory=dict)
    short: list[int] = field(default_factory=list)
    beyond: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        page = SharedPage()
        page.use_slots(1)
        page.header.workers_ceiling_bytes = page.header.ceiling_bytes = self.room_mb * MIB
        self.slot = page.slots[0]
        ledger = Ledger(
            page, self.slot, lambda: Holding(self.data_bytes, 0), clock=lambda: self.now
        )
        self.desk = Desk(ledger, queue_limit=1000, wait_seconds=100.0)
        self.meter = Meter(lambda: self.data_bytes, self._in_threads)
        self.route = RouteCost("GET /hold", page.cost_numbers(0))
        self._serial = count()
        self._due: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._left = 0

    def serve(self, clients: int, requests: int) -> None:
        """Serve so many *requests*, of so many *clients* at a time."""
        self._left = requests
        for _ in range(clients):
            self._ask()
        self._later(0.005, self._pulse)
        while self._due:
            self.now, _, call, arguments = heapq.heappop(self._due)
            call(*arguments)

    def _in_threads(self) -> list[Request]:
        return [request for request in self.desk.in_flight if request.threads]

    def _later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._serial), call, arguments))

    def _ask(self) -> None:
        if self._left:
            self._left -= 1
            request = Request(self.route, self.now)
            if self.desk.ask(request) is Verdict.ADMITTED:
                self._begin(request)

    def _begin(self, request: Request) -> None:
        request.started_seconds = self.now
        self.meter.end(self.meter.begin(request))
        request.end_first_step()
        request.threads, self.to_come[request] = 1, COST_BYTES
        self._later(0.05 + self._some(), self._allocate, request)

    def _allocate(self, request: Request) -> None:
        self._change(COST_BYTES)
        self.to_come[request] = 0
        self._later(0.05 + self._some(), self._free, request)

    def _free(self, request: Request) -> None:
        self._change(-COST_BYTES)
        self._later(self._some(), self._leave, request)

    def _leave(self, request: Request) -> None:
        self.meter.note()
        request.threads = 0
        self._later(self.answering * self._some(), self._end, request)

    def _end(self, request: Request) -> None:
        self.meter.end(self.meter.begin(request))
        self.desk.observe(request, self.route, self.now)
        self.meter.note()
        self.meter.forget(request)
        self.desk.leave(request)
        del self.to_come[request]
        self._look()
        self._ask()

    def _change(self, delta_bytes: int) -> None:
        if self.random.random() >= self.mixed:
            self.data_bytes += delta_bytes
            return
        before = self.meter.begin(self.random.choice(list(self.to_come)))
        self.data_bytes += delta_bytes
        self.meter.end(before)

    def _pulse(self) -> None:
        self.meter.note()
        self._look()
        promised = self.slot.committed_bytes - self.slot.held_bytes
        self.short.append(sum(self.to_come.values()) - promised)
        self.beyond.append(self.slot.committed_bytes - self.room_mb * MIB)
        if self._due:
            self._later(0.005, self._pulse)

    def _look(self) -> None:
        self.desk.ledger.update(self.desk.expected())
        for request in list(self.desk.ready()):
            self._begin(request)

    def _some(self) -> float:
        return self.random.uniform(0.0, 0.01)


@pytest.mark.parametrize("mixed", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("room_mb", [75, 150])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_promised_is_what_comes(seed: int, room_mb: int, mixed: float) -> None:
    """Neither less, which a request would pay for, nor more than there is, which all would."""
    threads = Threads(seed, room_mb, mixed)
    threads.serve(clients=1, requests=ALONE)
    threads.short.clear()
    threads.serve(clients=32, requests=64)

    assert max(threads.short) <= MIB / 2
    assert max(threads.beyond) <= 0
    # And the room is used: as many at a time as fit, less one.
    assert max(threads.beyond) > -3 * COST_BYTES
    assert threads.route.mean_bytes == pytest.approx(COST_BYTES, rel=0.05)


@pytest.mark.parametrize("mixed", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("room_mb", [75, 150])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_free_before_its_request_is_answered_is_promised_to_nobody(
    seed: int, room_mb: int, mixed: float
) -> None:
    """11 MB too little were, where nobody was in a thread for a moment; what is held is less."""
    threads = Threads(seed, room_mb, mixed, answering=20.0)
    threads.serve(clients=1, requests=ALONE)
    threads.short.clear()
    threads.serve(clients=32, requests=64)

    assert max(threads.short) <= MIB / 2
    assert threads.route.mean_bytes == pytest.approx(COST_BYTES, rel=0.05)


class InThreads:
    """Three requests, and a meter that is told which of them are in a thread."""

    def __init__(self) -> None:
        numbers = SharedPage().cost_numbers(0)
        self.first, self.second, self.third = (
            Request(RouteCost("GET /", numbers), 0.0, first_done=True) for _ in range(3)
        )
        self.inside: list[Request] = []
        self.data_bytes = 0
        self.meter = Meter(lambda: self.data_bytes, lambda: self.inside)

    def become(self, *inside: Request, mb: int = 0) -> None:
        """Have these be in a thread, after the process has grown by so much."""
        self.data_bytes += mb * MIB
        self.inside = list(inside)
        self.meter.note()

    def end(self, request: Request) -> None:
        """Have it end."""
        request.has_ended = True
        self.meter.forget(request)

    def step(self, request: Request, mb: int) -> None:
        """Run a step of *request* in which the process grows by so much."""
        before = self.meter.begin(request)
        self.data_bytes += mb * MIB
        self.meter.end(before)

    def taken_mb(self) -> tuple[float, float]:
        """Return what each is taken to hold."""
        return self.first.taken_bytes() / MIB, self.second.taken_bytes() / MIB


@pytest.fixture
def two() -> InThreads:
    """Both outside at first."""
    return InThreads()


def test_what_was_charged_for_others_goes_back_to_them_at_the_end(two: InThreads) -> None:
    """What the second has allocated is half the first's while it may be so."""
    two.become(two.second)
    two.become(two.second, mb=8)
    assert two.taken_mb() == (0, 8)
    two.become(two.first, two.second)
    assert two.taken_mb() == (4, 4)
    two.become(two.second)
    assert two.taken_mb() == (4, 4)
    two.meter.forget(two.first)
    assert two.second.taken_bytes() == 8 * MIB


def test_what_is_freed_after_one_has_left_is_not_counted_twice(two: InThreads) -> None:
    """Its share of that goes back to the others with its end, and the sum is right again."""
    two.become(two.second)
    two.become(two.second, mb=8)
    two.become(two.first, two.second)
    two.become(two.second)
    two.become(two.second, mb=-8)
    two.meter.forget(two.first)
    assert two.second.taken_bytes() == 0


def test_little_that_is_left_behind_for_good_burdens_nobody(two: InThreads) -> None:
    """Else a leak in threads would be charged to those that come after it, and grow."""
    two.become(two.first, two.second)
    two.become(two.first, two.second, mb=2)
    two.become(two.second)
    two.meter.forget(two.first)
    assert two.second.taken_bytes() == MIB


def test_what_the_last_one_keeps_is_its_own(two: InThreads) -> None:
    """A second call into a thread does not begin with what the first one has left."""
    two.become(two.first)
    two.become(two.first, mb=8)
    two.become()
    two.become(two.first)
    two.become(two.first, mb=2)
    assert two.taken_mb() == (10, 0)


def test_a_step_frees_nothing_that_its_request_does_not_hold(two: InThreads) -> None:
    """A thread had its turn in the middle of a step of a request without threads."""
    two.become(two.second)
    two.become(two.second, mb=8)
    two.step(two.first, mb=3)
    two.step(two.first, mb=-5)
    assert two.taken_mb() == (0, 6)


def test_a_step_beside_threads_is_charged_to_who_works_in_none(two: InThreads) -> None:
    """It is what the step has allocated, as far as anybody can tell."""
    two.become(two.second)
    two.step(two.first, mb=8)
    assert two.taken_mb() == (8, 0)


def test_a_step_of_a_request_that_works_in_threads_is_a_thread_s(two: InThreads) -> None:
    """Such as the one that sends its answer, while others allocate."""
    two.become(two.first, two.second)
    two.become(two.second, mb=2)
    two.step(two.first, mb=8)
    assert two.taken_mb() == (0, 10)


def test_a_share_does_not_lower_what_was_learned_but_raises_it() -> None:
    """It is a lower bound."""
    route = RouteCost("GET /", SharedPage().cost_numbers(0))
    route.observe(0.0, 16 * MIB, 0.1)
    for _ in range(40):
        route.observe(0.0, 4 * MIB, 0.1, is_share=True)
    assert route.mean_bytes == 16 * MIB
    for _ in range(40):
        route.observe(0.0, 20 * MIB, 0.1, is_share=True)
    assert route.mean_bytes > 18 * MIB
    for _ in range(200):
        route.observe(0.0, 4 * MIB, 0.1)
    assert route.mean_bytes == pytest.approx(4 * MIB, rel=0.05)


def test_what_is_free_by_the_end_of_who_had_a_share_in_it_is_nobodys() -> None:
    """Neither while others are in threads, nor where nobody was for a moment."""
    three = InThreads()
    three.become(three.first, three.second)
    three.become(three.first, three.second, mb=16)
    three.become(three.second)
    three.become(three.second, mb=-16)
    three.become()
    three.become(three.third)
    three.end(three.first)
    assert three.third.taken_bytes() == 0

    # All that it allocates is its own.
    three.become(three.third, mb=16)
    assert three.third.taken_bytes() == 16 * MIB


@pytest.mark.parametrize("in_step", [False, True])
def test_what_is_freed_while_nobody_is_in_a_thread_was_of_those_who_were(in_step: bool) -> None:
    """Also where that happens in the middle of another one's step."""
    three = InThreads()
    three.become(three.first)
    three.become(three.first, mb=16)
    three.become()
    if in_step:
        three.step(three.second, mb=-16)
    else:
        three.become(mb=-16)
    three.become(three.third)
    three.end(three.first)
    assert three.second.taken_bytes() == three.third.taken_bytes() == 0


def test_what_others_free_is_no_debt_of_those_who_come_later() -> None:
    """A cache that was emptied meanwhile, of which nobody in a thread held anything."""
    three = InThreads()
    three.become(three.first)
    three.become(three.first, mb=4)
    three.become(three.first, mb=-64)
    three.become()
    three.end(three.first)
    three.become(three.third)
    three.become(three.third, mb=16)
    assert three.third.taken_bytes() == 16 * MIB


def test_who_ends_before_its_thread_leaves_its_share_to_the_others_once() -> None:
    """As one whose client has gone."""
    three = InThreads()
    three.become(three.first, three.second)
    three.become(three.first, three.second, mb=16)
    three.end(three.first)
    three.become(three.second)
    assert three.second.taken_bytes() == 16 * MIB
    three.become(three.second, mb=-16)
    assert three.second.taken_bytes() == 0
