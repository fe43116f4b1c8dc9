"""One connection: uvicorn's HTTP/1.1, held to our limits.

Promises that a client holds no more than :mod:`tonnage.server.connections` allows, whatever it
sends; that one which is slow is known, and one that waits for us is not taken for slow; that
trailers never become headers of a request that is running.

Does not decide when to look: that is the :class:`~tonnage.server.sweeper.Sweeper`, which looks at
each connection from time to time, so that a request needs no timer. How a connection ends is in
:mod:`tonnage.server.ending`. Parsing, scope and ASGI are uvicorn's (`HttpToolsProtocol`), whose
state is read here rather than repeated.
"""

from __future__ import annotations

import fcntl
import math
import sys
import termios
from time import monotonic
from typing import TYPE_CHECKING, Literal

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tonnage.server.connections import (
    CHUNK_BYTES,
    INVALID,
    LINGER_SECONDS,
    MOST_PIPELINED,
    NO_MEMORY,
    TOO_LARGE,
    TOO_LONG,
    TOO_MANY,
    TOO_MUCH_FRAMING,
    UNASKED_BYTES,
    UNSENT_SECONDS,
    Cut,
)
from tonnage.server.ending import BODY, DEAF, HEAD, LINGERING, WHOLE, Ending

if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

    from tonnage.problem import Problem
    from tonnage.server.sweeper import Sweeper

Verdict = Cut | Literal["idle", "over", "keep"]


class Connection(Ending):
    """A connection of a worker; made by the server for each that is accepted."""

    __slots__ = (
        "_body_bytes", "_chunks", "_framing_bytes", "_most_head_bytes", "_most_headers",
        "_refusal", "_unsent_bytes", "_watched", "_window_bytes", "serial",
    )  # fmt: skip

    def __init__(
        self,
        sweeper: Sweeper,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(sweeper, config, server_state, app_state, _loop)
        self._most_head_bytes = sweeper.limits.max_header_bytes
        self._most_headers = sweeper.limits.max_headers
        self._refusal: Problem | None = INVALID
        # Of the unfinished body: whose it is, what came of it, and how much of that before the
        # present window; chunks, and what was neither body nor their frames.
        self._watched: RequestResponseCycle | None = None
        self._body_bytes = 0
        self._window_bytes = 0
        self._chunks = 0
        self._framing_bytes = 0
        # What of the last response was still to go out when it was last looked at.
        self._unsent_bytes: float = math.inf
        #: Which connection of the worker this is, counted from its start.
        self.serial = 0

    # What the loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, if there is room."""
        super().connection_made(transport)
        self._sweeper.welcome(self)

    def data_received(self, data: bytes | memoryview) -> None:
        """Take what has come.

        The usual read is all of one or more requests, and passes without a further look.
        """
        if self._state or len(data) > self._most_head_bytes:
            self._receive(data)
            return
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._on_parser_stopped(error)
            return
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.scope is not self.scope:  # type: ignore[redundant-expr]
            self._head_bytes = len(data)
            self._look()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; of trailers no more than their number."""
        headers = self.headers
        if len(headers) >= self._most_headers:
            self._stop_parser(TOO_MANY)
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the request."""
        if (
            self._head_bytes > self._most_head_bytes
            and self._known_head_bytes() > self._most_head_bytes
        ):
            self._stop_parser(TOO_LARGE)
        if self.pipeline and len(self.pipeline) >= MOST_PIPELINED:
            # Those before it are answered, and then the connection ends: the client asks again.
            self._stop_parser(None)
        HttpToolsProtocol.on_headers_complete(self)
        cycle = self.cycle
        if cycle is not None:
            cycle.transport = self  # type: ignore[assignment]
            if cycle.scope is self.scope and not self.pipeline:
                # As _begin does, which would cost 0.1 us.
                self._served, self._status = cycle.scope, 0
                self._begun_seconds = monotonic()

    def on_chunk_header(self) -> None:
        """Count a chunk; only a body in chunks can have trailers."""
        self._chunks += 1
        if self.headers is self.scope["headers"]:
            # The parser reports trailers as headers, and uvicorn would add them to the scope of a
            # request that is running: who has checked its headers would never know.
            self.headers = list(self.headers)

    def on_body(self, body: bytes) -> None:
        """Keep a part of a body."""
        self._body_bytes += len(body)
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """Note the end of a request; also of one that is answered already, unlike uvicorn."""
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        cycle = self.cycle
        cycle.more_body = False
        if not cycle.response_complete:
            cycle.message_event.set()

    # What the sweeper calls.

    @property
    def is_in_head(self) -> bool:
        """Whether the head of a request is unfinished, and nothing else is going on."""
        return self._state == HEAD and not self.is_busy

    def judge(self, waited_seconds: float, idle_seconds: float) -> Verdict:
        """Return what is to become of this connection, *waited_seconds* into its state."""
        limits = self._sweeper.limits
        if self.transport.is_closing():
            return self._judge_closing(waited_seconds)
        if self._state == LINGERING:
            return "over" if waited_seconds >= LINGER_SECONDS else "keep"
        if self.is_busy:
            return self._judge_body(waited_seconds) if self._state == BODY else "keep"
        if self._state == BODY:
            return Cut.UNREAD if waited_seconds >= LINGER_SECONDS else "keep"
        if self._state == HEAD:
            return Cut.SLOW_HEAD if waited_seconds >= limits.header_seconds else "keep"
        if self._is_fresh:
            return Cut.SILENT if waited_seconds >= limits.header_seconds else "keep"
        return "idle" if waited_seconds >= idle_seconds else "keep"

    # The rest is ours.

    def _receive(self, data: bytes | memoryview) -> None:
        """Take what has come in the middle of a request, or where it is too much for a head."""
        if self._state >= DEAF:
            self._drop(len(data))
            return
        body_bytes = self._body_bytes
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._on_parser_stopped(error)
            return
        if self._state == BODY:
            self._framing_bytes += len(data) - (self._body_bytes - body_bytes)
            if not self.is_busy:
                self._drop(len(data))
        self._look()

    def _look(self) -> None:
        """See what is half done after a read."""
        cycle = self.cycle
        if not self._is_fresh and cycle.scope is self.scope:
            self._forget_head()
            if cycle.more_body:
                self._look_at_body(cycle)
            else:
                self._state = WHOLE
                self._watched = None
                # An idle connection is one since the end of its request, if the answer came first.
                self.since_seconds = self._sweeper.now_seconds
        elif self.scope is not None:  # else there were only blank lines
            self._look_at_head()

    def _look_at_head(self) -> None:
        if self._state != HEAD:
            self._state = HEAD
            self.since_seconds = self._sweeper.now_seconds
            if self.is_busy:
                # Before this head there was more in the same read.
                self._head_bytes = self._known_head_bytes()
        if self._head_bytes > self._most_head_bytes:
            self._sweeper.count(Cut.INVALID)
            self._refuse(TOO_LONG if 2 * len(self.url) > self._most_head_bytes else TOO_LARGE)
        elif not self.is_busy:
            self._sweeper.heads_bytes += self._head_bytes - self._counted_bytes
            self._counted_bytes = self._head_bytes
            self._sweeper.bound_heads()

    def _look_at_body(self, cycle: RequestResponseCycle) -> None:
        if self._watched is not cycle:
            self._watched = cycle
            self._chunks = self._framing_bytes = self._dropped_bytes = 0
            self._begin_window()
        self._state = BODY
        if self._framing_bytes - self._chunks * CHUNK_BYTES > self._most_head_bytes:
            self._sweeper.count(Cut.INVALID)
            self._refuse(TOO_MUCH_FRAMING)
        elif len(cycle.body) > UNASKED_BYTES and self.is_busy:
            # Once it is answered, what comes is dropped, and is read so that it can be.
            self.flow.pause_reading()

    def _judge_closing(self, waited_seconds: float) -> Verdict:
        """Wait as long as the client reads what is still to go out; it may be slow, not stuck."""
        unsent_bytes = self.transport.get_write_buffer_size() + _unacknowledged_bytes(
            self.transport
        )
        if unsent_bytes < self._unsent_bytes:
            self._unsent_bytes = unsent_bytes
            self.since_seconds = self._sweeper.now_seconds
            return "keep"
        return "over" if waited_seconds >= UNSENT_SECONDS else "keep"

    def _judge_body(self, waited_seconds: float) -> Verdict:
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            # It is we who do not read, or the client has been asked to wait.
            self._begin_window()
            return "keep"
        limits = self._sweeper.limits
        if waited_seconds < limits.body_seconds:
            return "keep"
        came_bytes = self._body_bytes - self._window_bytes
        if came_bytes < limits.min_body_bytes_per_second * waited_seconds:
            return Cut.SLOW_BODY
        self._begin_window()
        return "keep"

    def _begin_window(self) -> None:
        self.since_seconds = self._sweeper.now_seconds
        self._window_bytes = self._body_bytes

    def _known_head_bytes(self) -> int:
        """Return the size of the present head, without a header that is still incomplete."""
        # ": " and a line end for each header; method and version are not worth knowing.
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _stop_parser(self, refusal: Problem | None) -> None:
        """Leave the parser in the middle of a read; there is no other way out of it."""
        self._refusal = refusal
        raise _StopParsingError

    def _on_parser_stopped(self, error: Exception) -> None:
        if isinstance(error, httptools.HttpParserUpgrade):
            self._forget_head()
            self._state = WHOLE
            if not self._should_upgrade():
                # Else it is one connection too many, which is said in the answer.
                if self.ws_protocol_class is self.config.ws_protocol_class:
                    self._unsupported_upgrade_warning()
            elif self.is_busy:
                # The requests before it are the last here: as a WebSocket's, the connection would
                # end without their hearing of it.
                self._refuse(None)
            else:
                self.handle_websocket_upgrade()
        elif isinstance(error.__context__, MemoryError):
            # The parser calls it an error of what it was given.
            self._refuse(NO_MEMORY)
        else:
            self._sweeper.count(Cut.INVALID)
            self._refuse(self._refusal)


def _unacknowledged_bytes(transport: asyncio.Transport) -> int:
    """Return what of a connection's data is still in the kernel; 0 where that is not known."""
    found = bytearray(4)
    try:
        # SIOCOUTQ: without it a slow client would not be seen to read for minutes, as the kernel
        # takes megabytes, and the next only when much of that has gone.
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, found)
    except (AttributeError, OSError, ValueError):
        return 0
    return int.from_bytes(found, sys.byteorder)


class _StopParsingError(Exception):
    """What has been read ends here for us."""
