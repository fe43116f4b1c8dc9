"""FastAPI, as people write it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.frameworks.asking import UPLOAD_BYTES, statuses, upload
from tests.support.server import Running
from websockets.sync.client import connect

pytestmark = pytest.mark.real

TARGET = "tests.frameworks.fastapi_app:app"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Yield the application with one worker; the block's end asserts a clean stop."""
    with Running(TARGET, "--workers", "1") as running:
        yield running


def test_an_asynchronous_route_answers_from_what_startup_made(server: Running) -> None:
    """The state that the lifespan fills is there."""
    assert server.get("/").json() == {"said": "hello"}


def test_a_synchronous_route_answers_from_its_thread(server: Running) -> None:
    """Path and query are validated as ever."""
    assert server.get("/items/7?q=x").json() == {"id": 7, "q": "x"}
    assert server.get("/items/seven").status == 422


def test_many_synchronous_requests_at_once_are_answered(server: Running) -> None:
    """More of them than there are threads."""
    assert statuses(server, "/hold?mb=1&ms=10", clients=24, requests=48) == {200: 48}


def test_an_upload_arrives_whole(server: Running) -> None:
    """It is larger than any buffer on its way."""
    assert upload(server).json() == {"name": "a.bin", "bytes": UPLOAD_BYTES}


def test_a_synchronous_stream_arrives_in_order(server: Running) -> None:
    """Each of its steps runs in a thread."""
    assert server.get("/rows").body.split() == [str(number).encode() for number in range(50)]


def test_a_websocket_echoes(server: Running) -> None:
    """The library for it is imported with the first one."""
    with connect(f"ws://127.0.0.1:{server.port}/echo") as socket:
        for text in ("one", "two"):
            socket.send(text)
            assert socket.recv(timeout=5) == text


def test_what_openapi_says_is_served(server: Running) -> None:
    """The framework's own routes pass the gate like any other."""
    assert "/items/{item_id}" in server.get("/openapi.json").json()["paths"]


def test_lifespan_runs_once_in_each_worker() -> None:
    """Startup before the first request, shutdown after the last."""
    with Running(TARGET, "--workers", "2", "--memory", "512M") as running:
        assert running.get("/").status == 200
        assert running.stop() == 0

        assert running.log.count("the application starts") == 2
        assert running.log.count("the application stops") == 2
