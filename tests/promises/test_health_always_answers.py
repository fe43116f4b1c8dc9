"""Health always answers: while everything is refused, and while every worker is stuck."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.ports import free_port
from tests.support.server import Response, Running, connection_to, exchange
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = [pytest.mark.real, pytest.mark.timed]

APP = "tests.promises.apps:app"


def test_while_everything_is_refused() -> None:
    """Requests hold all the memory there is; others are turned away, health is not."""
    need_cgroup()
    with (
        MemoryBox(256 * MIB) as box,
        Running(APP, "--workers", "1", "--queue-seconds", "0.2", box=box) as server,
        ThreadPoolExecutor(48) as holders,
    ):
        held = [holders.submit(server.get, "/work?mb=16&ms=2500") for _ in range(24)]
        refused = await_true(lambda: _refused(server), "a refusal")

        assert refused.json()["error"] == "service_unavailable"
        assert int(refused.headers["retry-after"]) >= 1
        assert {"level", "used", "limit", "heldBy"} <= refused.json().keys()
        for path in ("/health", "/health/memory"):
            assert server.get(path).status == 200
            assert server.ask_supervisor(path).status == 200
        assert {each.result().status for each in held} == {200, 503}
        assert box.kills() == 0


def test_refusals_end_with_the_cause() -> None:
    """EXHAUSTED is not ready, and says so; once memory is back, all is served again."""
    need_cgroup()
    with (
        MemoryBox(256 * MIB) as box,
        # Exhausted far below the limit, so that getting there is no danger.
        Running(APP, "--workers", "1", "--exhausted-at", "100M", "--warning-at", "90M",
                "--critical-at", "95M", "--queue-seconds", "0.2", box=box) as server,
        ThreadPoolExecutor(1) as holder,
    ):  # fmt: skip
        held = holder.submit(server.get, "/work?mb=100&ms=1500")
        await_true(lambda: server.get("/health").json()["status"] == "EXHAUSTED", "EXHAUSTED")

        assert server.get("/health").status == 200
        assert server.get("/health/ready").status == 503
        assert held.result().status == 200
        await_true(lambda: server.get("/health/ready").status == 200, "ready again", 5.0)
        assert server.get("/work?mb=8&ms=1").status == 200


@pytest.fixture
def stuck() -> Iterator[Running]:
    """Yield a server whose only worker sits in a synchronous call for three seconds."""
    arguments = (APP, "--workers", "1", "--admin-port", str(free_port()))
    with Running(*arguments) as server:
        until = time.monotonic() + 3.0
        threading.Thread(target=server.get, args=("/stuck?seconds=3",)).start()
        await_true(lambda: _state(server) == "STUCK", "the worker is stuck")
        yield server
        left = until - time.monotonic()
        await_true(lambda: _state(server) == "READY", "the worker is free", left + 5.0)


def test_while_every_worker_is_stuck(stuck: Running) -> None:
    """The supervisor answers: on the control socket, on its own port, and on the application's."""
    on_control = stuck.ask_supervisor("/health")
    with connection_to(stuck.banner("admin"), 2.0) as connection:
        on_admin = exchange(connection, "GET", "/health")
    on_port = stuck.request("GET", "/health", timeout_seconds=2.0)

    for answer in (on_control, on_admin, on_port):
        assert answer.status == 200
        assert answer.json()["answeredBy"] == "supervisor"
    memory = stuck.request("GET", "/health/memory", timeout_seconds=2.0).json()
    assert [worker["state"] for worker in memory["workers"]] == ["STUCK"]


def test_requests_sent_meanwhile_are_answered_after(stuck: Running) -> None:
    """By the worker, once it is free: also one with a body, and one that came in pieces."""
    with ThreadPoolExecutor(2) as clients:
        plain = clients.submit(stuck.get, "/")
        upload = clients.submit(stuck.request, "POST", "/count", b"x" * 100_000)
        with stuck.connect() as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            assert stuck.request("GET", "/health", timeout_seconds=2.0).status == 200
            slow.sendall(b"alhost\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in slow.recv(65536)
        assert plain.result().body == b"hello"
        assert upload.result().body == b"100000"


def _refused(server: Running) -> Response | None:
    answer = server.get("/work?mb=16&ms=1")
    return answer if answer.status == 503 else None


def _state(server: Running) -> str:
    (worker,) = server.ask_supervisor("/health/memory").json()["workers"]
    return str(worker["state"])
