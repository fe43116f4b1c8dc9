"""Which request may start, which waits, which is refused.

Covers the order at the desk: slow start for routes not yet known, first come first served among
large requests, small ones past them, a bounded queue. Does not cover how many bytes are free
(:mod:`tonnage.governor.ledger`) nor the waiting itself (:mod:`tonnage.web.gate`).

Nothing here waits, and time is an argument.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from tonnage.governor.flight import NO_ENTRY
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tonnage.governor.costs import Expectation, RouteCost
    from tonnage.governor.ledger import Expecting, Ledger


# A request that has gone on for so long counts as seen, although it may grow yet.
LASTING_SECONDS = 1.0


# Requests that have been let in and not run yet may come to so much together, as far as is known;
# beyond that the next one waits for their first steps, which show what they really take. Waiting
# costs nothing, since one event loop runs one step at a time.
STARTING_BYTES = 4 * MIB


class Verdict(Enum):
    """The desk's answer to a request."""

    ADMITTED = "admitted"
    WAIT = "wait"
    QUEUE_FULL = "the queue is full"
    NOTHING_TO_WAIT_FOR = "nothing in flight could make room"


@dataclass(slots=True, eq=False)
class Request:
    """A request at the desk, and what is known of its growth."""

    route: RouteCost
    arrived_seconds: float
    started_seconds: float = 0.0
    is_small: bool = False
    first_bytes: float = 0.0
    later_bytes: float = 0.0
    later_worst_bytes: float = 0.0
    first_done: bool = False
    # Work of this request that is in a thread; its reservation stays until the thread is done,
    # since a thread cannot be cancelled.
    threads: int = 0
    # What it holds as its share of what threads do, part of later_bytes; whether it ever had work
    # in a thread, and while others had (see tonnage.web.inthreads).
    shared_bytes: int = 0
    was_in_thread: bool = False
    was_shared: bool = False
    # Its entry in the table of what is in flight, while it is.
    entry: int = NO_ENTRY
    # Whether it has been learned from before its end, since it lasts.
    is_observed: bool = False
    # Called when the first step is over: whoever waits may start then.
    when_started: Callable[[], object] | None = None
    has_ended: bool = False
    # It was let in although what it is expected to take does not fit, and was given what there was.
    most_bytes: float | None = None
    # What it was expected to take when it was let in.
    granted_bytes: float = 0.0

    def grow(self, delta_bytes: int) -> None:
        """Add growth (or shrinking) of the process that this request caused."""
        if not self.first_done:
            self.first_bytes += delta_bytes
            return
        self.later_bytes += delta_bytes
        if self.later_bytes > self.later_worst_bytes:
            self.later_worst_bytes = self.later_bytes
            self.route.note_later(self.later_bytes)

    def end_first_step(self) -> None:
        """Note that the first step is over, and let its growth be known at once."""
        if not self.first_done:
            self.first_done = True
            self.route.note_first(self.first_bytes)
            if self.when_started is not None:
                self.when_started()

    @property
    def grown_bytes(self) -> int:
        """What it has grown by at most, as far as is known."""
        return int(self.first_bytes + self.later_worst_bytes)

    def remaining(self, room_bytes: int) -> Expectation:
        """Return the growth still to come, where *room_bytes* is all room."""
        if self.first_done:
            expected = self.route.rest(self.later_bytes, room_bytes)
        else:
            expected = self.route.whole(room_bytes)
        if self.most_bytes is None:
            return expected
        return expected.at_most(self.most_bytes - self.taken_bytes())

    def taken_bytes(self) -> float:
        """Return what it has taken, as far as that is measured."""
        return self.first_bytes + self.later_bytes


class Desk:
    """The requests in flight in this worker, and those that wait.

    At most *queue_limit* wait, in all workers together.
    """

    def __init__(self, ledger: Ledger, *, queue_limit: int, wait_seconds: float) -> None:
        self.ledger = ledger
        self.wait_seconds = wait_seconds
        self.queue_limit = queue_limit
        #: Whether this worker ends when nobody is in it any more.
        self.draining = False
        self.in_flight: set[Request] = set()
        self._by_route: Counter[RouteCost] = Counter()
        # What is set aside for running code; it asks for little at a time (see set_aside).
        self._aside: set[Expecting] = set()
        # Bounded by queue_limit together: see ask.
        self._large: deque[Request] = deque()
        self._small: deque[Request] = deque()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._large) + len(self._small)

    def ask(self, request: Request) -> Verdict:
        """Admit *request* if it fits and nobody before it waits; else queue it, if it may wait."""
        queue = self._queue_of(request)
        if not queue and self._try(request):
            return Verdict.ADMITTED
        if self.waiting + self.ledger.waiting_elsewhere() >= self.queue_limit:
            return Verdict.QUEUE_FULL
        if self.ledger.stays_full and not self._anyone_in_flight():
            return Verdict.NOTHING_TO_WAIT_FOR
        queue.append(request)
        self._announce_head()
        return Verdict.WAIT

    def ready(self) -> Iterator[Request]:
        """Admit and yield those who wait and now fit, small ones first, in order of arrival.

        A request held back by slow start lets others pass; one held back by memory does not, or
        a large request would starve behind an unending row of lesser ones.
        """
        for queue in (self._small, self._large):
            position = 0
            while position < len(queue):
                request = queue[position]
                if self._try(request):
                    del queue[position]
                    yield request
                elif self._window_open(request):
                    break
                else:
                    position += 1
        self._announce_head()

    def expected(self) -> list[Expecting]:
        """Return all that is going to grow: what is in flight, and what is set aside."""
        return [*self.in_flight, *self._aside]

    def set_aside(self, wanted: Expecting) -> bool:
        """Keep free what running code is about to take, if it fits; it goes before who waits.

        It runs already and holds what it has: the sooner it ends, the sooner there is room.
        """
        fits = self.ledger.reserve(wanted, self.expected(), small=True)
        if fits:
            self._aside.add(wanted)
        return fits

    def give_back(self, wanted: Expecting) -> None:
        """Keep it free no longer; nothing happens if it was not."""
        self._aside.discard(wanted)

    def abandon(self, request: Request) -> None:
        """Take a waiting *request* out of the queue: its time is up or its client went."""
        queue = self._queue_of(request)
        if request in queue:
            queue.remove(request)
            self._announce_head()

    def leave(self, request: Request) -> None:
        """Note the end of an admitted *request*; a second call changes nothing.

        A second one comes when a task that a request left behind works in a thread.
        """
        if request not in self.in_flight:
            return
        self.in_flight.remove(request)
        self._by_route[request.route] -= 1
        if not self._by_route[request.route]:
            del self._by_route[request.route]

    def observe_lasting(self, now_seconds: float) -> None:
        """Learn from requests that go on and on, such as WebSockets and streams, before they end.

        They would otherwise hold a route in slow start for as long as the first of them lives.
        """
        for request in self.in_flight:
            # One that was let in but has not run yet has not shown what it costs.
            lasted = now_seconds - request.started_seconds if request.first_done else 0.0
            if lasted >= LASTING_SECONDS and not request.is_observed:
                self.observe(request, request.route, now_seconds)

    def observe(self, request: Request, route: RouteCost, now_seconds: float) -> None:
        """Learn for *route* what *request* has used; once for each request."""
        if not request.is_observed:
            request.is_observed = True
            lasted = now_seconds - request.started_seconds
            route.observe(
                request.first_bytes,
                request.later_worst_bytes,
                lasted,
                is_share=request.was_shared,
            )

    def held_back_by(self, request: Request) -> str:
        """Return, in words, what *request* waits for."""
        if self._window_open(request):
            return "memory"
        if request.route.is_closed(self.ledger.now_seconds()):
            return "its route, of which a request has just run out of memory"
        return "the first requests of its route to show what they cost"

    def retry_after_seconds(self, route: RouteCost) -> int:
        """Return when to try again: the time the queue needs at the present pace, 1 to 30 s."""
        rounds = self.waiting / max(len(self.in_flight), 1)
        return round(min(max(1.0, (rounds + 1.0) * route.seconds), 30.0))

    def _queue_of(self, request: Request) -> deque[Request]:
        return self._small if request.is_small else self._large

    def _window_open(self, request: Request) -> bool:
        if request.route.is_closed(self.ledger.now_seconds()):
            return False
        window = request.route.window
        return window is None or self._by_route[request.route] < window

    def _announce_head(self) -> None:
        head = next((each for each in self._large if self._window_open(each)), None)
        self.ledger.announce_head(None if head is None else head.arrived_seconds)

    def _try(self, request: Request) -> bool:
        if self._is_last_way(request):
            self._let_in(request)
            return True
        if not self._window_open(request):
            return False
        if not request.is_small and (
            self.ledger.is_behind(request.arrived_seconds) or self._too_many_starting(request)
        ):
            return False
        fits = self.ledger.reserve(request, self.expected(), small=request.is_small)
        if not fits and not self._alone():
            return False
        if not fits:
            # Beyond what there is it has been promised nothing.
            request.most_bytes = self.ledger.left_bytes(small=request.is_small)
            self.ledger.reserve(request, self.expected(), small=request.is_small)
        self._let_in(request)
        return True

    def _let_in(self, request: Request) -> None:
        request.granted_bytes = request.remaining(self.ledger.room_bytes).worst_bytes
        self.in_flight.add(request)
        self._by_route[request.route] += 1

    def _is_last_way(self, request: Request) -> bool:
        """Whether to let *request* in, one at a time, since only this worker's end makes room.

        What the worker itself keeps may be what is in the way of those who wait in it, and of its
        own end, which waits for them. For these few there is the reserve; half of it at most.
        """
        if not self.draining or self.in_flight:
            return False
        worst_bytes = request.remaining(self.ledger.room_bytes).worst_bytes
        return worst_bytes <= self.ledger.spare_bytes // 2

    def _too_many_starting(self, request: Request) -> bool:
        """Whether to see first what those take that were let in before *request*."""
        starting = [each for each in self.in_flight if not each.first_done]
        if not starting:
            return False
        room = self.ledger.room_bytes
        expected = sum(each.remaining(room).worst_bytes for each in (*starting, request))
        return expected > STARTING_BYTES

    def _alone(self) -> bool:
        """Whether nothing is in flight and there is room left: then one request always goes on.

        Its cost may be overestimated, and nobody would ever correct the estimate otherwise.
        """
        return not self.ledger.is_full and not self._anyone_in_flight()

    def _anyone_in_flight(self) -> bool:
        # Our own slot is written once all who fit were let in, so it does not yet show them here.
        return bool(self.in_flight or self._aside) or self.ledger.anyone_in_flight()
