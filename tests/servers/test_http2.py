"""Over HTTP/2, where servers have them: early hints before a response, and trailers behind it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from tests.servers.serving import serving

from tonnage.units import MIB

pytestmark = pytest.mark.real

# What limits add, and the time of day.
_ADDED = (b"date", b"ratelimit", b"ratelimit-policy", b"vary")
_SHOWN = (InformationalResponseReceived, ResponseReceived, TrailersReceived)
Said = list[tuple[str, object]]


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    """Yield the ports of a server with the bare application, and of one with all limits on."""
    with ExitStack() as stack:
        bare = stack.enter_context(serving("hypercorn", "bare"))
        yield bare, stack.enter_context(serving("hypercorn", "limited"))


def ask(port: int, path: str, method: str = "GET", body_bytes: int = 0) -> Said:
    """Return what comes back, in order; a body is sent as far as it is wanted."""
    client = H2Connection(H2Configuration(header_encoding=None))
    with socket.create_connection(("127.0.0.1", port), 10.0) as connection:
        client.initiate_connection()
        headers = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "a")]
        client.send_headers(1, [*headers, ("te", "trailers")], end_stream=not body_bytes)
        said: Said = []
        while True:
            while body_bytes and (room := min(client.local_flow_control_window(1), 16384)):
                body_bytes -= min(room, body_bytes)
                client.send_data(1, bytes(room), end_stream=not body_bytes)
            connection.sendall(client.data_to_send())
            received = connection.recv(65536)
            assert received, said
            for event in client.receive_data(received):
                if isinstance(event, StreamEnded | StreamReset):
                    return said
                _note(said, event)
                if isinstance(event, DataReceived):
                    client.acknowledge_received_data(event.flow_controlled_length, 1)


def _note(said: Said, event: Event) -> None:
    if isinstance(event, DataReceived):
        said.append(("data", event.data))
    elif isinstance(event, _SHOWN):
        headers = [each for each in event.headers or () if each[0] not in _ADDED]
        said.append((type(event).__name__, headers))


@pytest.mark.parametrize(
    ("path", "part"), [("/hinted", "InformationalResponse"), ("/trailed", "Trailers")]
)
def test_hints_and_trailers_pass(ports: tuple[int, int], path: str, part: str) -> None:
    """As they are, and in their place."""
    bare, limited = (ask(port, path) for port in ports)

    assert limited == bare
    assert f"{part}Received" in dict(bare)


def test_a_body_that_is_too_large_ends_its_stream_only(ports: tuple[int, int]) -> None:
    """There is no connection to close: others go on on it."""
    said = dict(ask(ports[1], "/count", "POST", 2 * MIB))

    headers = dict(said["ResponseReceived"])  # type: ignore[call-overload]
    assert headers[b":status"] == b"413"
    assert b"connection" not in headers
