"""Asking a server that may be slow, endless, or no web server at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.support.certificate import localhost

from tonnage.commands.checking.asking import MOST_BODY_BYTES, Asker
from tonnage.errors import ConfigError

Behaviour = Callable[[socket.socket], None]


@contextmanager
def server(behave: Behaviour) -> Iterator[str]:
    """Yield the URL of a listener that does to its one caller what *behave* says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer, suppress(OSError):
                behave(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_server_that_trickles_is_cut_off() -> None:
    """A byte now and then does not hold the check up."""
    ended = threading.Event()

    def trickle(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
        try:
            while True:
                peer.sendall(b"x")
                time.sleep(0.01)
        finally:
            ended.set()

    with server(trickle) as url:
        reply = Asker(url, deadline_seconds=0.3).ask("/")
        assert reply.error == "no answer within 0.3 s, or the connection was closed"
        assert ended.wait(10)


def test_a_body_without_an_end_is_cut() -> None:
    """So much of it is read, and what was read counts."""

    def pour(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.sendall(b"x" * 65536)

    with server(pour) as url:
        assert len(Asker(url).ask("/").body) == MOST_BODY_BYTES


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nx: y"])
def test_what_is_no_answer_is_a_reason(said: bytes) -> None:
    """Nothing, another protocol, or a head without an end: never an error."""

    def say(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(said)

    with server(say) as url:
        reply = Asker(url, deadline_seconds=5.0).ask("/")
    assert bool(reply.error) is (reply.status == 0)
    assert (reply.status == 200) is said.startswith(b"HTTP")


def test_a_body_is_announced_and_never_sent() -> None:
    """The head goes out alone, with the length as it was given."""
    received = []

    def refuse(peer: socket.socket) -> None:
        received.append(peer.recv(65536))
        peer.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        received.append(peer.recv(65536))

    with server(refuse) as url:
        reply = Asker(f"{url}/api/").ask("/x", method="POST", announced_bytes=10**9)

    assert reply.status == 413
    assert received[0].startswith(b"POST /api/x HTTP/1.1\r\n")
    assert b"content-length: 1000000000\r\n" in received[0]
    assert (received[0][-4:], received[1]) == (b"\r\n\r\n", b"")


def test_what_speaks_no_tls_is_a_reason() -> None:
    """Where the URL says https, nothing is asked in the clear."""

    def talk(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with server(talk) as url:
        reply = Asker(url.replace("http:", "https:")).ask("/")
    assert reply.status == 0
    assert reply.error


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody vouches for is refused; one that is trusted is enough."""
    context, certificate = localhost(tmp_path)

    def answer(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as encrypted:
            encrypted.recv(4096)
            encrypted.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with server(answer) as url:
        refused = Asker(url.replace("http://127.0.0.1", "https://localhost")).ask("/")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(answer) as url:
        trusted = Asker(url.replace("http://127.0.0.1", "https://localhost")).ask("/")

    assert refused.error.startswith("the certificate is refused: ")
    assert (trusted.status, trusted.error) == (204, "")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://shop.example",
        "http://",
        "https://user:secret@shop.example",
        "http://shop.example:99999",
        "http://shop.example/?q=1",
        "http://[::1",
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError):
        Asker(url)
