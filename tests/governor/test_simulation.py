"""A closed loop of clients against the desk, in simulated time: the sum of all that can happen.

Memory is what the requests hold. Each takes its memory in its first step or a moment later, and
frees it at its end.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tonnage.budget.sizes import guard_bytes
from tonnage.governor.admission import Desk, Request, Verdict
from tonnage.governor.costs import RouteCost
from tonnage.governor.ledger import Holding, Ledger
from tonnage.governor.page import SharedPage
from tonnage.units import MIB

LIMIT_MB = 512
# What is left for requests in a limit of 512 MB, of the ceiling at 94 %.
CEILING_MB = 440
LOOK_SECONDS = 0.1


@dataclass
class Simulation:
    """*clients* that each send the next request as soon as the last one is answered."""

    clients: int
    cost_mb: Callable[[], float]
    first_step: bool = True
    hold_seconds: float = 0.3
    rise_seconds: float = 0.05
    held_mb: float = 0.0
    most_mb: float = 0.0
    served: int = 0
    refused: int = 0
    longest_wait_seconds: float = 0.0
    now: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        page = SharedPage()
        page.header.workers_ceiling_bytes = page.header.ceiling_bytes = CEILING_MB * MIB
        self._slot = page.slots[0]
        ledger = Ledger(page, self._slot, lambda: Holding(int(self.held_mb * MIB), 0))
        self.desk = Desk(ledger, queue_limit=1000, wait_seconds=10.0)
        self.route = RouteCost("GET /work", page.cost_numbers(0))
        self._serial = itertools.count()

    def run(self, seconds: float) -> Simulation:
        """Let the clients go on for so long, and then finish what has begun."""
        for _ in range(self.clients):
            self._at(0.0, lambda: self._arrive(seconds))
        self._at(LOOK_SECONDS, self._look)
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self

    def _at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._serial), event))

    def _arrive(self, until: float) -> None:
        if self.now >= until:
            return
        request = Request(self.route, self.now)
        verdict = self.desk.ask(request)
        if verdict is Verdict.ADMITTED:
            self._begin(request, until)
        elif verdict is Verdict.WAIT:
            self._waiting_until = until
        else:
            self.refused += 1

    def _begin(self, request: Request, until: float) -> None:
        waited = self.now - request.arrived_seconds
        self.longest_wait_seconds = max(self.longest_wait_seconds, waited)
        self._slot.in_flight = len(self.desk.in_flight)
        mb = self.cost_mb()
        if self.first_step:
            self._grow(request, mb)
        request.end_first_step()
        if not self.first_step:
            self._at(self.now + self.rise_seconds, lambda: self._grow(request, mb))
        self._at(self.now + self.hold_seconds, lambda: self._end(request, mb, until))

    def _grow(self, request: Request, mb: float) -> None:
        request.grow(int(mb * MIB))
        self.held_mb += mb
        self.most_mb = max(self.most_mb, self.held_mb)

    def _end(self, request: Request, mb: float, until: float) -> None:
        self.held_mb -= mb
        self.served += 1
        self.route.observe(request.first_bytes, request.later_worst_bytes, self.hold_seconds)
        self.desk.leave(request)
        self._admit(until)
        self._arrive(until)

    def _admit(self, until: float) -> None:
        self.desk.ledger.update(self.desk.in_flight)
        self._slot.in_flight = len(self.desk.in_flight)
        for request in self.desk.ready():
            self._begin(request, until)

    def _look(self) -> None:
        if self.desk.waiting or self.desk.in_flight:
            self._admit(self._waiting_until)
            self._at(self.now + LOOK_SECONDS, self._look)


def alike() -> Callable[[], float]:
    """Return the cost of a route whose requests all cost 8 MB."""
    return lambda: 8.0


def bimodal(seed: int, share_of_large: float = 0.2) -> Callable[[], float]:
    """Return the cost of a route that mostly costs 8 MB, and at random 40."""
    draw = random.Random(seed)
    return lambda: 40.0 if draw.random() < share_of_large else 8.0


# What stays free above the ceiling: the guard, and the floor at which the level is EXHAUSTED.
GUARD_MB = guard_bytes(LIMIT_MB * MIB) / MIB
RESERVE_MB = GUARD_MB + 16


@pytest.mark.parametrize("first_step", [True, False])
def test_requests_that_are_alike_fill_the_ceiling_and_never_exceed_it(first_step: bool) -> None:
    """128 clients, 8 MB each for 300 ms, costs not declared: nearly all that fits, all served."""
    done = Simulation(128, alike(), first_step=first_step).run(3.0)

    assert done.most_mb <= CEILING_MB
    assert done.refused == done.desk.waiting == 0
    # 53 at a time would be 98 % of the ceiling; slow start takes the first second.
    assert done.served > 53 * 2.0 / 0.3
    assert done.longest_wait_seconds < 3.0


@pytest.mark.parametrize("seed", range(6))
def test_requests_that_vary_stay_within_the_reserve(seed: int) -> None:
    """8 MB or 40 at random, from a cold start: at most one surprise above the ceiling."""
    done = Simulation(64, bimodal(seed)).run(4.0)

    assert done.most_mb <= CEILING_MB + RESERVE_MB
    assert done.refused == done.desk.waiting == 0
    assert done.longest_wait_seconds < 5.0


@pytest.mark.parametrize("seed", range(6))
def test_growth_that_comes_later_is_kept_free_for(seed: int) -> None:
    """The same, where memory is taken a moment after the start, once the route is known well."""
    simulation = Simulation(64, bimodal(seed), first_step=False)
    for _ in range(200):
        simulation.route.observe(0.0, simulation.cost_mb() * MIB, 0.3)

    done = simulation.run(4.0)

    assert done.most_mb <= CEILING_MB + RESERVE_MB
    assert done.refused == done.desk.waiting == 0


def test_growth_that_comes_later_is_kept_free_for_from_a_cold_start() -> None:
    """A route that takes its memory late is seen 24 times before many may start at once."""
    most = [Simulation(64, bimodal(seed), first_step=False).run(2.5).most_mb for seed in range(12)]

    assert max(most) <= CEILING_MB + RESERVE_MB
