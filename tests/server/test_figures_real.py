"""Real workers: what the supervisor says of them is what was sent, whatever becomes of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.server import Running, connection_to, exchange
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

_SENT = {
    "GET /things/{number}": (0, 40, 0, 0, 0),
    "POST /things": (0, 0, 7, 3, 0),
    "GET /missing/{number}": (0, 0, 0, 9, 0),
    "GET /fails": (0, 0, 0, 0, 4),
    "WS /ws": (2, 0, 0, 0, 0),
    # Paths that are not there, one of them a WebSocket's.
    "(other)": (0, 0, 0, 31, 0),
}


class Witness:
    """Looks at a server's figures, and sees to it that none ever falls."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self._last: dict[tuple[str, ...], float] = {}

    def look(self) -> dict[str, tuple[int, ...]]:
        """Return how often each route was answered with which class of status."""
        state = self.server.ask_supervisor("/tonnage/state").json()
        counts = dict(_counts(state))
        fallen = {
            k: (was, counts.get(k)) for k, was in self._last.items() if counts.get(k, 0) < was
        }
        assert not fallen
        self._last = counts
        return {route["name"]: tuple(route["statuses"]) for route in state["routes"]}

    def total(self) -> int:
        """Return how many requests the server has had."""
        self.look()
        return int(self._last["status", "requests"])

    def hits(self) -> float:
        """Return how many lookups the cache has counted."""
        self.look()
        return self._last.get(("cache", "things", "misses"), 0)

    def await_look(self, condition: Callable[[], bool], what: str) -> None:
        """Look until *condition* holds."""
        await_true(lambda: bool(self.look()) and condition(), what)


def _counts(state: dict[str, Any]) -> Any:
    for name in ("requests", "refused", "waited"):
        yield ("status", name), state["status"][name]
    for route in state["routes"]:
        for place, count in enumerate((*route["statuses"], route["shed"])):
            yield ("route", route["name"], str(place)), count
    for store in state["stores"]:
        for name, count in store["counts"].items():
            yield (store["kind"], store["name"], name), count


def _send_all(server: Running) -> None:
    """Send what :data:`_SENT` says, and what is not to be counted."""
    websockets = pytest.importorskip("websockets.sync.client")
    for number in range(40):
        assert server.get(f"/things/{number}").status == 200
    for taken in (3, 2, 2):
        with connection_to(server.url, 20.0) as connection:
            for _ in range(taken):
                assert exchange(connection, "POST", "/things").status == 303
            # Refused by the limit of the body's size, before the gate; the worker of this
            # connection knows whose path it is. Another would count it among others.
            assert exchange(connection, "POST", "/things", bytes(3000)).status == 413
    for number in range(9):
        assert server.get(f"/missing/{number}").status == 404
    for number in range(30):
        assert server.get(f"/wp-{number}/admin.php").status == 404
    for _ in range(4):
        assert server.get("/fails").status == 500
    for _ in range(2):
        with websockets.connect(f"ws://127.0.0.1:{server.port}/ws"):
            pass
    refused = pytest.importorskip("websockets.exceptions").InvalidStatus
    with pytest.raises(refused, match="403"):
        websockets.connect(f"ws://127.0.0.1:{server.port}/nowhere")
    for path in ("/health", "/metrics", "/tonnage/state"):
        assert server.get(path).status == 200


def _recycle(server: Running, which: str = "") -> None:
    with connection_to(f"http+unix://{server.control}", 5.0) as connection:
        assert exchange(connection, "POST", f"/recycle{which}").status == 202


def test_figures_are_exact_over_a_recycle_and_never_fall() -> None:
    """Four classes of status, a WebSocket, a refusal; then a worker ends, and one is killed."""
    with Running("tests.server.figured:app", "--workers", "2", "--max-body", "1K") as server:
        witness = Witness(server)
        _send_all(server)
        witness.await_look(lambda: witness.look() == _SENT, "all that was sent is counted")
        # What a worker says of its stores comes in a message after that of its routes.
        witness.await_look(lambda: witness.hits() == 40, "all lookups are counted")
        # All that came to the gate: not what the limit has refused.
        assert witness.total() == sum(map(sum, _SENT.values())) - 3

        before = server.worker_pids()
        _recycle(server, "?worker=0")
        witness.await_look(lambda: not set(before) <= set(server.worker_pids()), "a worker ends")
        witness.await_look(lambda: len(server.worker_pids()) == 2, "its successor serves")
        assert witness.look() == _SENT
        assert witness.hits() == 40

        killed, other = server.worker_pids()
        os.kill(killed, signal.SIGKILL)
        witness.await_look(lambda: killed not in server.worker_pids(), "it is gone")
        witness.await_look(lambda: len(server.worker_pids()) == 2, "its successor serves")
        # What it had counted was told long ago.
        assert witness.look() == _SENT
        assert other in server.worker_pids()
        assert server.get("/things/1").status == 200
        witness.await_look(lambda: witness.hits() == 41, "counting goes on")


def test_a_worker_that_is_killed_at_work_takes_a_second_with_it_at_most() -> None:
    """What had been told stays; what comes after counts."""
    with Running("tests.server.figured:bare", "--workers", "1") as server:
        witness = Witness(server)
        for _ in range(20):
            assert server.get("/a").status == 200
        witness.await_look(lambda: witness.look() == {"GET /a": (0, 20, 0, 0, 0)}, "told")
        for _ in range(30):
            assert server.get("/a").status == 200
        (killed,) = server.worker_pids()
        os.kill(killed, signal.SIGKILL)
        witness.await_look(lambda: server.worker_pids() not in ([], [killed]), "a successor")
        assert 20 <= witness.look()["GET /a"][1] <= 50
        assert witness.total() >= 20

        told = witness.look()["GET /a"][1]
        assert server.get("/a").status == 200
        witness.await_look(lambda: witness.look()["GET /a"][1] == told + 1, "it goes on")


def test_what_is_counted_last_is_told_before_the_end() -> None:
    """A worker that is recycled under load has told of its last request, too."""
    with Running("tests.server.figured:bare", "--workers", "1") as server:
        witness = Witness(server)
        (pid,) = server.worker_pids()
        _recycle(server)
        sent = 0
        while server.worker_pids() == [pid]:
            assert server.get("/a").status == 200
            sent += 1
        await_true(lambda: pid not in server.tree(), "it has ended")
        expected = {"GET /a": (0, sent, 0, 0, 0)}
        witness.await_look(lambda: witness.look() == expected, "all are told")
        assert witness.total() == sent


def test_wsgi_is_counted_by_paths() -> None:
    """There is no template to be seen; paths that are not there make no names."""
    with Running("tests.server.figured:wsgi", "--workers", "1", "--interface", "wsgi") as server:
        witness = Witness(server)
        for number in range(6):
            assert server.get(f"/things/{number}").status == 200
            assert server.get(f"/no{number}x").status == 404
        expected = {"GET /things/{}": (0, 6, 0, 0, 0), "(other)": (0, 0, 0, 6, 0)}
        witness.await_look(lambda: witness.look() == expected, "all that was sent is counted")
