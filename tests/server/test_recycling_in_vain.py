"""Workers that load a large model with their first request: recycling gives up on them.

A real server in a real memory cgroup. Both models and the server fit, but not below WARNING, so
each recycle gives memory back that the successor takes at once.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running, connection_to, exchange
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = [pytest.mark.real, pytest.mark.alone, pytest.mark.soak]

CLIENTS = 4
PAUSE_SECONDS = 0.05

SOURCE = """
model = []

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while len(model) < 190:
        model.append(b"x" * (1 << 20) + bytes([len(model)]))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})
"""


def test_three_recycles_without_lasting_relief_and_one_worker_less(tmp_path: Path) -> None:
    """Then one worker serves, with memory to spare, and whoever looks is told."""
    need_cgroup()
    (tmp_path / "lazy.py").write_text(SOURCE)
    options = ("--workers", "2", "--app-dir", str(tmp_path))
    with MemoryBox(512 * MIB) as box, Running("lazy:app", *options, box=box) as server:
        stopped = threading.Event()
        clients = [threading.Thread(target=_ask, args=(server, stopped)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            await_true(lambda: "was in use again within 30 s" in server.log, "giving up", 60.0)
            await_true(lambda: len(server.worker_pids()) == 1, "one worker less", 40.0)
            await_true(lambda: server.get("/health").json()["status"] == "OK", "OK", 20.0)
            details = server.get("/health/memory").json()
        finally:
            stopped.set()
            for client in clients:
                client.join(20.0)

        # For what they hold, or for what was left when a request ran out of memory.
        assert server.log.count(" is recycled: it k") == 3
        assert (details["desiredWorkers"], details["plannedWorkers"]) == (1, 2)
        assert "1 of 2 workers" in details["note"]
        assert server.get("/").status == 200
        assert box.kills() == 0


def _ask(server: Running, stopped: threading.Event) -> None:
    """Ask without end; what is refused meanwhile is not the matter here."""
    while not stopped.wait(PAUSE_SECONDS):
        try:
            with connection_to(server.url, 20.0) as connection:
                exchange(connection, "GET", "/")
        except OSError:
            continue
