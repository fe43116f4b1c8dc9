"""``--timeout`` with real workers: who is answered when, and what becomes of the threads."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.server import Running
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

THREADS = 8
FAST = "tests.frameworks.slow_apps:fast"
FLASK = "tests.frameworks.slow_apps:flask"

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def fast() -> Iterator[Running]:
    """Start a FastAPI application whose requests may take 0.4 s."""
    with Running(FAST, "--timeout", "400ms", "--threads", str(THREADS), "--workers", "1") as server:
        yield server


def statuses(server: Running, path: str, count: int) -> Counter[int]:
    """Return what *count* requests at once are answered."""
    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(lambda _: server.get(path).status, range(count)))


def in_flight(server: Running) -> int:
    """Return how many requests hold a reservation."""
    found: int = server.ask_supervisor("/health/memory").json()["workers"][0]["inFlight"]
    return found


def test_a_reservation_stays_until_its_thread_ends(fast: Running) -> None:
    """The client has its answer, but what the thread allocates must have been promised."""
    assert fast.get("/thread?seconds=1.5").status == 504
    assert in_flight(fast) == 1
    await_true(lambda: in_flight(fast) == 0, "the end of the thread")


def test_slow_threads_do_not_multiply(fast: Running) -> None:
    """Each request is answered in time, and its thread keeps its place in the pool."""
    # Until the route is known, the gate lets in few at a time.
    for _ in range(30):
        assert fast.get("/thread?seconds=0").status == 200
    before, begun = fast.get("/threads").json(), time.monotonic()

    assert statuses(fast, "/thread?seconds=2", 40) == {504: 40}
    assert time.monotonic() - begun < 1.9 * SLOWNESS
    assert fast.get("/threads").json() - before >= THREADS - 1
    assert statuses(fast, "/thread?seconds=2", 40) == {504: 40}
    assert fast.get("/threads").json() - before <= THREADS
    await_true(lambda: fast.get("/thread?seconds=0").status == 200, "a thread")


@pytest.mark.parametrize("path", ["/own-thread", "/deaf"])
def test_whatever_the_handler_does_the_client_is_answered_in_time(fast: Running, path: str) -> None:
    """Also where the work itself goes on."""
    begun = time.monotonic()
    answer = fast.get(f"{path}?seconds=1.5")
    assert (answer.status, answer.json()["error"]) == (504, "timed_out")
    assert time.monotonic() - begun < 1.4 * SLOWNESS
    await_true(lambda: in_flight(fast) == 0, "the end of the work")


def test_a_connection_goes_on_behind_a_504(fast: Running) -> None:
    """The next request on it is served while the thread of the last one still sleeps."""
    connection = http.client.HTTPConnection("127.0.0.1", fast.port, timeout=10)
    with contextlib.closing(connection):
        for path, status in (("/thread?seconds=1", 504), ("/threads", 200)):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, connection.sock is not None) == (status, True)


@pytest.mark.parametrize(
    ("path", "option", "value"),
    [("/rows", "--max-response", "20K"), ("/pause", "--timeout", "300ms")],
)
def test_a_wsgi_stream_that_is_cut_gives_its_thread_back(
    path: str, option: str, value: str
) -> None:
    """The thread is told that nobody takes the rest, and does not wait for it for ever."""
    with Running(FLASK, option, value, "--threads", "2", "--workers", "1") as server:
        for _ in range(3):
            # Cut, or answered 504 where both threads are still with those before.
            with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
                assert server.get(path).status == 504
        await_true(lambda: in_flight(server) == 0, "the end of all")
        assert server.get("/busy").json() == {"streams": 0, "waiting": 0}
