"""How a connection ends: refused, cut, or closed so that its last answer can be read.

Promises that whatever was accepted before is answered first; that a client which is still sending
gets the chance to read why it is refused; that dropping what it sends is bounded in bytes and time.

Does not read: the other half of a connection is :class:`~tonnage.server.protocol.Connection`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tonnage.ops.figures.counting import NO_STATUS
from tonnage.server.connections import (
    CROWDED,
    LINGER_BYTES,
    Cut,
    response,
    slow_body,
    slow_head,
)
from tonnage.units import KIB
from tonnage.web.respond import closing, respond

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from tonnage.problem import Problem
    from tonnage.server.sweeper import Sweeper
    from tonnage.web.respond import ASGIApp, Receive, Scope, Send

# What is half done on the connection. From DEAF on, what comes is dropped.
WHOLE: Final = 0  # nothing: between two requests, or in the middle of a response
HEAD: Final = 1
BODY: Final = 2
DEAF: Final = 3  # refused, and responses to earlier requests are still to go out
LINGERING: Final = 4  # refused or answered; the connection is closed on our side

# How uvicorn has a client go on that expects to be told to; it is no answer.
_GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_ZERO, _THREE = b"03"
# To join two pieces takes less than to have the loop write two, up to some size.
_MOST_JOINED_BYTES: Final = 16 * KIB


class Ending(HttpToolsProtocol):
    """The half of a connection that ends things.

    It stands in for its transport in uvicorn's cycles (``write``, ``is_closing``, ``close``), since
    whether a connection can be closed at once depends on what is still arriving.
    """

    # Slots, here and below: uvicorn's own attributes just fit into a dictionary with shared keys.
    __slots__ = (
        "_begun_seconds", "_counted_bytes", "_dropped_bytes", "_head_bytes", "_held_head",
        "_served", "_state", "_status", "_sweeper", "is_closing", "since_seconds",
    )  # fmt: skip

    def __init__(
        self,
        sweeper: Sweeper,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._sweeper = sweeper
        self._state = WHOLE
        # Of the unfinished head: its bytes at most, and what of it the sweeper has counted.
        self._head_bytes = 0
        self._counted_bytes = 0
        self._dropped_bytes = 0
        # Of the request that is being served, for those who count: there is none once it counts.
        self._served: Any = None
        self._begun_seconds = 0.0
        self._status = 0
        # Of the response: written with the first of its body. Empty: it is out, or yet to come.
        self._held_head = b""
        #: On the sweeper's clock, since when the present state, or its window, lasts.
        self.since_seconds = sweeper.now_seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, if there is room."""
        super().connection_made(transport)
        self.is_closing: Callable[[], bool] = transport.is_closing

    def connection_lost(self, exc: Exception | None) -> None:
        """End; whatever runs for this client is told."""
        self._forget_head()
        self._count()
        super().connection_lost(exc)
        if not self._is_fresh:
            # Else the two would keep each other.
            self.cycle.transport = self.transport

    @property
    def is_busy(self) -> bool:
        """Whether a request is being served."""
        return not (self._is_fresh or self.cycle.response_complete or self._state == LINGERING)

    # What a cycle calls.

    def on_response_complete(self) -> None:
        """Go on to the next request, or wait for it; as uvicorn's, without a timer."""
        if self._held_head:
            self.release_head()
        if self._served is not None:
            # As _count does, which would cost 0.1 us.
            seconds = monotonic() - self._begun_seconds
            self._sweeper.counting.count(self._served, self._status or NO_STATUS, seconds)
            self._served = None
        self.since_seconds = self._sweeper.now_seconds
        if self._state == LINGERING:
            # Whatever was to follow on this connection will not.
            self.server_state.total_requests += 1
        elif self.pipeline or self.transport.is_closing():
            if self.pipeline and not self.transport.is_closing():
                self._begin(self.pipeline[-1][0].scope)
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            if self._state != WHOLE:
                self._on_response_before_request()
            elif self.flow.read_paused:
                self.flow.resume_reading()

    def write(self, data: bytes) -> None:
        """Write; what comes first begins with the status: HTTP/1.1 200 and so on.

        The head of a response that says its length waits for the first of its body, as ASGI allows:
        it is one call of the kernel instead of two, and one packet. A stream's goes at once.
        """
        if self._held_head:
            head, self._held_head = self._held_head, b""
            if len(data) <= _MOST_JOINED_BYTES:
                self.transport.write(head + data)
            else:
                self.transport.writelines((head, data))
            return
        if not self._status and data != _GO_ON:
            digit = data[9]
            # Of what went well the class is enough.
            self._status = int(data[9:12]) if digit > _THREE else (digit - _ZERO) * 100
            # With others behind it, the latest cycle is not the one that writes.
            if self.cycle.chunked_encoding is False and not self.pipeline:
                self._held_head = data
                return
        self.transport.write(data)

    def release_head(self) -> None:
        """Write the head of a response whose body is late, or that has none."""
        head, self._held_head = self._held_head, b""
        if head:
            self.transport.write(head)

    def close(self) -> None:
        """Close, as far as the client is to be able to read what was sent."""
        self.release_head()
        if self._state == WHOLE:
            self.transport.close()
        elif self._state != LINGERING:
            self._linger()

    # What the sweeper calls.

    def cut(self, why: Cut) -> None:
        """End this connection; tell its client why where that makes sense."""
        if why is Cut.SLOW_HEAD:
            self._refuse(slow_head(self._sweeper.limits))
        elif why is Cut.SLOW_BODY:
            self._refuse(slow_body(self._sweeper.limits))
        elif self._state == WHOLE:
            # Without an answer: browsers open connections ahead of need, and would show a 408 in
            # place of the next page.
            self.transport.close()
        else:
            self._forget_head()
            self.transport.abort()

    def turn_away(self) -> None:
        """End this connection, which is one too many, before anything is read from it."""
        self._sweeper.counting.count_unread(CROWDED.status)
        self.transport.write(self._response(CROWDED))
        self.transport.close()

    def serve_only(self, path: str) -> None:
        """Serve only what is at or below *path*."""
        self.app = partial(_only, path, self.app, self._sweeper)
        # A WebSocket would be the whole application's.
        self.ws_protocol_class = None

    # The rest is ours.

    @property
    def _is_fresh(self) -> bool:
        """Whether no request has come yet; uvicorn's types do not tell that there is no cycle."""
        return self.cycle is None

    def _begin(self, scope: Any) -> None:
        """Note that the request of *scope* is served from now on."""
        self._served = scope
        self._status = 0
        self._begun_seconds = monotonic()

    def _count(self) -> None:
        """Count the request that is being served: it is answered, or nobody is there any more."""
        served = self._served
        if served is not None:
            self._served = None
            seconds = monotonic() - self._begun_seconds
            self._sweeper.counting.count(served, self._status or NO_STATUS, seconds)

    def _forget_head(self) -> None:
        self._head_bytes = 0
        if self._counted_bytes:
            self._sweeper.heads_bytes -= self._counted_bytes
            self._counted_bytes = 0

    def _refuse(self, refusal: Problem | None) -> None:
        """Answer with *refusal* and end, after the answers to requests that came before."""
        self._forget_head()
        cycle = self.cycle
        if not self.is_busy:
            # A body whose request is answered already gets no second answer.
            is_answered = self._state == BODY and cycle.more_body
            self._answer(None if is_answered else refusal)
        elif cycle.scope is not self.scope or not cycle.more_body:
            # A later request: the one before it is the last.
            cycle.keep_alive = False
            self._state = DEAF
        elif self.pipeline:
            # The body of a request that nobody has begun to serve.
            self.pipeline.popleft()
            self._state = DEAF
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self.flow.resume_writing()
            if cycle.response_started:
                self.release_head()
                self.transport.close()
            else:
                self._answer(refusal)

    def _answer(self, refusal: Problem | None) -> None:
        if refusal is not None and not self.transport.is_closing():
            self._status = refusal.status
            if self._served is None:
                self._sweeper.counting.count_unread(refusal.status)
            self.transport.write(self._response(refusal))
        self._linger()

    def _response(self, problem: Problem) -> bytes:
        permitting = self._sweeper.permitting(cast("Scope | None", self.scope))
        headers = (*self.server_state.default_headers, *permitting)
        return response(problem, headers, self._sweeper.shape)

    def _linger(self) -> None:
        """Close our half, and drop what still comes until the client has closed its own."""
        self._forget_head()
        self._state = LINGERING
        self.since_seconds = self._sweeper.now_seconds
        self._dropped_bytes = 0
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _drop(self, size_bytes: int) -> None:
        if self._state == DEAF:
            # An application that asks for more of its own request's body has it read on.
            self.flow.pause_reading()
            return
        self._dropped_bytes += size_bytes
        if self._dropped_bytes > LINGER_BYTES:
            self._sweeper.count(Cut.UNREAD)
            self.transport.abort()

    def _on_response_before_request(self) -> None:
        """Go on after a response while something of a request is half done."""
        if self._state == DEAF:
            self._linger()
        elif self._state == BODY and self.expect_100_continue:
            # Whether the body comes or another request, only the client knows.
            self._linger()
        else:
            self._dropped_bytes = 0
            if self._state == BODY:
                # What is here already is dropped as the rest will be: nobody can ask for it.
                self.cycle.body.clear()
            self.flow.resume_reading()


async def _only(
    path: str, app: ASGIApp, sweeper: Sweeper, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve *path* and what is below it, and refuse the rest: there are too many connections."""
    asked = scope["path"]
    if asked == path or asked.startswith(f"{path.rstrip('/')}/"):
        await app(scope, receive, send)
    else:
        answer = CROWDED.answer(sweeper.shape)
        answer = replace(answer, headers=(*answer.headers, *sweeper.permitting(scope)))
        await respond(scope, receive, closing(send), answer)
