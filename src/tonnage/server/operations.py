"""The supervisor's own answers: on the control socket, on ``--admin-port``, and for stuck workers.

A few small requests at a time, inside the supervisor's loop, without an event loop of its own: at
most :data:`MOST_CONNECTIONS` connections, each with a request head of at most
:data:`LONGEST_HEAD_BYTES`, one request each, and a deadline.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tonnage.ops.health import Answer, is_trusted

if TYPE_CHECKING:
    from tonnage.ops.health import Health

MOST_CONNECTIONS: Final = 64
LONGEST_HEAD_BYTES: Final = 8 * 1024
DEADLINE_SECONDS: Final = 5.0

_NOT_FOUND = Answer(404, b'{"error":"not_found"}')
_BAD_REQUEST = Answer(400, b'{"error":"bad_request"}')
_METHOD = Answer(405, b'{"error":"method_not_allowed"}', ((b"allow", b"GET, HEAD"),))
_PHRASES = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}
_PHRASES |= {405: "Method Not Allowed", 503: "Service Unavailable"}


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
        return self.target.split(b"?", 1)[0].decode("latin-1")


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


def answer(health: Health, head: Head, *, trusted: bool) -> Answer:
    """Return the answer to *head*."""
    found = health.find(head.path)
    if found is None:
        return _NOT_FOUND
    return found(trusted) if head.method in ("GET", "HEAD") else _METHOD


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
    ) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.deadline_seconds = deadline_seconds
        self._health = health
        self._admin_token = admin_token
        self._is_trusted_socket = is_trusted_socket
        # At most LONGEST_HEAD_BYTES.
        self._received = b""

    def fileno(self) -> int:
        """Return the descriptor, to select on."""
        return self.socket.fileno()

    def on_readable(self) -> bool:
        """Read what has come; return True once the conversation is over."""
        try:
            data = self.socket.recv(LONGEST_HEAD_BYTES - len(self._received))
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._received += data
        try:
            head = read_head(self._received)
        except NotHttpError:
            self._send(write(_BAD_REQUEST))
            return True
        if head is None:
            return not data or len(self._received) >= LONGEST_HEAD_BYTES
        reply = answer(self._health, head, trusted=self._trusts(head))
        self._send(write(reply, head.method))
        return True

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def _trusts(self, head: Head) -> bool:
        if self._is_trusted_socket:
            return True
        return is_trusted(peer_of(self.socket), head.headers, self._admin_token)

    def _send(self, data: bytes) -> None:
        # An answer is a few KB and fits into the socket's buffer, which is empty.
        try:
            self.socket.send(data)
        except OSError:
            return
