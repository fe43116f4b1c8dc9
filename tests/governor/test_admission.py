"""The desk: who starts, who waits, in which order."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field

import pytest

from tonnage.governor.admission import Desk, Request, Verdict
from tonnage.governor.costs import KNOWN_AFTER, LATE_KNOWN_AFTER, RouteCost
from tonnage.governor.ledger import Holding, Ledger
from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage
from tonnage.units import MIB


@dataclass
class Office:
    """A desk over a page with 100 MB, and requests by name of their route."""

    queue_limit: int = 100
    page: SharedPage = field(default_factory=SharedPage)
    held_mb: float = 0.0

    def __post_init__(self) -> None:
        header = self.page.header
        header.workers_ceiling_bytes = header.ceiling_bytes = 100 * MIB
        ledger = Ledger(self.page, self.page.slots[0], lambda: Holding(int(self.held_mb * MIB), 0))
        self.desk = Desk(ledger, queue_limit=self.queue_limit, wait_seconds=10.0)
        self._routes: dict[str, RouteCost] = {}

    def route(
        self, name: str, mb: float = 0.0, *, seen: int = KNOWN_AFTER, seconds: float = 2.0
    ) -> RouteCost:
        """Return the route of that name; at first sight it has been *seen* to cost *mb*."""
        if name not in self._routes:
            numbers = self.page.cost_numbers(len(self._routes))
            cost = self._routes[name] = RouteCost(name, numbers)
            for _ in range(seen):
                cost.observe(mb * MIB, 0.0, seconds)
        return self._routes[name]

    def request(self, name: str) -> Request:
        """Return a new request of that route."""
        route = self.route(name)
        return Request(route, 0.0, is_small=route.is_small)

    def ask(self, name: str) -> Verdict:
        """Ask for a new request of that route, and run its first step if it is let in."""
        request = self.request(name)
        verdict = self.desk.ask(request)
        if verdict is Verdict.ADMITTED:
            self.run(request)
        return verdict

    def ready(self) -> list[str]:
        """Return the routes of those who may start now, each after the first step of the last."""
        started = []
        for request in self.desk.ready():
            self.run(request)
            started.append(request.route.name)
        return started

    def run(self, request: Request) -> None:
        """Run the first step of *request*: it takes what its route is known to take."""
        request.grow(int(request.route.mean_bytes))
        self.held_mb += request.route.mean_bytes / MIB
        request.end_first_step()

    def finish(self, name: str, count: int = 1) -> None:
        """End so many requests of that route."""
        chosen = [request for request in self.desk.in_flight if request.route.name == name]
        for request in chosen[:count]:
            self.held_mb -= request.first_bytes / MIB
            self.desk.leave(request)


@pytest.fixture
def office() -> Office:
    """Routes that cost 60, 30 and nothing."""
    office = Office()
    office.route("large", 60)
    office.route("middle", 30)
    office.route("small", 0)
    return office


def test_what_fits_is_admitted_and_the_rest_waits(office: Office) -> None:
    """In order of arrival."""
    verdicts = [office.ask("large"), office.ask("middle"), office.ask("middle")]

    assert verdicts == [Verdict.ADMITTED, Verdict.ADMITTED, Verdict.WAIT]
    assert (len(office.desk.in_flight), office.desk.waiting) == (2, 1)
    assert office.ready() == []
    office.finish("middle")
    assert office.ready() == ["middle"]


def test_nobody_passes_a_large_one_that_waits_for_memory(office: Office) -> None:
    """Also who comes anew and would fit."""
    office.ask("large")
    assert office.ask("large") is Verdict.WAIT

    assert office.ask("middle") is Verdict.WAIT
    assert office.ready() == []

    office.finish("large")
    assert office.ready() == ["large", "middle"]


def test_small_ones_have_a_queue_of_their_own(office: Office) -> None:
    """They go first, whenever they came."""
    office.ask("large")
    office.ask("large")
    assert office.ask("small") is Verdict.ADMITTED

    office.held_mb = 110
    assert office.ask("small") is Verdict.WAIT
    assert office.ready() == []
    office.held_mb = 60
    office.finish("large")

    assert office.ready() == ["small", "large"]


@pytest.mark.parametrize("held_up", [1, 2])
def test_slow_start_lets_others_pass(office: Office, held_up: int) -> None:
    """A request of an unknown route that may not start yet holds nobody up."""
    office.route("new", 5, seen=1)
    assert [office.ask("new") for _ in range(2 + held_up)] == [
        Verdict.ADMITTED,
        Verdict.ADMITTED,
        *[Verdict.WAIT] * held_up,
    ]
    assert office.ask("middle") is Verdict.WAIT

    assert office.ready() == ["middle"]
    office.finish("new")
    assert office.ready() == ["new"]


def test_the_first_of_a_route_is_expected_to_take_a_share_of_all_room() -> None:
    """An eighth, before and after its first step; the next one waits for what it shows."""
    office = Office()
    office.route("new", seen=0)
    office.route("work", 8)
    first = office.request("new")
    slot = office.page.slots[0]

    assert office.desk.ask(first) is Verdict.ADMITTED
    assert first.granted_bytes == slot.promised_bytes == 12.5 * MIB
    assert office.desk.ask(office.request("work")) is Verdict.WAIT
    office.run(first)
    assert first.remaining(100 * MIB).worst_bytes == 12.5 * MIB
    assert office.ready() == ["work"]
    assert office.desk.ledger.update(office.desk.expected()) == (8 + 12.5) * MIB


def test_one_large_first_step_at_a_time() -> None:
    """What it really takes is seen before the next one is let in; a surprise meets nobody else."""
    office = Office()
    office.route("work", 8)
    first, second = office.request("work"), office.request("work")
    assert office.desk.ask(first) is Verdict.ADMITTED
    assert office.desk.ask(second) is Verdict.WAIT
    assert office.ready() == []

    # It takes 40 where all before took 8.
    first.grow(40 * MIB)
    office.held_mb = 40
    first.end_first_step()
    assert office.desk.held_back_by(second).startswith("the first requests of its route")
    office.desk.leave(first)
    assert list(office.desk.ready()) == [second]


def test_lesser_first_steps_may_come_together() -> None:
    """Up to 4 MB of them: what they could surprise with is little."""
    office = Office()
    office.route("work", 1)
    asked = [office.desk.ask(office.request("work")) for _ in range(6)]

    assert asked.count(Verdict.ADMITTED) == 4


def test_the_queue_is_bounded() -> None:
    """Small and large ones together."""
    office = Office(queue_limit=2)
    office.route("large", 90)
    office.route("small", 0)
    office.ask("large")
    office.held_mb = 110

    verdicts = [office.ask("large"), office.ask("small"), office.ask("small"), office.ask("large")]

    assert verdicts == [Verdict.WAIT, Verdict.WAIT, Verdict.QUEUE_FULL, Verdict.QUEUE_FULL]


def test_who_waits_in_other_workers_takes_room_in_the_queue() -> None:
    """The bound is everybody's."""
    office = Office(queue_limit=3)
    office.route("large", 90)
    office.page.slots[5].waiting = 2
    office.ask("large")

    assert [office.ask("large"), office.ask("large")] == [Verdict.WAIT, Verdict.QUEUE_FULL]


def test_the_first_large_one_that_waits_is_announced_to_other_workers(office: Office) -> None:
    """Since when it waits: who waits there longer goes first."""
    slot = office.page.slots[0]
    office.ask("large")
    waiting = [office.request("large"), office.request("large")]
    for seconds, request in enumerate(waiting, start=1):
        request.arrived_seconds = float(seconds)
        office.desk.ask(request)
    assert slot.head_nanoseconds == 1_000_000_000

    office.finish("large")
    assert office.ready() == ["large"]
    assert slot.head_nanoseconds == 2_000_000_000

    office.desk.abandon(waiting[1])
    assert slot.head_nanoseconds == 0


def test_what_one_waits_for_is_said(office: Office) -> None:
    """Memory, or that its route is open again."""
    office.ask("large")
    waiting = office.request("large")
    office.desk.ask(waiting)
    assert office.desk.held_back_by(waiting) == "memory"

    closed = office.request("middle")
    now = office.desk.ledger.now_seconds()
    closed.route.note_out_of_memory(15.0, 30 * MIB, 100 * MIB, now)
    assert office.desk.ask(closed) is Verdict.WAIT
    assert office.desk.held_back_by(closed) == (
        "its route, of which a request has just run out of memory"
    )


@pytest.mark.parametrize(("is_small", "starts"), [(True, True), (False, False)])
def test_the_last_percent_is_for_small_ones(office: Office, is_small: bool, starts: bool) -> None:
    """Where others are in flight; one alone starts anyhow."""
    office.ask("large")
    office.held_mb = 99.5
    request = office.request("small")
    request.is_small = is_small

    assert (office.desk.ask(request) is Verdict.ADMITTED) is starts


def test_a_small_one_alone_is_promised_what_small_ones_have() -> None:
    """The last percent too."""
    office = Office()
    office.held_mb = 99.75
    request = Request(office.route("small", 0.5), 0.0, is_small=True)

    assert office.desk.ask(request) is Verdict.ADMITTED
    assert request.most_bytes == office.page.slots[0].promised_bytes == 0.25 * MIB


@pytest.mark.parametrize(
    ("draining", "in_flight", "mb", "starts"),
    [
        (True, False, 40, True),
        (True, False, 41, False),
        # Of a route that nobody has seen yet.
        (True, False, 0, True),
        (True, True, 5, False),
        (False, False, 40, False),
    ],
)
def test_who_waits_in_a_worker_that_ends_may_have_half_of_what_is_free(
    draining: bool, in_flight: bool, mb: float, starts: bool
) -> None:
    """One at a time: what the worker keeps comes free by its end alone, which waits for them."""
    office = Office()
    office.route("work", mb, seen=KNOWN_AFTER if mb else 0)
    office.route("other", 1)
    if in_flight:
        office.ask("other")
    header = office.page.header
    header.limit_bytes, header.used_bytes, header.exhausted_bytes = 200 * MIB, 120 * MIB, 100 * MIB
    header.level = Level.EXHAUSTED
    office.held_mb = 120
    office.desk.draining = draining

    assert (office.desk.ask(office.request("work")) is Verdict.ADMITTED) is starts
    assert len(office.desk.in_flight) == starts + in_flight


def test_who_gave_up_is_waited_for_no_more(office: Office) -> None:
    """Whether it waited or not."""
    office.ask("large")
    impatient, patient = office.request("large"), office.request("middle")
    office.desk.ask(impatient)
    office.desk.ask(patient)

    office.desk.abandon(impatient)
    office.desk.abandon(impatient)

    assert list(office.desk.ready()) == [patient]


def test_one_alone_may_start_even_if_it_does_not_fit(office: Office) -> None:
    """Only one, also before its worker's slot shows it."""
    office.held_mb = 90

    assert office.ask("large") is Verdict.ADMITTED
    assert office.ask("large") is Verdict.WAIT
    assert office.ready() == []
    office.finish("large")
    office.ask("large")
    assert office.ready() == ["large"]


def test_nobody_is_alone_while_another_worker_is_busy(office: Office) -> None:
    """The limit is common to all."""
    office.held_mb = 90
    office.page.slots[3].in_flight = 1

    assert office.ask("large") is Verdict.WAIT


def test_nobody_is_alone_while_a_job_runs(office: Office) -> None:
    """What was promised to it is there again when it ends, and less would not do till then."""
    header = office.page.header
    header.jobs_committed_bytes, header.jobs_running = 90 * MIB, 1
    assert office.ask("large") is Verdict.WAIT

    header.jobs_committed_bytes = header.jobs_running = 0

    assert office.ready() == ["large"]


def test_at_exhausted_the_end_of_a_job_is_worth_waiting_for(office: Office) -> None:
    """It makes room."""
    office.held_mb = 90
    office.page.header.level = Level.EXHAUSTED
    office.page.header.jobs_running = 1

    assert office.ask("large") is Verdict.WAIT


@pytest.mark.parametrize(
    ("level", "verdict"),
    [(Level.CRITICAL, Verdict.ADMITTED), (Level.EXHAUSTED, Verdict.NOTHING_TO_WAIT_FOR)],
)
def test_at_exhausted_not_even_one_alone_starts(
    office: Office, level: Level, verdict: Verdict
) -> None:
    """And since nobody is in flight, there is nothing to wait for."""
    office.held_mb = 90
    office.page.header.level = level

    assert office.ask("large") is verdict


def test_at_exhausted_one_that_fits_starts(office: Office) -> None:
    """What is free in the ledger may be spent at any level."""
    office.page.header.level = Level.EXHAUSTED

    assert office.ask("large") is Verdict.ADMITTED
    assert office.ask("large") is Verdict.WAIT


def test_leaving_twice_changes_nothing(office: Office) -> None:
    """The window of a route counts each request once."""
    office.route("new", 5, seen=1)
    request = office.request("new")
    office.desk.ask(request)

    office.desk.leave(request)
    office.desk.leave(request)

    assert [office.ask("new") for _ in range(3)].count(Verdict.ADMITTED) == 2


def test_who_has_left_is_kept_by_nobody(office: Office) -> None:
    """Where small ones alone come, too: nobody looks then at who has just started."""

    def kept() -> int:
        return sum(type(each) is Request for each in gc.get_objects())

    before = kept()
    for _ in range(50):
        request = office.request("small")
        assert office.desk.ask(request) is Verdict.ADMITTED
        office.run(request)
        office.desk.leave(request)
    del request

    assert kept() <= before


@pytest.mark.parametrize(
    ("in_flight", "waiting", "seconds", "expected"),
    [
        (1, 0, 0.01, 1),
        (1, 0, 4.0, 4),
        (1, 3, 4.0, 16),
        (3, 6, 4.0, 12),
        (1, 50, 4.0, 30),
        (0, 0, 2.5, 2),
    ],
)
def test_the_time_to_try_again_is_what_the_queue_needs(
    in_flight: int, waiting: int, seconds: float, expected: int
) -> None:
    """At the present pace; between 1 and 30 seconds."""
    office = Office()
    route = office.route("work", 60 / max(in_flight, 1), seconds=seconds)
    for _ in range(in_flight):
        assert office.ask("work") is Verdict.ADMITTED
    office.held_mb = 99
    for _ in range(waiting):
        assert office.ask("work") is Verdict.WAIT

    assert office.desk.retry_after_seconds(route) == expected


def test_growth_is_told_apart_by_the_first_step(office: Office) -> None:
    """Of what comes later, the worst counts, also where some was freed since."""
    request = office.request("large")
    request.grow(10)
    request.grow(-4)
    request.end_first_step()
    request.end_first_step()
    request.grow(20)
    request.grow(-15)
    request.grow(5)

    assert (request.first_bytes, request.later_bytes) == (6, 10)
    assert request.later_worst_bytes == 20
    assert request.taken_bytes() == 16


def test_one_that_was_let_in_but_has_not_run_teaches_nothing(office: Office) -> None:
    """On a busy machine it may wait a second for its first step, and has not shown its cost."""
    request = office.request("large")
    assert office.desk.ask(request) is Verdict.ADMITTED
    before = request.route.total_observations

    office.desk.observe_lasting(now_seconds=1000.0)
    assert request.route.total_observations == before

    request.grow(60 * MIB)
    request.end_first_step()
    request.started_seconds = 1000.0
    office.desk.observe_lasting(now_seconds=1000.9)
    assert request.route.total_observations == before
    office.desk.observe_lasting(now_seconds=1001.0)
    office.desk.observe_lasting(now_seconds=1004.0)
    assert request.route.total_observations == before + 1
    assert request.route.mean_bytes == 60 * MIB
    # Six before it took 2 s each.
    assert request.route.seconds == pytest.approx((6 * 2.0 + 1.0) / 7)


def test_a_share_of_what_several_hold_in_threads_lowers_nothing() -> None:
    """One that waits while another allocates has a share as well."""
    office = Office()
    route = office.route("threads", seen=0)
    for _ in range(LATE_KNOWN_AFTER):
        route.observe(0.0, 30 * MIB, 2.0)
    request = office.request("threads")
    request.was_shared = True
    office.desk.observe(request, route, 2.0)

    assert route.mean_bytes == pytest.approx(30 * MIB)


def test_who_is_let_in_alone_is_promised_what_there_is() -> None:
    """Not what it is expected to take, which does not fit; the others' promises stay true."""
    office = Office()
    office.held_mb = 90
    office.route("large", 60)
    request = office.request("large")
    assert office.desk.ask(request) is Verdict.ADMITTED

    # 99 of 100 MB are for large requests.
    assert request.most_bytes == 9 * MIB
    assert request.remaining(100 * MIB).worst_bytes == 9 * MIB


def test_what_it_takes_uses_that_up() -> None:
    """Before and after its first step."""
    office = Office()
    office.held_mb = 90
    office.route("large", 60)
    request = office.request("large")
    office.desk.ask(request)

    request.grow(5 * MIB)
    assert request.remaining(100 * MIB).worst_bytes == 4 * MIB
    request.grow(20 * MIB)
    assert request.remaining(100 * MIB).worst_bytes == 0
    request.end_first_step()
    assert request.remaining(100 * MIB).worst_bytes == 0


def test_who_fits_is_promised_what_it_is_expected_to_take(office: Office) -> None:
    """There is no other bound on it than the common one."""
    request = office.request("large")
    assert office.desk.ask(request) is Verdict.ADMITTED

    assert request.most_bytes is None
    assert request.remaining(100 * MIB).worst_bytes >= 60 * MIB


def test_what_was_granted_does_not_grow_with_what_is_learned(office: Office) -> None:
    """A request that turns out to need more keeps others out, but that is not its right."""
    request = office.request("large")
    assert office.desk.ask(request) is Verdict.ADMITTED
    granted = request.granted_bytes - request.taken_bytes()
    assert granted >= 60 * MIB

    for _ in range(KNOWN_AFTER):
        request.route.observe(90 * MIB, 0.0, 2.0)
    assert request.remaining(100 * MIB).worst_bytes > granted
    assert request.granted_bytes - request.taken_bytes() == granted
    request.grow(50 * MIB)
    assert request.granted_bytes - request.taken_bytes() == granted - 50 * MIB
    request.grow(50 * MIB)
    assert request.granted_bytes - request.taken_bytes() == granted - 100 * MIB
