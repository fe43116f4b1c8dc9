"""The stand-in: health is answered, everything else is kept whole for a worker."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tonnage.governor.page import SharedPage
from tonnage.ops.health import Health
from tonnage.server.messages import WORKERS, Adopt, SupervisorChannel, WorkerChannel
from tonnage.server.standin import MOST_HELD, PEEK_SECONDS, StandIn

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Port:
    """A listening port with nobody behind it but the stand-in."""

    listening: socket.socket
    standin: StandIn
    clients: list[socket.socket] = field(default_factory=list)

    def ask(self, data: bytes, now_seconds: float = 0.0) -> tuple[socket.socket, bool]:
        """Connect and send *data*; return the client, and whether the stand-in is done with it."""
        client = socket.create_connection(self.listening.getsockname(), 5.0)
        self.clients.append(client)
        client.sendall(data)
        taken = self.standin.accept(now_seconds)
        assert taken is not None
        return client, self.standin.on_readable(taken)

    def hand_over(self) -> list[socket.socket]:
        """Return the connections that a worker gets, who takes what fits and then more."""
        ours, theirs = worker()
        got = []
        while not self.standin.is_empty:
            self.standin.hand_over([ours])
            taken = take(theirs)
            assert taken
            got += taken
        ours.close()
        theirs.close()
        return got


def worker() -> tuple[WorkerChannel, SupervisorChannel]:
    """Return a channel to a worker, and the worker's end of it."""
    ours, theirs = WORKERS.pair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def take(theirs: SupervisorChannel) -> list[socket.socket]:
    """Return the connections that have arrived at a worker's end."""
    got = []
    while (received := theirs.receive()) is not None:
        message, (fd,) = received
        assert message == Adopt()
        got.append(socket.socket(fileno=fd))
    return got


@pytest.fixture
def port() -> Iterator[Port]:
    """Yield a port with a stand-in."""
    with socket.create_server(("127.0.0.1", 0), backlog=2 * MOST_HELD) as listening:
        listening.setblocking(False)
        health = Health(SharedPage(), where="supervisor")
        port = Port(listening, StandIn(listening, health, None))
        yield port
        port.standin.close()
        for client in port.clients:
            client.close()


def test_health_is_answered(port: Port) -> None:
    """At once, and with all that a trusted client sees."""
    client, done = port.ask(GET % b"/health")

    assert done
    head, _, body = client.recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(body)["answeredBy"] == "supervisor"
    assert client.recv(1) == b""
    assert port.standin.is_empty


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET % b"/work",
        b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        b"\x16\x03\x01 not HTTP at all",
    ],
    ids=["the app's path", "the app's method", "the app's protocol"],
)
def test_what_is_not_health_is_handed_over_unread(port: Port, request_bytes: bytes) -> None:
    """A worker reads every byte that the client has sent, and answers on the same connection."""
    client, done = port.ask(request_bytes)
    assert done
    assert not port.standin.is_empty

    (connection,) = port.hand_over()

    with connection:
        assert connection.recv(65536) == request_bytes
        connection.send(b"from the worker")
        assert client.recv(100) == b"from the worker"
    assert port.standin.is_empty


def test_a_request_in_pieces_is_awaited(port: Port) -> None:
    """The first piece stays in the socket until it is clear who answers."""
    client, done = port.ask((GET % b"/health")[:9])
    assert not done

    client.sendall((GET % b"/health")[9:])

    assert port.standin.on_readable(next(iter(port.standin.looking)))
    assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_who_says_too_little_is_held_for_a_worker(port: Port) -> None:
    """After half a second it is not the stand-in's to judge."""
    port.ask(b"GET /hea", now_seconds=100.0)
    assert port.standin.overdue(100.0 + PEEK_SECONDS / 2) == []

    late = port.standin.overdue(100.0 + PEEK_SECONDS)

    assert len(late) == 1
    (connection,) = port.hand_over()
    with connection:
        assert connection.recv(100) == b"GET /hea"


def test_when_a_worker_is_back_nobody_is_looked_at_any_more(port: Port) -> None:
    """Also who has not said anything yet is handed over."""
    port.ask(b"")

    assert len(port.standin.release()) == 1
    for connection in port.hand_over():
        connection.close()
    assert port.standin.is_empty


def test_no_more_are_taken_than_may_be_held(port: Port) -> None:
    """The others stay in the kernel's queue."""
    for _ in range(MOST_HELD):
        port.ask(GET % b"/work")
    port.clients.append(socket.create_connection(port.listening.getsockname(), 5.0))

    assert port.standin.accept(0.0) is None
    handed = port.hand_over()
    assert len(handed) == MOST_HELD
    taken = port.standin.accept(0.0)
    assert taken is not None
    taken.close()
    for connection in handed:
        connection.close()


def test_workers_get_what_is_held_in_turn(port: Port) -> None:
    """The liveliest first; one alone would be stuck again with all of it."""
    for number in range(5):
        port.ask(GET % b"/work/%d" % number)
    pairs = [worker(), worker()]

    port.standin.hand_over([ours for ours, _ in pairs])

    assert port.standin.is_empty
    asked = []
    for ours, theirs in pairs:
        connections = take(theirs)
        asked.append([connection.recv(100).split()[1] for connection in connections])
        for connection in connections:
            connection.close()
        ours.close()
        theirs.close()
    assert asked == [[b"/work/0", b"/work/2", b"/work/4"], [b"/work/1", b"/work/3"]]


def test_without_a_worker_everything_is_kept(port: Port) -> None:
    """Until somebody wakes."""
    port.ask(GET % b"/work")

    port.standin.hand_over([])

    (connection,) = port.hand_over()
    connection.close()


def test_what_a_dead_worker_did_not_take_is_kept(port: Port) -> None:
    """For the next one."""
    port.ask(GET % b"/work")
    ours, theirs = WORKERS.pair()
    theirs.close()
    port.standin.hand_over([ours])
    ours.close()

    assert not port.standin.is_empty
    for connection in port.hand_over():
        connection.close()


def test_an_empty_queue_is_none(port: Port) -> None:
    """Another process was quicker."""
    assert port.standin.accept(0.0) is None


def test_a_client_that_goes_is_dropped(port: Port) -> None:
    """It has asked nothing, so there is nothing to keep."""
    client, done = port.ask(b"")
    assert not done
    client.close()

    assert port.standin.on_readable(next(iter(port.standin.looking)))
    assert port.standin.is_empty


@pytest.mark.parametrize("data", [GET % b"/health", GET % b"/work", b""])
def test_a_client_that_resets_harms_nobody(port: Port, data: bytes) -> None:
    """Whatever it had asked before."""
    client = socket.create_connection(port.listening.getsockname(), 5.0)
    client.sendall(data)
    taken = port.standin.accept(0.0)
    assert taken is not None
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

    assert port.standin.on_readable(taken)


def test_closing_ends_what_is_held(port: Port) -> None:
    """The client learns of it."""
    client, _ = port.ask(GET % b"/work")

    port.standin.close()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
