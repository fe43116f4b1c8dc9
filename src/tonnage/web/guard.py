"""The guard: a request that runs out of memory gets a clear answer, and the others go on.

Stands between the gate and the application. Covers, for each HTTP request and WebSocket: its entry
in the table of what is in flight; turning a MemoryError, wherever it surfaces in the request, into
503 or 413; freeing what it holds; the line in the log.

A framework may answer 500 itself before the error gets here. Where it does so while it handles the
error (Starlette, FastAPI), ``send`` sees it; where it does so afterwards (Django, Flask, WSGI),
:mod:`tonnage.web.witness` has been told of it. In both cases our answer takes the place of the 500.
If the response has begun, nothing can replace it: the request ends, and since its response is not
complete, the server closes the connection.

A refusal that the application lets out (:class:`~tonnage.errors.RequestRefusedError`, as of an
upload) is answered with its problem in the same way, whether limits are set or not.

Does not cover what becomes of the worker: whoever makes the guard is told of each failure. Nor
errors that do not surface in the request, as in a task that nobody waits for.
"""

from __future__ import annotations

import logging
import math
import sys
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from tonnage.governor.flight import NO_ENTRY
from tonnage.problem import problem_in
from tonnage.units import format_bytes, in_mb
from tonnage.web.awaited import Awaited
from tonnage.web.outofmemory import (
    Finding,
    MemoryFailure,
    Reserve,
    examine,
    may_hold_memory_error,
    memory_error_in,
    status_for,
)
from tonnage.web.path import swallowed
from tonnage.web.refusal import out_of_memory
from tonnage.web.respond import respond
from tonnage.web.routes import routed_name
from tonnage.web.witness import Testimony, listen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tonnage.governor.admission import Request
    from tonnage.governor.costs import RouteCost
    from tonnage.governor.flight import Flight
    from tonnage.governor.page import SharedPage, Slot
    from tonnage.host.processes import StatmSample
    from tonnage.problem import Problem, Shape
    from tonnage.web.respond import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("tonnage.requests")

#: The memory is back at once, but the same request would most likely fail again.
RETRY_AFTER_SECONDS: Final = 5

# Methods whose body is counted as it comes.
_WITH_BODY: Final = frozenset(("POST", "PUT", "PATCH"))

# How far the response has come.
_NOT_BEGUN, _BEGUN, _COMPLETE, _REPLACED = range(4)


class Guard:
    """Runs the application's requests, one call for each."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        page: SharedPage,
        slot: Slot,
        flight: Flight,
        read: Callable[[], StatmSample],
        on_memory_error: Callable[[MemoryFailure], object] = lambda failure: None,
        retry_after_seconds: float | None = None,
        shape: Shape | None = None,
    ) -> None:
        """Guard *app*, and listen to the frameworks that are loaded.

        Args:
            app: the application.
            page: the shared page.
            slot: this worker's slot.
            flight: this worker's table of what is in flight.
            read: what this process holds now; must work in any thread.
            on_memory_error: told of each failure once its frames are freed and before it is
                answered, in the event loop's thread.
            retry_after_seconds: what a 503 says; None: :data:`RETRY_AFTER_SECONDS`.
            shape: makes the JSON of our answers; None: problem details.
        """
        self.app = app
        self._page = page
        self._slot = slot
        self._flight = flight
        self._read = read
        self._on_memory_error = on_memory_error
        self._retry_after_seconds = math.ceil(retry_after_seconds or RETRY_AFTER_SECONDS)
        self._shape = shape
        self._reserve = Reserve()
        #: What the worker held when it was last looked at; kept up by whoever looks.
        self.held_bytes = 0
        #: Called once a request that ran out of memory has let go of it: that look is out of date.
        self.when_freed: Callable[[], object] = lambda: None
        #: Whether a framework is there that answers errors by itself, out of our sight.
        self.listens = listen(self.find)
        swallowed.listen()

    async def run(
        self,
        route: RouteCost,
        scope: Scope,
        receive: Receive,
        send: Send,
        request: Request | None = None,
    ) -> None:
        """Run the application; *request* is given where it is measured."""
        client = scope.get("client")
        begun_ns = monotonic_ns()
        entry = self._flight.begin(route.row, client[0] if client else "", begun_ns)
        attempt = _Attempt(self, route, request, scope, send, begun_ns)
        awaited = Awaited(receive)
        if request is not None:
            self._board(request, entry)
        if scope.get("method") in _WITH_BODY:
            receive = attempt.counting(receive)
        if self.listens:
            attempt.testimony = Testimony(self.find)
        try:
            await self.app(scope, receive, attempt.send)
        except Exception as error:
            if not self._is_memory(error, attempt) and not await attempt.answers(error):
                raise
        finally:
            if request is not None:
                # What comes free or is charged from now on is not in flight any more.
                request.entry = NO_ENTRY
            self._flight.end(entry)
            awaited.end()
        # The error, and with it what it held, is gone by now.
        if attempt.finding is not None:
            await attempt.close(attempt.finding)

    def beat(self, requests: Iterable[Request]) -> None:
        """Note what *requests* are still expected to grow by; set aside again what was used."""
        self._note_expected(requests)
        self._reserve.refill()

    def find(self, error: BaseException | None) -> Finding | None:
        """Return what is to know of the MemoryError behind *error*, freed; None: there is none.

        Works in any thread.
        """
        if not may_hold_memory_error(error):
            return None
        # Even the search needs memory, and there may be none at all.
        self._reserve.release()
        try:
            finding = self._examined(error)
        except MemoryError:
            # Somebody was quicker to take what was released.
            self._reserve.release()
            finding = self._examined(error)
        if finding is None:
            self._reserve.refill()
        return finding

    def _examined(self, error: BaseException | None) -> Finding | None:
        found = memory_error_in(error)
        return examine(found, self._read) if found is not None else None

    def settle(self, attempt: _Attempt, finding: Finding) -> MemoryFailure:
        """Learn from, count, tell and log the failure of *attempt*; once for each."""
        header = self._page.header
        grown = max(0, finding.private_bytes - self._slot.baseline_bytes - attempt.held_bytes)
        free = finding.free_bytes
        if free is None:
            free = max(0, header.limit_bytes - header.used_bytes)
        left, body = grown + free, attempt.body_bytes()
        now_ns = monotonic_ns()
        attempt.route.note_out_of_memory(
            (now_ns - attempt.begun_ns) / 1e9, left, header.workers_ceiling_bytes, now_ns / 1e9
        )
        if attempt.request is not None:
            # What it took says nothing about the next one.
            attempt.request.is_observed = True
        failure = MemoryFailure(
            route=routed_name(attempt.scope, attempt.route),
            line=finding.line,
            grown_bytes=grown,
            was_freed=finding.was_freed,
            body_bytes=body,
            left_bytes=left,
            status=0 if attempt.state in (_BEGUN, _COMPLETE) else status_for(body, left),
        )
        self._slot.memory_errors += 1
        self._on_memory_error(failure)
        self.when_freed()
        _log(failure, is_complete=attempt.state == _COMPLETE)
        self._reserve.refill()
        return failure

    def answer(self, scope: Scope, send: Send, failure: MemoryFailure) -> Awaitable[None]:
        """Send our answer in place of the application's."""
        retry_after_seconds = self._retry_after_seconds
        problem = out_of_memory(failure, retry_after_seconds=retry_after_seconds)
        return self.refuse(scope, send, problem)

    def refuse(self, scope: Scope, send: Send, problem: Problem) -> Awaitable[None]:
        """Send *problem* in place of the application's answer."""
        return respond(scope, _connected, send, problem.answer(self._shape))

    def _board(self, request: Request, entry: int) -> None:
        # The step that is running began before there was an entry.
        request.entry = entry
        self._flight.run(entry)
        self._note_expected((request,))

    def _note_expected(self, requests: Iterable[Request]) -> None:
        room = self._page.header.workers_ceiling_bytes
        for request in requests:
            self._flight.expect(request.entry, int(request.remaining(room).worst_bytes))

    def _is_memory(self, error: Exception, attempt: _Attempt) -> bool:
        if attempt.state == _REPLACED:
            # Starlette raises again what it has answered.
            return memory_error_in(error) is not None
        found = self.find(error)
        # A thread that has let go of what its error held knew how much that was.
        attempt.finding = found and (attempt.heard() or found)
        return found is not None


class _Attempt:
    """One request at the application: what has come of its body and gone of its response."""

    # One is made for every request.
    __slots__ = (
        "_forward", "_guard", "begun_ns", "finding", "held_bytes", "received_bytes", "request",
        "route", "scope", "state", "testimony",
    )  # fmt: skip

    def __init__(
        self,
        guard: Guard,
        route: RouteCost,
        request: Request | None,
        scope: Scope,
        forward: Send,
        begun_ns: int,
    ) -> None:
        self.route = route
        self.request = request
        self.scope = scope
        self.begun_ns = begun_ns
        #: What the worker held when this began.
        self.held_bytes = guard.held_bytes
        self.received_bytes = 0
        self.state = _NOT_BEGUN
        #: Set where a MemoryError has come out of the application.
        self.finding: Finding | None = None
        self.testimony: Testimony | None = None
        self._guard = guard
        self._forward = forward

    def counting(self, receive: Receive) -> Receive:
        """Return *receive*, with the body counted."""

        async def receive_counted() -> Message:
            message = await receive()
            self.received_bytes += len(message.get("body", b""))
            return message

        return receive_counted

    def send(self, message: Message) -> Awaitable[None]:
        """Send for the application, unless this is the 500 it makes of a MemoryError."""
        kind = message["type"]
        if self.state is _BEGUN:
            if kind in _ENDS and not message.get("more_body"):
                self.state = _COMPLETE
        elif self.state is _REPLACED:
            return _nothing()
        elif kind in _STARTS:
            if message.get("status") == 500:
                finding = self._find()
                if finding is not None:
                    return self._replace(finding)
                problem = swallowed.refusal_behind(self.scope)
                if problem is not None:
                    return self._refuse(problem)
            self.state = _BEGUN
        elif kind in _ENDS:
            # A WebSocket that the application does not accept.
            self.state = _COMPLETE
        return self._forward(message)

    async def close(self, finding: Finding) -> None:
        """Answer for an application that has let the error out."""
        failure = self._guard.settle(self, finding)
        if not failure.is_cut:
            await self._guard.answer(self.scope, self._forward, failure)
        elif self.scope["type"] == "websocket" and self.state == _BEGUN:
            await self._forward({"type": "websocket.close", "code": _WS_TRY_AGAIN})

    async def answers(self, error: Exception) -> bool:
        """Answer for an application that has let a refusal out; return whether this was one."""
        problem = problem_in(error)
        if problem is None or self.state in (_BEGUN, _COMPLETE):
            return False
        # Starlette raises again what it has answered.
        if self.state == _NOT_BEGUN:
            await self._refuse(problem)
        return True

    def body_bytes(self) -> int:
        """Return the size of the request's body, as announced or as received."""
        announced = dict(self.scope["headers"]).get(b"content-length", b"")
        return max(int(announced) if announced.isdigit() else 0, self.received_bytes)

    def heard(self) -> Finding | None:
        """Return what the witness was told."""
        return self.testimony.finding if self.testimony is not None else None

    def _find(self) -> Finding | None:
        return self.heard() or self._guard.find(sys.exception())

    def _refuse(self, problem: Problem) -> Awaitable[None]:
        self.state = _REPLACED
        return self._guard.refuse(self.scope, self._forward, problem)

    def _replace(self, finding: Finding) -> Awaitable[None]:
        failure = self._guard.settle(self, finding)
        self.state = _REPLACED
        return self._guard.answer(self.scope, self._forward, failure)


_DENIAL: Final = "websocket.http.response"
_STARTS: Final = frozenset(("http.response.start", "websocket.accept", f"{_DENIAL}.start"))
_ENDS: Final = frozenset(("http.response.body", "websocket.close", f"{_DENIAL}.body"))
# "Try again later" (RFC 6455's registry of close codes).
_WS_TRY_AGAIN: Final = 1013


def _log(failure: MemoryFailure, *, is_complete: bool) -> None:
    if is_complete:
        outcome = "its response was out already"
    elif failure.is_cut:
        outcome = "its response had begun, so its connection is closed"
    else:
        outcome = f"answered {failure.status}"
    logger.error(
        "%s ran out of memory at %s: %s; %s",
        failure.route,
        failure.line,
        outcome,
        _size(failure),
        extra={
            "fields": {
                "route": failure.route,
                "status": failure.status,
                "grown_mb": in_mb(failure.grown_bytes),
                "body_mb": in_mb(failure.body_bytes),
            }
        },
    )


def _size(failure: MemoryFailure) -> str:
    if failure.was_freed:
        return (
            f"it needed more than the {format_bytes(failure.left_bytes)} that the worker had left"
        )
    grown, left = failure.grown_bytes, max(0, failure.left_bytes - failure.grown_bytes)
    return (
        f"the worker had grown by {format_bytes(grown)} meanwhile, with {format_bytes(left)} left"
    )


async def _connected() -> Message:
    # The application has most likely received the real one.
    return {"type": "websocket.connect"}


async def _nothing() -> None:
    return None
