"""The supervisor's own answers: small requests, read strictly, one a connection."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tonnage.governor.page import SharedPage
from tonnage.ops.health import Health
from tonnage.server.operations import LONGEST_HEAD_BYTES, Conversation, NotHttpError, read_head

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_head_is_read() -> None:
    """Method, target and headers; the path is without the query."""
    head = read_head(b"GET /health?verbose=1 HTTP/1.1\r\nHost: a\r\nX-Real-IP: 1.2.3.4\r\n\r\n")

    assert head is not None
    assert (head.method, head.path) == ("GET", "/health")
    assert head.headers == [(b"host", b"a"), (b"x-real-ip", b"1.2.3.4")]


def test_an_incomplete_head_is_none_at_every_byte() -> None:
    """Until its empty line has come."""
    assert all(read_head(GET[:length]) is None for length in range(len(GET)))
    assert read_head(GET) is not None


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 5\r\n\r\nhello", b"Content-Length: 5\r\n\r\nhe"]
)
def test_a_body_does_not_matter(rest: bytes) -> None:
    """The head is complete without it."""
    head = read_head(b"POST /cache/clear HTTP/1.1\r\nHost: a\r\n" + rest)

    assert head is not None
    assert head.method == "POST"


def test_a_wish_to_change_the_protocol_is_a_head() -> None:
    """A WebSocket's handshake ends the parser's work, and is complete."""
    head = read_head(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )

    assert head is not None
    assert head.path == "/ws"


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
    ],
    ids=["TLS", "no request", "no version", "no path"],
)
def test_junk_is_no_request(junk: bytes) -> None:
    """Somebody speaks TLS to the port, or something else."""
    with pytest.raises(NotHttpError):
        read_head(junk)


@dataclass
class Talk:
    """A conversation and the client's end of it."""

    client: socket.socket
    conversation: Conversation

    def said(self, data: bytes) -> bool:
        """Send *data* and return whether the conversation is over."""
        self.client.sendall(data)
        return self.conversation.on_readable()

    def heard(self) -> tuple[int, dict[str, str], bytes]:
        """Return the answer's status, headers and body."""
        head, _, body = self.client.recv(65536).partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Yield a conversation over TCP; a loopback peer."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        client = socket.create_connection(door.getsockname(), 5.0)
        accepted, _ = door.accept()
    conversation = Conversation(
        accepted,
        Health(SharedPage(), where="supervisor"),
        admin_token=None,
        is_trusted_socket=False,
        deadline_seconds=1e9,
    )
    with client:
        yield Talk(client, conversation)
        conversation.close()


def test_health_is_answered_and_the_connection_ends(talk: Talk) -> None:
    """With its length, and without keeping the connection."""
    assert talk.said(GET)

    status, headers, body = talk.heard()
    assert status == 200
    assert headers["connection"] == "close"
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body)["answeredBy"] == "supervisor"


def test_a_head_may_come_in_pieces(talk: Talk) -> None:
    """The conversation goes on until it is whole."""
    assert not talk.conversation.on_readable()
    assert not talk.said(GET[:10])
    assert not talk.said(GET[10:-1])
    assert talk.said(GET[-1:])
    assert talk.heard()[0] == 200


def test_head_has_no_body(talk: Talk) -> None:
    """But the length that GET would have."""
    talk.said(GET.replace(b"GET", b"HEAD"))

    status, headers, body = talk.heard()
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        (b"hello there\r\n\r\n", 400),
        (b"GET /health/ready HTTP/1.1\r\nHost: a\r\n\r\n", 503),
    ],
)
def test_other_requests_get_their_status(talk: Talk, request_bytes: bytes, status: int) -> None:
    """Not found, not allowed, not understood, not ready."""
    assert talk.said(request_bytes)

    found, headers, body = talk.heard()
    assert found == status
    assert isinstance(json.loads(body), dict)
    assert (headers.get("allow") == "GET, HEAD") is (status == 405)


def test_a_forwarded_request_is_not_trusted(talk: Talk) -> None:
    """Behind a proxy on this machine everybody is a loopback peer."""
    talk.said(b"GET /health/memory HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")

    assert talk.heard()[0] == 403


def test_an_oversize_head_ends_the_conversation(talk: Talk) -> None:
    """At the bound, and without an answer."""
    start = b"GET /health HTTP/1.1\r\nX: "
    talk.client.sendall(start + b"x" * (2 * LONGEST_HEAD_BYTES))

    for _ in range(3):
        if talk.conversation.on_readable():
            break
    else:
        pytest.fail("the conversation goes on")


def test_a_client_that_goes_ends_the_conversation(talk: Talk) -> None:
    """Before it has asked anything."""
    talk.client.close()

    assert talk.conversation.on_readable()


def test_a_client_that_asks_and_resets_ends_the_conversation(talk: Talk) -> None:
    """What it asked can still be read, but nobody is there any more, not even an address."""
    talk.client.sendall(GET)
    talk.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.client.close()

    assert talk.conversation.on_readable()
