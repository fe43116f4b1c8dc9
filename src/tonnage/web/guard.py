"""The guard: a request that runs out of memory gets a clear answer, and the others go on.

Stands between the gate and the application. Covers, for each HTTP request and WebSocket: its entry
in the table of what is in flight; turning a MemoryError, wherever it surfaces in the request, into
503 or 413; freeing what it holds; the line in the log.

A framework may answer 500 itself before the error gets here. Where it does so while it handles the
error (Starlette, FastAPI), ``send`` sees it; where it does so afterwards (Django, Flask, WSGI),
:mod:`tonnage.web.witness` has been told of it. In both cases our answer takes the place of the 500.
If the response has begun, nothing can replace it: the request ends, and since its response is not
complete, the server closes the connection.

Does not cover what becomes of the worker: whoever makes the guard is told of each failure. Nor
errors that do not surface in the request, as in a task that nobody waits for.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Final

from tonnage.governor.flight import NO_ENTRY
from tonnage.units import format_bytes, in_mb
from tonnage.web.outofmemory import (
    Finding,
    MemoryFailure,
    Reserve,
    examine,
    may_hold_memory_error,
    memory_error_in,
    status_for,
)
from tonnage.web.refusal import out_of_memory
from tonnage.web.respond import respond
from tonnage.web.witness import Testimony, listen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tonnage.governor.admission import Request
    from tonnage.governor.costs import RouteCost
    from tonnage.governor.flight import Flight
    from tonnage.governor.page import SharedPage, Slot
    from tonnage.host.processes import StatmSample
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
        clock_ns: Callable[[], int] = time.monotonic_ns,
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
            clock_ns: the monotonic clock in nanoseconds.
        """
        self.app = app
        self._page = page
        self._slot = slot
        self._flight = flight
        self._read = read
        self._on_memory_error = on_memory_error
        self._retry_after_seconds = round(retry_after_seconds or RETRY_AFTER_SECONDS)
        self._clock_ns = clock_ns
        self._reserve = Reserve()
        #: Whether a framework is there that answers errors by itself, out of our sight.
        self.listens = listen(self.find)

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
        begun_ns = self._clock_ns()
        entry = self._flight.begin(route.row, client[0] if client else "", begun_ns)
        if request is not None:
            self._board(request, entry)
        attempt = _Attempt(self, route, scope, receive, send, self._slot.held_bytes)
        if scope.get("method") in _WITH_BODY:
            receive = attempt.receive
        try:
            await self.app(scope, receive, attempt.send)
        except Exception as error:
            if not self._is_memory(error, attempt):
                raise
        finally:
            if request is not None:
                # What comes free or is charged from now on is not in flight any more.
                request.entry = NO_ENTRY
            self._flight.end(entry)
            if attempt.finding is not None or attempt.state == _REPLACED:
                now_ns, room = self._clock_ns(), self._page.header.workers_ceiling_bytes
                route.note_out_of_memory(
                    (now_ns - begun_ns) / 1e9, attempt.had_bytes, room, now_ns / 1e9
                )
                if request is not None:
                    # What it took says nothing about the next one.
                    request.is_observed = True
        # The error, and with it what it held, is gone by now.
        if attempt.finding is not None:
            await attempt.close()

    def note_expected(self, requests: Iterable[Request]) -> None:
        """Write into their entries what *requests* are still expected to grow by."""
        room = self._page.header.workers_ceiling_bytes
        for request in requests:
            self._flight.expect(request.entry, int(request.remaining(room).worst_bytes))

    def find(self, error: BaseException | None) -> Finding | None:
        """Return what is to know of the MemoryError behind *error*, freed; None: there is none.

        Works in any thread.
        """
        if not may_hold_memory_error(error):
            return None
        # Even the search needs memory, and there may be none at all.
        self._reserve.release()
        found = memory_error_in(error)
        if found is not None:
            return examine(found, self._read)
        self._reserve.refill()
        return None

    def settle(self, attempt: _Attempt, finding: Finding) -> MemoryFailure:
        """Count, tell and log the failure of *attempt*."""
        begun = attempt.state in (_BEGUN, _COMPLETE)
        header = self._page.header
        grown = max(0, finding.private_bytes - self._slot.baseline_bytes - attempt.held_bytes)
        free = finding.free_bytes
        if free is None:
            free = max(0, header.limit_bytes - header.used_bytes)
        left, body = grown + free, attempt.body_bytes()
        attempt.had_bytes = left
        failure = MemoryFailure(
            route=attempt.route.name,
            line=finding.line,
            grown_bytes=grown,
            body_bytes=body,
            left_bytes=left,
            status=0 if begun else status_for(body, left),
        )
        self._slot.memory_errors += 1
        self._on_memory_error(failure)
        _log(failure, is_complete=attempt.state == _COMPLETE)
        self._reserve.refill()
        return failure

    def answer(self, attempt: _Attempt, failure: MemoryFailure) -> Awaitable[None]:
        """Send our answer in place of the application's."""
        retry_after_seconds = self._retry_after_seconds
        answer = out_of_memory(failure, retry_after_seconds=retry_after_seconds)
        return respond(attempt.scope, _connected, attempt.forward, answer)

    def _board(self, request: Request, entry: int) -> None:
        # The step that is running began before there was an entry.
        request.entry = entry
        self._flight.run(entry)
        self.note_expected((request,))

    def _is_memory(self, error: Exception, attempt: _Attempt) -> bool:
        if attempt.state == _REPLACED:
            # Starlette raises again what it has answered.
            return memory_error_in(error) is not None
        attempt.finding = self.find(error)
        return attempt.finding is not None


class _Attempt:
    """One request at the application: what has come of its body and gone of its response."""

    # Class attributes, and few others, since one of these is made for every request.
    state = _NOT_BEGUN
    received_bytes = 0
    #: What it could have allocated, once it has run out of memory.
    had_bytes = 0
    #: Set where a MemoryError has come out of the application.
    finding: Finding | None = None
    _testimony: Testimony | None = None

    def __init__(
        self,
        guard: Guard,
        route: RouteCost,
        scope: Scope,
        receive: Receive,
        forward: Send,
        held_bytes: int,
    ) -> None:
        self.route = route
        self.scope = scope
        self.forward = forward
        self.held_bytes = held_bytes
        self._guard = guard
        self._receive = receive
        if guard.listens:
            self._testimony = Testimony(guard.find)

    async def receive(self) -> Message:
        """Receive for the application, and count the body."""
        message = await self._receive()
        self.received_bytes += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Send for the application, unless this is the 500 it makes of a MemoryError."""
        if self.state is _BEGUN:
            if not message.get("more_body", False) and message["type"] in _ENDS:
                self.state = _COMPLETE
            return self.forward(message)
        kind = message["type"]
        if self.state == _REPLACED:
            return _nothing()
        if kind in _STARTS:
            if message.get("status") == 500:
                finding = self._find()
                if finding is not None:
                    return self._replace(finding)
            self.state = _BEGUN
        elif kind in _ENDS:
            # A WebSocket that the application does not accept.
            self.state = _COMPLETE
        return self.forward(message)

    async def close(self) -> None:
        """Answer for an application that has let the error out."""
        assert self.finding is not None
        failure = self._guard.settle(self, self.finding)
        if not failure.is_cut:
            await self._guard.answer(self, failure)
        elif self.scope["type"] == "websocket" and self.state == _BEGUN:
            await self.forward({"type": "websocket.close", "code": _WS_TRY_AGAIN})

    def body_bytes(self) -> int:
        """Return the size of the request's body, as announced or as received."""
        announced = dict(self.scope["headers"]).get(b"content-length", b"")
        return max(int(announced) if announced.isdigit() else 0, self.received_bytes)

    def _find(self) -> Finding | None:
        heard = self._testimony.finding if self._testimony is not None else None
        return heard or self._guard.find(sys.exception())

    def _replace(self, finding: Finding) -> Awaitable[None]:
        failure = self._guard.settle(self, finding)
        self.state = _REPLACED
        return self._guard.answer(self, failure)


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
        "%s ran out of memory at %s: %s; the worker had grown by %s meanwhile",
        failure.route,
        failure.line,
        outcome,
        format_bytes(failure.grown_bytes),
        extra={
            "fields": {
                "route": failure.route,
                "status": failure.status,
                "grown_mb": in_mb(failure.grown_bytes),
                "body_mb": in_mb(failure.body_bytes),
            }
        },
    )


async def _connected() -> Message:
    # The application has most likely received the real one.
    return {"type": "websocket.connect"}


async def _nothing() -> None:
    return None
