"""What all of operations weighs, once they are used: 3 MB a worker, 8 MB in the supervisor."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from tests.support.server import Running

from tonnage.host.processes import read_rollup
from tonnage.units import MIB

pytestmark = pytest.mark.real

WORKER_BYTES = 3 * MIB
SUPERVISOR_BYTES = 8 * MIB
#: All that a page, a scraper and a terminal ask for.
PATHS = (
    *("/tonnage", "/tonnage/page.js", "/tonnage/page.css", "/tonnage/state", "/tonnage/history"),
    *("/metrics", "/tonnage/metrics.json", "/health/memory"),
)


def weights(server: Running) -> dict[int, int]:
    """Private memory of the supervisor and of each worker, by process."""
    return {pid: read_rollup(pid).uss_bytes for pid in (server.pid, *server.worker_pids())}


def test_operations_are_within_their_bounds_while_they_are_used() -> None:
    """Five open pages, and each path asked for again and again, on all ways in."""
    with Running("benchmarks.app:app", "--workers", "2") as server, ExitStack() as stack:
        for _ in range(200):
            server.get("/")
        before = weights(server)
        for _ in range(5):
            stream = stack.enter_context(server.connect())
            stream.sendall(b"GET /tonnage/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert stream.recv(65536).startswith(b"HTTP/1.1 200")
        for _ in range(15):
            for path in PATHS:
                assert server.get(path).status == 200, path
            assert server.ask_supervisor("/tonnage/state").status == 200
        after = weights(server)

        assert after.keys() == before.keys()
        grown = {pid: after[pid] - before[pid] for pid in after}
        assert grown.pop(server.pid) < SUPERVISOR_BYTES
        assert len(grown) == 2
        assert max(grown.values()) < WORKER_BYTES
        # They were used, by whoever answered: it did not cost nothing.
        assert sum(after.values()) > sum(before.values())
