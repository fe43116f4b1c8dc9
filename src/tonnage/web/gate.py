"""The gate: a request starts when the memory it is expected to need is free.

Covers, for each HTTP request and WebSocket, before its body is read: the way of small requests, a
place at the desk for others, waiting with a deadline, the refusal, and the measuring that teaches
the desk what a route costs.

Does not cover the rules of the desk (:mod:`tonnage.governor.admission`), which know no event loop,
nor what a request may do wrong once it runs (:mod:`tonnage.web.guard`).

A route known to be small goes straight through, unless memory is short just now: the gate then
returns the guard's own coroutine and costs about 2 us. Of these requests one in
:data:`SAMPLE_EVERY` is measured, and all of them for a while after the process grew without an
explanation, so that a change of habits is noticed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Final

from tonnage.governor.admission import Request, Verdict
from tonnage.units import KIB, MIB
from tonnage.web.meter import First, current_request
from tonnage.web.refusal import never_fits, refusal
from tonnage.web.respond import closing, respond
from tonnage.web.routes import LARGEST_CLASS_BYTES, ROUTE, body_class

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tonnage.governor.admission import Desk
    from tonnage.governor.costs import RouteCost
    from tonnage.governor.page import SharedPage, Slot
    from tonnage.problem import Shape
    from tonnage.web.guard import Guard
    from tonnage.web.meter import Meter, Tasks
    from tonnage.web.respond import Receive, Scope, Send
    from tonnage.web.routes import Routes
    from tonnage.web.threads import AnyioThreads

logger = logging.getLogger("tonnage.requests")

# A prime, so that a client that alternates between routes does not dodge the sample.
SAMPLE_EVERY: Final = 509

# Growth between two looks, with only small requests about, that makes all of them suspect ...
SUSPICIOUS_BYTES: Final = 4 * MIB
# ... for so long.
SUSPICION_SECONDS: Final = 1.0

# How old the picture of free memory may be when a small request is let through. In this time one
# event loop can touch some 10 MB, which is about what is set aside for small requests.
LOOK_SECONDS: Final = 0.005
# ... and where so much is free that it cannot be filled meanwhile. A look costs some 15 us where
# nothing else runs, and up to 150 us among requests, which leave nothing of it in the processor's
# caches. Less often it cannot be: what a request has grown by is told from the last one before it.
RELAXED_LOOK_SECONDS: Final = 0.02
PLENTY_BYTES: Final = 64 * MIB

# How often those who wait are looked at, for room made by another worker; room made in this one is
# noticed at once.
RETRY_SECONDS: Final = 0.005


class Gate:
    """Around the guard and the application, one for each worker.

    Outside it are the proxy's addresses, the endpoints and the limits of the path, in this order.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        page: SharedPage,
        slot: Slot,
        desk: Desk,
        routes: Routes,
        meter: Meter,
        tasks: Tasks,
        threads: AnyioThreads,
        retry_after_seconds: float | None = None,
        shape: Shape | None = None,
        admission: bool = True,
        is_gone: Callable[[Receive], bool] = lambda receive: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.draining = False
        self._guard = guard
        guard.when_freed = self._look_soon
        self._page = page
        self._slot = slot
        self._desk = desk
        self._routes = routes
        self._meter = meter
        self._tasks = tasks
        self._threads = threads
        self._retry_after_seconds = retry_after_seconds
        self._shape = shape
        self._admission = admission
        self._is_gone = is_gone
        self._clock = clock
        # Those who wait, with what wakes them, and what tells whether their client is still there;
        # bounded by the desk's queue.
        self._waiting: dict[Request, tuple[asyncio.Future[None], Receive]] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._small_open = True
        self._look_at_seconds = 0.0
        self._until_sample = SAMPLE_EVERY
        self._suspicious_until_seconds = 0.0
        self._passed = 0

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Let the request through, have it wait, or refuse it."""
        if scope["type"] == "lifespan":
            return self._guard.app(scope, receive, send)
        if self.draining:
            send = closing(send)
        self._passed += 1
        route = self._routes.find(scope)
        scope[ROUTE] = route.name
        if not self._admission:
            return self._guard.run(route, scope, receive, send)
        if self._clock() >= self._look_at_seconds:
            self.look()
        if not (route.is_small and self._small_open):
            return self._through_desk(route, scope, receive, send)
        self._until_sample -= 1
        if self._until_sample > 0:
            return self._guard.run(route, scope, receive, send)
        return self._sample(route, scope, receive, send)

    def drain(self) -> None:
        """Have connections end from now on; refuse who waits for memory that only our end frees."""
        self.draining = self._desk.draining = True
        self.look()

    def _refuse_hopeless(self) -> None:
        for ready, _ in self._waiting.values():
            if not ready.done():
                ready.set_exception(_RefusedError)

    def look(self) -> None:
        """Measure this process anew, publish it, and let in who now fits."""
        desk, slot = self._desk, self._slot
        # What requests have taken, as of the same moment as what the process holds: else a block
        # that a thread has just allocated would count twice, as held and as still to come.
        self._meter.note()
        held_before = slot.held_bytes
        total = desk.ledger.update(desk.expected())
        self._guard.held_bytes = slot.held_bytes
        now = self._clock()
        if slot.held_bytes - held_before > SUSPICIOUS_BYTES and not desk.in_flight:
            self._suspicious_until_seconds = now + SUSPICION_SECONDS
            self._until_sample = 1
        free = desk.ledger.ceiling_bytes(small=True) - total
        self._small_open = free >= 0
        self._look_at_seconds = now + (
            RELAXED_LOOK_SECONDS if free > PLENTY_BYTES else LOOK_SECONDS
        )
        slot.requests = self._passed
        slot.in_flight = len(desk.in_flight)
        slot.waiting = desk.waiting
        self._admit_ready()
        if self.draining and desk.ledger.is_full and not desk.in_flight:
            self._refuse_hopeless()

    def beat(self) -> None:
        """Look, and learn from requests that last; to be called some times a second."""
        self._desk.observe_lasting(self._clock())
        self._guard.beat(self._desk.in_flight)
        for ready, receive in self._waiting.values():
            # Else the queue would be full of clients that were cut, or gave up.
            if not ready.done() and self._is_gone(receive):
                ready.set_result(None)
        self.look()

    async def _sample(self, route: RouteCost, scope: Scope, receive: Receive, send: Send) -> None:
        suspicious = self._clock() < self._suspicious_until_seconds
        self._until_sample = 1 if suspicious else SAMPLE_EVERY
        request = Request(route, self._clock(), is_small=True)
        await self._measured(request, scope, receive, send)

    async def _through_desk(
        self, route: RouteCost, scope: Scope, receive: Receive, send: Send
    ) -> None:
        body_bytes = self._hopeless_bytes(route, scope)
        if body_bytes:
            self._slot.refused += 1
            problem = never_fits(body_bytes, self._page.header.limit_bytes)
            await respond(scope, receive, send, problem.answer(self._shape))
            return
        request = Request(route, self._clock(), is_small=route.is_small)
        request.when_started = self._on_started
        reason = await self._enter(request, receive)
        if reason is None:
            try:
                # Whoever gave up while waiting need not be served.
                if not self._is_gone(receive):
                    await self._measured(request, scope, receive, send)
            finally:
                request.has_ended = True
                self.settle(request)
            return
        self._slot.refused += 1
        wait = self._retry_after_seconds or self._desk.retry_after_seconds(route)
        problem = refusal(
            self._page, route, reason=reason, retry_after_seconds=max(1, math.ceil(wait))
        )
        await respond(scope, receive, send, problem.answer(self._shape))

    def _hopeless_bytes(self, route: RouteCost, scope: Scope) -> int:
        """Return how large a body is that can never be held; 0: it may fit, or pass in parts.

        What a route has made of other large bodies says what it will make of this one. That it
        holds them whole must be beyond doubt, or an upload that goes to disk would be refused;
        where it is not, memory running out tells (:mod:`tonnage.web.guard`).
        """
        body_bytes = body_class(scope["headers"])[1]
        if body_bytes <= max(self._page.header.limit_bytes, LARGEST_CLASS_BYTES):
            return 0
        return body_bytes if route.surely_takes(LARGEST_CLASS_BYTES) else 0

    async def _measured(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with the meter on, and learn from what it used."""
        request.started_seconds = self._clock()
        task = asyncio.current_task()
        token = current_request.set(request)
        self._threads.follow(task, request)
        self._tasks.begin()
        try:
            run = self._guard.run(request.route, scope, receive, send, request)
            await First(run, self._meter, request)
        finally:
            current_request.reset(token)
            self._tasks.end()
            self._threads.forget(task)
            self._meter.note()
            learned = self._routes.learn_template(scope, request.route)
            self._desk.observe(request, learned, self._clock())
            logger.debug("%s grew by %d KB", learned.name, request.grown_bytes // KIB)
            request.has_ended = True
            if not request.threads:
                self._meter.forget(request)

    def settle(self, request: Request) -> None:
        """End the reservation of *request*, once it has ended and no thread works for it.

        To be called also whenever a thread's work for it ends: what it allocated is charged then.
        """
        self._meter.note()
        if request.has_ended and not request.threads:
            self._meter.forget(request)
            self._desk.leave(request)
            self.look()

    async def _enter(self, request: Request, receive: Receive) -> str | None:
        """Return None once *request* may start, or why it may not."""
        self._meter.note()
        verdict = self._desk.ask(request)
        if verdict is Verdict.ADMITTED:
            self._slot.in_flight = len(self._desk.in_flight)
            return None
        if verdict is not Verdict.WAIT:
            return str(verdict.value)
        try:
            self._slot.waited += 1
            ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[request] = ready, receive
            self._schedule_retry()
            async with asyncio.timeout(self._desk.wait_seconds):
                await ready
        except TimeoutError:
            if not _granted(ready):
                waited_for = self._desk.held_back_by(request)
                return f"waited {self._desk.wait_seconds:g} s for {waited_for}"
        except _RefusedError:
            return "this worker is being replaced, since it keeps the memory waited for"
        except asyncio.CancelledError:
            if _granted(ready):
                # Let in and cancelled in the same moment: give the place back.
                self._desk.leave(request)
                self.look()
            raise
        finally:
            self._waiting.pop(request, None)
            self._desk.abandon(request)
        return None

    def _admit_ready(self) -> None:
        if not self._waiting:
            return
        for request in self._desk.ready():
            ready, _ = self._waiting.get(request, (None, None))
            if ready is not None and not ready.done():
                ready.set_result(None)
            else:
                self._desk.leave(request)
        self._slot.in_flight = len(self._desk.in_flight)
        self._slot.waiting = self._desk.waiting

    def _on_started(self) -> None:
        if self._waiting:
            self._look_soon()

    def _look_soon(self) -> None:
        # Not at once: this is called in the middle of a step that is being measured.
        asyncio.get_running_loop().call_soon(self.look)

    def _schedule_retry(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._on_retry)

    def _on_retry(self) -> None:
        self._retry = None
        self.look()
        if self._waiting:
            self._schedule_retry()


class _RefusedError(Exception):
    """A request that waits will not be let in any more."""


def _granted(ready: asyncio.Future[None]) -> bool:
    return ready.done() and not ready.cancelled() and ready.exception() is None
