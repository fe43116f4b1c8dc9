"""A request that runs out of memory gets an answer that says so; its worker goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException

import pytest
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage.host.processes import Statm

pytestmark = pytest.mark.real

MIB = 2**20


@contextmanager
def serving(app: str) -> Iterator[tuple[Running, int]]:
    """Yield a server with one worker, which may grow by 64 MB, and that worker's process id."""
    # The worker's own limit is what the test sets.
    with Running(f"tests.frameworks.bursts:{app}", "--workers", "1", "--no-fuse") as server:
        pid = int(server.get("/limit").body.strip(b'"'))
        yield server, pid


def await_logged(server: Running, line: str) -> None:
    """Return once *line* is in the log."""
    await_true(lambda: line in server.log, line)


@pytest.mark.parametrize(
    ("app", "paths"),
    [
        ("make_fastapi()", ["/async", "/sync", "/objects"]),
        ("make_careful_fastapi()", ["/async", "/sync", "/objects"]),
        ("make_logging_fastapi()", ["/async", "/sync", "/objects", "/bare"]),
        ("make_starlette()", ["/async", "/sync", "/objects"]),
        ("make_flask()", ["/sync", "/objects"]),
        ("make_django_asgi()", ["/async", "/sync", "/objects"]),
        ("make_django_wsgi()", ["/async", "/sync", "/objects"]),
        ("asgi", ["/async", "/objects"]),
        ("wsgi", ["/sync", "/objects"]),
        ("careful_wsgi", ["/sync", "/objects"]),
    ],
)
def test_a_burst_is_refused_and_the_worker_goes_on(app: str, paths: list[str]) -> None:
    """The same process answers the next request, also after several bursts."""
    with serving(app) as (server, pid):
        for path in [*paths, paths[0]]:
            answer = server.get(path)
            assert answer.status == 503, answer
            said = answer.json()
            assert (said["error"], said["route"]) == ("out_of_memory", f"GET {path}")
            assert int(answer.headers["retry-after"]) == said["retryAfter"]
            assert 40 < said["available"] < 80
            assert server.get("/").status == 200
            # Where small objects have taken all, there is no memory to note the line either.
            place = "" if path in ("/objects", "/bare") else "tests/frameworks/bursts.py:"
            assert f"GET {path} ran out of memory at {place}" in server.log
        assert server.worker_pids() == [pid]


def test_what_a_burst_of_small_objects_took_is_never_told_too_small() -> None:
    """Its frame, unwound without being noted, has freed all before the error can be looked at."""
    with serving("asgi") as (server, _):
        for _ in range(3):
            assert server.get("/objects").status == 503
        said = [line for line in server.log.splitlines() if "GET /objects ran out" in line]

    assert len(said) == 3
    for line in said:
        grown = re.search(r"the worker had grown by (\d+) MB meanwhile", line)
        assert int(grown[1]) > 40 if grown else " or below " in line or "unknown line" in line
        assert grown or re.search(r"it needed more than the \d+ MB that the worker had left", line)


def test_a_body_too_large_for_what_is_left_is_told_so() -> None:
    """413, since trying again would not help."""
    with serving("make_fastapi()") as (server, pid):
        answer = server.request("POST", "/body", bytes(18 * MIB))

        assert answer.status == 413
        assert "retry-after" not in answer.headers
        assert server.request("POST", "/body", b"small").json() == "8"
        assert server.worker_pids() == [pid]


def test_a_response_that_has_begun_is_cut() -> None:
    """The client must not take it for a whole one."""
    with serving("make_fastapi()") as (server, pid):
        with pytest.raises((HTTPException, ConnectionError)):
            server.get("/stream")

        await_true(lambda: "its response had begun" in server.log, "the failure in the log")
        assert "Traceback" not in server.log
        assert server.get("/").status == 200
        assert server.worker_pids() == [pid]


def test_what_surfaces_in_no_request_is_named_and_freed() -> None:
    """In a task that is kept and that nobody awaits, a callback, a thread of the application's."""
    with serving("make_fastapi()") as (server, pid), closing(Statm(pid)) as statm:
        before_bytes = statm.read().private_bytes
        for path, name in (
            ("/task", "a task of GET /task"),
            ("/callback", "a callback"),
            ("/thread", "thread export"),
        ):
            assert server.get(path).status == 200
            line = f"{name} ran out of memory at tests/frameworks/bursts.py:"
            await_logged(server, line)
            assert statm.read().private_bytes - before_bytes < 16 * MIB

        assert "never retrieved" not in server.log
        assert server.worker_pids() == [pid]


def test_a_websocket_is_closed_with_try_again_later() -> None:
    """Code 1013."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with serving("make_fastapi()") as (server, pid):
        with (
            connect(f"ws://127.0.0.1:{server.port}/socket") as socket,
            pytest.raises(ConnectionClosed) as closed,
        ):
            socket.recv(timeout=10)

        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        assert server.worker_pids() == [pid]
