"""The supervisor's own answers: small requests, read strictly, one a connection."""

from __future__ import annotations

import json
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.server.test_actions import Hand

from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import read_statistics
from tonnage.ops.health import Health
from tonnage.server.actions import Actions
from tonnage.server.conversation import (
    LONGEST_ANSWER_BYTES,
    LONGEST_HEAD_BYTES,
    MOST_DISCARDED_BYTES,
    Conversation,
    NotHttpError,
    read_head,
)
from tonnage.server.views import Views

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


@pytest.mark.parametrize(
    ("headers", "announced"),
    [
        (b"", False),
        (b"Content-Length: 0\r\n", False),
        (b"Content-Length: 10\r\n", True),
        (b"Transfer-Encoding: chunked\r\n", True),
    ],
)
def test_a_head_says_whether_a_body_follows(headers: bytes, announced: bool) -> None:
    """By its length, or in chunks."""
    head = read_head(b"POST /recycle?worker=1 HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n")

    assert head is not None
    assert (head.path, head.query, head.has_body) == ("/recycle", "worker=1", announced)


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
    hand: Hand

    def said(self, data: bytes) -> bool:
        """Send *data* and return whether the conversation is over."""
        self.client.sendall(data)
        return self.conversation.on_ready()

    def heard(self) -> tuple[int, dict[str, str], bytes]:
        """Return the answer's status, headers and body, as far as it has come."""
        head, _, body = self.client.recv(65536).partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


def talk_over(
    pair: tuple[socket.socket, socket.socket], *, trusted: bool, token: str | None = None
) -> Iterator[Talk]:
    """Yield a conversation over *pair* of sockets."""
    client, accepted = pair
    hand, page = Hand(), SharedPage()
    conversation = Conversation(
        accepted,
        Health(page, where="supervisor"),
        admin_token=token,
        is_trusted_socket=trusted,
        deadline_seconds=1e9,
        actions=Actions(hand, lambda: read_statistics(page, 0)),
        views=Views(),
    )
    with client:
        yield Talk(client, conversation, hand)
        conversation.close()


def tcp() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection over TCP; a loopback peer."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        client = socket.create_connection(door.getsockname(), 5.0)
        accepted, _ = door.accept()
    return client, accepted


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Yield a conversation over TCP; a loopback peer."""
    yield from talk_over(tcp(), trusted=False, token="opensesame")


@pytest.fixture
def control() -> Iterator[Talk]:
    """Yield a conversation over a Unix socket whose permissions have decided."""
    yield from talk_over(socket.socketpair(), trusted=True)


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
    assert not talk.conversation.on_ready()
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
        (b"POST /security/events HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
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
        if talk.conversation.on_ready():
            break
    else:
        pytest.fail("the conversation goes on")


def test_a_client_that_goes_ends_the_conversation(talk: Talk) -> None:
    """Before it has asked anything."""
    talk.client.close()

    assert talk.conversation.on_ready()


def test_a_client_that_asks_and_resets_ends_the_conversation(talk: Talk) -> None:
    """What it asked can still be read, but nobody is there any more, not even an address."""
    talk.client.sendall(GET)
    talk.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.client.close()

    assert talk.conversation.on_ready()


POST = b"POST /recycle?worker=1 HTTP/1.1\r\nHost: a\r\n%s\r\n"


def test_the_control_socket_may_act(control: Talk) -> None:
    """Its permissions have decided."""
    assert control.said(POST % b"")

    status, headers, body = control.heard()
    assert (status, headers["content-type"]) == (202, "application/json")
    assert json.loads(body)["worker"] == 1
    assert control.hand.asked == [("recycle", 1)]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"", 403),
        (b"Authorization: Bearer guessed\r\n", 403),
        (b"Authorization: Bearer opensesame\r\n", 202),
    ],
)
def test_a_loopback_peer_may_act_with_the_token_only(
    talk: Talk, header: bytes, status: int
) -> None:
    """It can be any user of this machine, though it may see the figures."""
    assert talk.said(POST % header)

    assert talk.heard()[0] == status
    assert bool(talk.hand.asked) is (status == 202)


def test_health_stays_where_the_user_has_put_it() -> None:
    """Even where an action is called the same."""
    page = SharedPage()
    client, accepted = socket.socketpair()
    conversation = Conversation(
        accepted,
        Health(page, path="/status"),
        admin_token=None,
        is_trusted_socket=True,
        deadline_seconds=1e9,
        actions=Actions(Hand(), lambda: read_statistics(page, 0)),
        views=Views(),
    )
    with client:
        talk = Talk(client, conversation, Hand())
        assert talk.said(GET.replace(b"/health", b"/status"))
        assert "uptime" in json.loads(talk.heard()[2])
        conversation.close()


def test_a_long_answer_goes_on_when_there_is_room(control: Talk) -> None:
    """More than a socket's buffer holds; it waits for room, and comes whole."""
    text = "".join(f"line {number}\n" for number in range(20_000))
    control.hand.reports = {"long": {"text": text}}
    control.conversation.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    assert not control.said(GET.replace(b"/health", b"/postmortems/long.txt"))

    assert control.conversation.events == select.POLLOUT
    got = b""
    while True:
        assert control.conversation.unsent_bytes <= LONGEST_ANSWER_BYTES
        got += control.client.recv(2**20)
        if control.conversation.on_ready():
            break
    control.conversation.close()
    while data := control.client.recv(2**20):
        got += data
    assert got.endswith(b"\r\n\r\n" + text.encode())


def test_a_reader_who_is_slow_is_no_reason_to_turn(control: Talk) -> None:
    """Without room nothing is sent, and nothing is lost."""
    control.hand.reports = {"long": {"text": "x" * LONGEST_ANSWER_BYTES}}
    control.conversation.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    control.said(GET.replace(b"/health", b"/postmortems/long.txt"))
    before = control.conversation.unsent_bytes

    assert not control.conversation.on_ready()
    assert control.conversation.unsent_bytes == before > 0


def test_an_answer_that_is_too_long_is_not_kept(control: Talk) -> None:
    """The supervisor is small; the files are there."""
    control.hand.reports = {"long": {"text": "x" * (LONGEST_ANSWER_BYTES + 1)}}

    assert control.said(GET.replace(b"/health", b"/postmortems/long.txt"))

    status, _, body = control.heard()
    assert status == 500
    assert "--report-dir" in json.loads(body)["detail"]


def test_who_sends_a_body_sees_the_answer(talk: Talk) -> None:
    """Closed at once, with the body unread, the connection would be reset."""
    assert not talk.said(POST % b"Authorization: Bearer opensesame\r\nContent-Length: 30000\r\n")
    assert not talk.said(b"x" * 30000)

    status, _, body = talk.heard()
    assert (status, json.loads(body)["error"]) == (400, "bad_request")
    assert talk.client.recv(1) == b""
    talk.client.close()
    for _ in range(30):
        if talk.conversation.on_ready():
            break
    else:
        pytest.fail("the conversation goes on")


def test_a_body_without_end_ends_the_conversation(control: Talk) -> None:
    """So much is thrown away, and no more."""
    control.said(POST % b"Transfer-Encoding: chunked\r\n")
    thrown = 0
    while not control.said(b"x" * 4096):
        thrown += 4096
        assert thrown <= MOST_DISCARDED_BYTES
