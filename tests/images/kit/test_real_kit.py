"""The kit in real servers: several workers, one that is replaced meanwhile, and another server."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.images.kit.photos import photo
from tests.support.disk import on_a_disk
from tests.support.server import (
    ROOT,
    Response,
    Running,
    clean_environment,
    connection_to,
    exchange,
)
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

APP = "tests.images.kit.app:app"
JPEG = {"content-type": "image/jpeg"}

Ask = Callable[..., Response]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield what says where uploads are."""
    with on_a_disk(tmp_path_factory.mktemp("kit")) as directory:
        yield {"TONNAGE_TEST_UPLOADS": str(directory)}


@pytest.fixture(scope="module")
def server(env: dict[str, str]) -> Iterator[Running]:
    """Yield a server with two workers."""
    with Running(APP, "--workers", "2", env=env) as running:
        yield running


def send(ask: Ask, milliseconds: int) -> str:
    """Send a photo that takes so long, and return the path of its job."""
    answer = ask("POST", "/", photo(40 + milliseconds // 10, 64), JPEG)
    assert answer.status == 202, answer
    return str(answer.json()["links"]["self"])


def done(ask: Ask, path: str) -> dict[str, Any]:
    """Wait until a job is over, and return what is said of it."""

    def told() -> dict[str, Any] | None:
        job: dict[str, Any] = ask("GET", path).json()
        return None if job["status"] in ("waiting", "running") else job

    return await_true(told, "the job is over", 20)


def check_picture(answer: Response) -> None:
    """See that it is what the job makes."""
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer.body)) as picture:
        assert max(picture.size) == 32


def test_whichever_worker_is_asked_knows_the_job(server: Running) -> None:
    """Where it is, and what it has made."""
    path = send(server.request, 300)
    assert done(server.request, path)["status"] == "done"
    pids: set[bytes] = set()
    for _ in range(200):
        with connection_to(server.url, 20.0) as connection:
            pids.add(exchange(connection, "GET", "/pid").body)
            check_picture(exchange(connection, "GET", f"{path}/picture"))
        if len(pids) == 2:
            return
    raise AssertionError(f"only {pids} answered")


def test_events_come_as_it_goes_on(server: Running) -> None:
    """Until it is over, when the stream ends."""
    path = send(server.request, 300)
    stream = server.get(f"{path}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    told = [
        json.loads(line.removeprefix("data: "))["status"]
        for line in stream.body.decode().splitlines()
        if line.startswith("data: ")
    ]
    assert told[-1] == "done"
    assert len(told) == len(set(told))


def test_a_job_that_is_cancelled_ends_in_its_process(server: Running) -> None:
    """Whichever worker was asked to; the next one need not wait for it."""
    path = send(server.request, 15_000)
    await_true(lambda: server.get(path).json()["status"] == "running", "its turn")
    assert server.request("DELETE", path).status == 204
    began = time.monotonic()
    assert done(server.request, send(server.request, 20))["status"] == "done"
    assert time.monotonic() - began < 10 * SLOWNESS


def test_a_worker_that_is_replaced_finishes_its_job(server: Running) -> None:
    """What it has made is found by those that come after it."""
    path = send(server.request, 1500)
    await_true(lambda: server.get(path).json()["status"] == "running", "its turn")
    before = set(server.worker_pids())
    server.send(signal.SIGHUP)
    await_true(lambda: not before & set(server.worker_pids()), "new workers", 30.0)

    assert done(server.request, path)["status"] == "done"
    check_picture(server.get(f"{path}/picture"))


def test_it_works_under_another_server(env: dict[str, str]) -> None:
    """Jobs are isolated there too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--fd", str(listener.fileno()), APP],
            cwd=ROOT,
            env=clean_environment() | env,
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def ask(method: str, path: str, body: bytes | None = None, headers: Any = None) -> Response:
            with connection_to(url, 20.0) as connection:
                return exchange(connection, method, path, body, headers)

        try:
            path = send(ask, 20)
            assert done(ask, path)["status"] == "done"
            check_picture(ask("GET", f"{path}/picture"))
            assert Path(f"/proc/{process.pid}").exists()
        finally:
            process.terminate()
            process.wait(20 * SLOWNESS)
