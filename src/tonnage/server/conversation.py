"""The supervisor's own answers: on the control socket, on ``--admin-port``, and for stuck workers.

A few small requests at a time, inside the supervisor's loop, without an event loop of its own: at
most :data:`MOST_CONNECTIONS` connections, each with a request head of at most
:data:`LONGEST_HEAD_BYTES`, one request each, an answer of at most :data:`LONGEST_ANSWER_BYTES`, and
a deadline. Bodies of requests are not read.

Health (:mod:`tonnage.ops.health`) is for everyone; views (:class:`Views`) and security events
(:mod:`tonnage.ops.security`) are for operators (:mod:`tonnage.ops.trust`); actions
(:mod:`tonnage.server.actions`) are for whoever can open the control socket or sends the token. A
loopback peer alone may not act by these: that can be any user of the machine. The page's own
buttons (:meth:`Views.pressed`) are pressed by whom :func:`tonnage.ops.trust.may_press` lets.
"""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tonnage.answer import Answer
from tonnage.ops import security
from tonnage.ops.answers import problem, wrong_method
from tonnage.ops.trust import is_operator, is_trusted, may_press, may_see

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.ops.health import Health
    from tonnage.server.actions import Actions
    from tonnage.server.views import Views

MOST_CONNECTIONS: Final = 64
LONGEST_HEAD_BYTES: Final = 8 * 1024
DEADLINE_SECONDS: Final = 5.0
# A report on a dead worker has some 20 KB; what does not fit into the socket's buffer waits here.
LONGEST_ANSWER_BYTES: Final = 256 * 1024
# Of a body that nobody reads so much is thrown away, so that its sender gets to see the answer.
MOST_DISCARDED_BYTES: Final = 64 * 1024

_NOT_FOUND = Answer(404, b'{"error":"not_found"}')
_BAD_REQUEST = Answer(400, b'{"error":"bad_request"}')
_METHOD = wrong_method("GET, HEAD")
_TOO_LONG = problem(500, "too_long", "the answer is too long for this door; see --report-dir")
_PHRASES = {200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}
_PHRASES |= {405: "Method Not Allowed", 409: "Conflict", 500: "Internal Server Error"}
_PHRASES |= {503: "Service Unavailable"}


class NotHttpError(ValueError):
    """What was received is no HTTP request."""


@dataclass(slots=True)
class Head:
    """The head of a request, as httptools reads it."""

    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    method: str = ""
    is_complete: bool = False

    def on_url(self, url: bytes) -> None:
        """Collect the target (httptools calls this)."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header (httptools calls this)."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Note the end of the head (httptools calls this)."""
        self.is_complete = True

    @property
    def path(self) -> str:
        """The path without the query, as it was sent."""
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def query(self) -> str:
        """What follows the question mark, as it was sent; empty if there is none."""
        return self.target.partition(b"?")[2].decode("latin-1")

    @property
    def has_body(self) -> bool:
        """Whether a body is announced."""
        length = self.header(b"content-length").strip(b"0 ")
        return bool(length or self.header(b"transfer-encoding"))

    def header(self, name: bytes) -> bytes:
        """Return the value of the header *name* (in lower case); empty if it was not sent."""
        return next((value for found, value in self.headers if found == name), b"")


def read_head(data: bytes) -> Head | None:
    """Return the head that *data* begins with; None while it is incomplete.

    Raises:
        NotHttpError: it is no HTTP.
    """
    # Imported when somebody asks: the supervisor has no other use for it.
    import httptools

    head = Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        head.is_complete = True
    except httptools.HttpParserError as error:
        raise NotHttpError from error
    if not head.is_complete:
        return None
    head.method = parser.get_method().decode("ascii")
    return head


def write(answer: Answer, method: str = "GET") -> bytes:
    """Return *answer* as it goes over the wire."""
    lines = [f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}".encode()]
    lines += [name + b": " + value for name, value in answer.all_headers()]
    body = b"" if method == "HEAD" else answer.body
    return b"\r\n".join([*lines, b"connection: close", b"", body])


def peer_of(connection: socket.socket) -> str | None:
    """Return the address at the other end; None on Unix sockets, and if the peer has reset."""
    try:
        peer = connection.getpeername()
    except OSError:
        # What it sent before can still be read, so this is no surprise.
        return None
    return peer[0] if isinstance(peer, tuple) else None


class Conversation:
    """One connection of a person or a prober with the supervisor."""

    def __init__(
        self,
        connection: socket.socket,
        health: Health,
        *,
        admin_token: str | None,
        is_trusted_socket: bool,
        deadline_seconds: float,
        actions: Actions | None,
        views: Views,
    ) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.deadline_seconds = deadline_seconds
        self._health = health
        self._actions = actions
        self._views = views
        self._admin_token = admin_token
        self._is_trusted_socket = is_trusted_socket
        # At most LONGEST_HEAD_BYTES.
        self._received = b""
        # At most LONGEST_ANSWER_BYTES and a head.
        self._unsent = memoryview(b"")
        # None until the answer is sent.
        self._left_to_discard: int | None = None
        self._body_follows = False

    @property
    def events(self) -> int:
        """What to wait for now, as ``poll`` has it: room to write, or something to read."""
        return select.POLLOUT if self._unsent else select.POLLIN

    @property
    def unsent_bytes(self) -> int:
        """How much of the answer is kept here until the other end reads."""
        return len(self._unsent)

    def fileno(self) -> int:
        """Return the descriptor, to select on."""
        return self.socket.fileno()

    def on_ready(self) -> bool:
        """Read or write what can be; return True once the conversation is over."""
        try:
            if self._unsent:
                return self._send()
            if self._left_to_discard is not None:
                return self._discard()
            return self._receive()
        except BlockingIOError:
            return False
        except OSError:
            # The other end is gone.
            return True

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def _receive(self) -> bool:
        data = self.socket.recv(LONGEST_HEAD_BYTES - len(self._received))
        self._received += data
        try:
            head = read_head(self._received)
        except NotHttpError:
            return self._reply(_BAD_REQUEST, "GET")
        if head is None:
            return not data or len(self._received) >= LONGEST_HEAD_BYTES
        self._received = b""
        self._body_follows = head.has_body
        return self._reply(self._answer(head), head.method)

    def _answer(self, head: Head) -> Answer:
        # The user can move health to any path, so it comes first.
        if (found := self._health.find(head.path)) is not None:
            if head.method not in ("GET", "HEAD"):
                return _METHOD
            return found(self._may(is_trusted, head))
        if self._actions is not None:
            if self._actions.has(head.path):
                return self._actions.answer(head, allowed=self._may_act(head))
            pressed = self._views.pressed(head)
            if pressed is not None and self._actions.has(pressed.path):
                allowed = self._may(may_press, head, time.time())
                return self._actions.answer(pressed, allowed=allowed)
        if self._views.has(head.path):
            return self._views.answer(head, allowed=self._may(may_see, head, time.time()))
        return self._answer_events(head) if head.path == security.PATH else _NOT_FOUND

    def _answer_events(self, head: Head) -> Answer:
        if head.method not in ("GET", "HEAD"):
            return _METHOD
        trusted = self._may(is_operator, head)
        return security.answer_events(head.query, trusted=trusted) or _NOT_FOUND

    def _may(self, lets: Callable[..., bool], head: Head, *more: float) -> bool:
        """Return whether *lets*, given *more*, lets the sender of *head*: or the socket does."""
        if self._is_trusted_socket:
            return True
        return lets(peer_of(self.socket), head.headers, self._admin_token, *more)

    def _may_act(self, head: Head) -> bool:
        # Without a peer's address, only the token counts.
        return self._is_trusted_socket or is_trusted(None, head.headers, self._admin_token)

    def _reply(self, reply: Answer, method: str) -> bool:
        fits = len(reply.body) <= LONGEST_ANSWER_BYTES
        self._unsent = memoryview(write(reply if fits else _TOO_LONG, method))
        return self._send()

    def _send(self) -> bool:
        self._unsent = self._unsent[self.socket.send(self._unsent) :]
        if self._unsent:
            return False
        if not self._body_follows:
            return True
        # Closed with something unread, the connection would be reset, and the answer perhaps lost.
        self.socket.shutdown(socket.SHUT_WR)
        self._left_to_discard = MOST_DISCARDED_BYTES
        return self._discard()

    def _discard(self) -> bool:
        data = self.socket.recv(LONGEST_HEAD_BYTES)
        self._left_to_discard = (self._left_to_discard or 0) - len(data)
        return not data or self._left_to_discard <= 0
