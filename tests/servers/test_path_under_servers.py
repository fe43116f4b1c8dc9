"""The path under each server: what is allowed passes byte for byte, and the limits hold."""

from __future__ import annotations

import gzip
import io
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from tests.servers.serving import SERVERS, ask, request, serving, without_additions
from tests.support.waiting import await_true

from tonnage.units import KIB, MIB

pytestmark = pytest.mark.real

CHUNKED = "Transfer-Encoding: chunked"
PLAIN = "Content-Type: text/plain"
SHOP = "Origin: https://shop.example"

REQUESTS: dict[str, bytes] = {
    "a page": request("GET", "/plain"),
    "of unknown length": request("GET", "/unsized"),
    "HEAD": request("HEAD", "/plain"),
    "HEAD of unknown length": request("HEAD", "/unsized"),
    "HEAD of a download": request("HEAD", "/download"),
    "OPTIONS": request("OPTIONS", "/plain"),
    "a method of one's own": request("PURGE", "/plain"),
    "HTTP/1.0": b"GET /plain HTTP/1.0\r\nHost: a\r\n\r\n",
    "HTTP/1.0, of unknown length": b"GET /unsized HTTP/1.0\r\nHost: a\r\n\r\n",
    "a query": request("GET", "/plain?a=%2F&b=%00"),
    "a download": request("GET", "/download"),
    "events": request("GET", "/events", "Accept: text/event-stream", "Accept-Encoding: gzip"),
    "204": request("GET", "/204"),
    "205": request("GET", "/205"),
    "304": request("GET", "/304", 'If-None-Match: "1"'),
    "103": request("GET", "/hinted"),
    "trailers": request("GET", "/trailed", "TE: trailers"),
    "a file that the server sends": request("GET", "/file"),
    "a body": request("POST", "/count", PLAIN, f"Content-Length: {MIB}", body=b"x" * MIB),
    "an empty body": request("POST", "/count", PLAIN, "Content-Length: 0"),
    "chunks": request("POST", "/count", PLAIN, CHUNKED, body=b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"),
    "chunks with trailers": request(
        "POST", "/count", PLAIN, CHUNKED, body=b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    ),
    "a body that is not read": request(
        "POST", "/unread", PLAIN, "Content-Length: 3", body=b"abc"
    ),
    "100-continue": request(
        "POST", "/count", PLAIN, "Content-Length: 3", "Expect: 100-continue", body=b"abc"
    ),
    "an error": request("GET", "/fails"),
    "an error in the middle": request("GET", "/breaks-off"),
    "pipelined": request("GET", "/plain").replace(b"Connection: close\r\n", b"")
    + request("GET", "/unsized"),
}  # fmt: skip


@pytest.fixture(scope="module", params=SERVERS)
def ports(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Yield the ports of a server with the bare application, and of one with all limits on."""
    with ExitStack() as stack:
        bare = stack.enter_context(serving(request.param, "bare"))
        yield bare, stack.enter_context(serving(request.param, "limited"))


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_allowed_passes_byte_for_byte(ports: tuple[int, int], name: str) -> None:
    """Only the headers that say so are added: what is left of a rate, and what varies."""
    bare, limited = (ask(port, REQUESTS[name]) for port in ports)
    assert without_additions(limited) == without_additions(bare)
    assert bare.startswith(b"HTTP/1.")


def test_limits_say_what_is_left(ports: tuple[int, int]) -> None:
    """So that it is known that the bytes compared have come through them."""
    answer = ask(ports[1], REQUESTS["a page"]).lower()
    assert b"\r\nratelimit: " in answer
    assert b"\r\nvary: " in answer


# -- WebSockets


def frame(kind: int, data: bytes) -> bytes:
    """Return a whole frame as clients send it, with a mask of zeros."""
    length = (
        bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    )
    return bytes((0x80 | kind,)) + length + b"\0\0\0\0" + data


def test_websockets_pass_byte_for_byte(ports: tuple[int, int]) -> None:
    """The handshake with its protocol and headers, texts, bytes, pings, and the close."""
    shake = (
        b"GET %b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: chat, other\r\n\r\n"
    )
    frames = (
        frame(1, "grüße".encode()),
        frame(2, bytes(range(256)) * 200),
        frame(9, b"are you there"),
        frame(1, b"close"),
    )

    def play(port: int, path: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 10.0) as connection:
            connection.sendall(shake % path)
            file = connection.makefile("rb")
            received = b"".join(iter(file.readline, b"\r\n"))
            if b" 101 " in received:
                for sent in frames:
                    connection.sendall(sent)
                    received += read_frame(file)
            return received

    for path in (b"/ws", b"/ws/refused"):
        bare, limited = (play(port, path) for port in ports)
        assert without_additions(limited) == without_additions(bare)
        assert (b" 101 " in bare) == (path == b"/ws")
    assert bare.startswith(b"HTTP/1.1 403 ")


def read_frame(file: io.BufferedIOBase) -> bytes:
    """Return the next frame as it came."""
    head = file.read(2)
    long = file.read({126: 2, 127: 8}.get(head[1], 0))
    return head + long + file.read(int.from_bytes(long) if long else head[1])


# -- clients that go


def test_an_application_hears_that_its_client_has_gone(ports: tuple[int, int]) -> None:
    """In the middle of a response, with the limits on as without them."""
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), 10.0) as connection:
            connection.sendall(request("GET", "/gone"))
            received = b""
            while b"still here" not in received:
                received += connection.recv(65536)
        await_true(partial(_have_left, port), "the end to be noticed")


def _have_left(port: int) -> bool:
    return b"1 left" in ask(port, request("GET", "/left"))


# -- the limits


HUGE = b"x" * (MIB + 1)
REFUSED: dict[str, tuple[bytes, bytes, bytes]] = {
    "a length": (
        request("POST", "/count", PLAIN, f"Content-Length: {MIB + 1}", body=HUGE),
        b" 413 ",
        b"payload_too_large",
    ),
    "chunks": (
        request("POST", "/count", PLAIN, CHUNKED, body=b"100001\r\n%b\r\n0\r\n\r\n" % HUGE),
        b" 413 ",
        b"payload_too_large",
    ),
    "an upload": (
        request("POST", "/count", "Content-Type: image/png", f"Content-Length: {3 * MIB}"),
        b" 413 ",
        b"payload_too_large",
    ),
    "a bomb": (
        request(
            "POST",
            "/count",
            PLAIN,
            "Content-Encoding: gzip",
            f"Content-Length: {len(gzip.compress(bytes(64 * MIB), 9))}",
            body=gzip.compress(bytes(64 * MIB), 9),
        ),
        b" 413 ",
        b"payload_too_large",
    ),
    "a slow one": (request("GET", "/sleeps"), b" 504 ", b"timed_out"),
    "a preflight": (
        request("OPTIONS", "/plain", SHOP, "Access-Control-Request-Method: PUT"),
        b" 20",
        b"access-control-max-age: 86400",
    ),
    "of another site": (
        request("GET", "/plain", SHOP),
        b" 200 ",
        b"access-control-allow-origin: https://shop.example",
    ),
    "compressed": (
        request("GET", "/page", "Accept-Encoding: gzip"),
        b" 200 ",
        b"content-encoding: gzip",
    ),
    "unpacked": (
        request(
            "POST", "/count", PLAIN, "Content-Encoding: gzip", "Content-Length: 23",
            body=gzip.compress(b"abc"),
        ),
        b" 200 ",
        b"3 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_limits_hold(ports: tuple[int, int], name: str) -> None:
    """Whatever the server, the status and what is in the answer are the same."""
    sent, status, part = REFUSED[name]
    answer = ask(ports[1], sent)
    assert status in answer.partition(b"\r\n")[0], answer[:500]
    head, end, body = answer.partition(b"\r\n\r\n")
    assert part in head.lower() + end + body


def test_a_response_that_is_too_long_is_cut(ports: tuple[int, int]) -> None:
    """It has begun, so all that can be said is that it is not complete; streams have no end."""
    cut, whole = (ask(ports[1], request("GET", path)) for path in ("/too-long", "/endless"))
    assert 3 * MIB < len(cut) < 4 * MIB + 64 * KIB
    assert not cut.endswith(b"0\r\n\r\n")
    assert len(whole) > 6 * MIB
    assert whole.endswith(b"0\r\n\r\n")


def test_a_rate_ends(ports: tuple[int, int]) -> None:
    """After two in an hour there is 429, with when to come again."""
    answers = [ask(ports[1], request("GET", "/scarce")).lower() for _ in range(3)]
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"429"]
    assert b"\r\nretry-after: " in answers[2]
