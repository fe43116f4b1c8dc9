"""How a real server is reached, and what the application sees of that."""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path

import pytest
from tests.support.server import Running, connection_to, exchange

pytestmark = pytest.mark.real

APP = "tests.promises.apps:app"
LIMIT = ("--memory", "512M")


def test_a_websocket_is_served() -> None:
    """Both ways, until the client goes."""
    client = pytest.importorskip("websockets.sync.client")
    with (
        Running(APP, *LIMIT) as server,
        client.connect(f"ws://127.0.0.1:{server.port}/ws") as websocket,
    ):
        for word in ("one", "two"):
            websocket.send(word)
            assert websocket.recv() == f"echo {word}"


def test_a_response_comes_as_it_is_made() -> None:
    """Its first part is here long before its last."""
    with Running(APP, *LIMIT) as server, server.connect() as client:
        client.sendall(b"GET /stream?parts=10 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        begun, received = time.monotonic(), b""
        first_after = None
        while data := client.recv(65536):
            received += data
            if b"part 0" in received and first_after is None:
                first_after = time.monotonic() - begun
        assert first_after is not None
        assert first_after < (time.monotonic() - begun) / 2
        assert b"part 9" in received


def test_a_unix_socket_is_served_and_removed() -> None:
    """For a proxy on the same machine."""
    with tempfile.TemporaryDirectory(prefix="tonnage-") as directory:
        path = Path(directory) / "app.sock"
        with Running(APP, *LIMIT, "--uds", str(path)) as server:
            assert server.url == f"http+unix://{path}"
            with connection_to(server.url, 5.0) as connection:
                assert exchange(connection, "GET", "/").body == b"hello"
            assert server.ask_supervisor("/health").status == 200
            # Nobody who comes by it can be taken for this machine's own.
            assert "for nobody without TONNAGE_ADMIN_TOKEN" in server.banner("page")
        assert not path.exists()


def test_a_socket_that_was_handed_over_is_served() -> None:
    """As a service manager does, which keeps it open between two servers."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        fd = given.fileno()
        with Running(APP, *LIMIT, "--fd", str(fd), pass_fds=(fd,)):
            url = f"http://127.0.0.1:{given.getsockname()[1]}"
            with connection_to(url, 5.0) as connection:
                assert exchange(connection, "GET", "/").body == b"hello"


def test_proxies_are_believed_as_far_as_they_are_known() -> None:
    """The entry that the last trusted proxy appended, not what the client claims."""
    headers = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9", "X-Forwarded-Proto": "https"}
    with Running(APP, *LIMIT, "--proxy-hops", "1") as server:
        assert server.get("/client", **headers).body == b"https 9.9.9.9"
        assert server.get("/client").body == b"http 127.0.0.1"
    with Running(APP, *LIMIT) as server:
        assert server.get("/client", **headers).body == b"http 127.0.0.1"


def test_variables_of_an_env_file_reach_the_application(tmp_path: Path) -> None:
    """Unless the environment has them already; options in it count as well."""
    pytest.importorskip("dotenv")
    file = tmp_path / "production.env"
    file.write_text("GREETING=from the file\nLANGUAGE_NAME=from the file\nMAX_MEMORY_MB=300\n")
    env = {"LANGUAGE_NAME": "from the environment"}
    with Running(APP, "--env-file", str(file), env=env) as server:
        assert server.get("/variable?name=GREETING").body == b"from the file"
        assert server.get("/variable?name=LANGUAGE_NAME").body == b"from the environment"
        assert server.health_memory()["memory"]["limit"] == 300


def test_the_allocators_variables_do_not_reach_the_application() -> None:
    """A program that it starts has its own."""
    with Running(APP, *LIMIT) as server:
        for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "TONNAGE_PREPARED"):
            assert server.get(f"/variable?name={name}").body == b"None"
        assert server.get("/variable?name=OMP_NUM_THREADS").body == b"1"
