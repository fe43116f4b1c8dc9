"""What metrics cost: little memory, and nothing before somebody asks."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.support.server import ROOT, Running, clean_environment

from tonnage.host.processes import read_rollup
from tonnage.units import MIB

SCRAPES = 30
MOST_SUPERVISOR_BYTES = 3 * MIB // 2
MOST_WORKER_BYTES = 3 * MIB


@pytest.mark.real
def test_metrics_take_little_memory() -> None:
    """In the supervisor, which makes them, and in the worker that passes them on."""
    with Running("benchmarks.app:app", "--memory", "300M", "--workers", "1") as server:
        server.get("/")
        pids = (server.pid, *server.worker_pids())
        before = [own_bytes(pid) for pid in pids]
        for _ in range(SCRAPES):
            assert server.get("/metrics").status == 200
        supervisor, worker = (
            own_bytes(pid) - bytes_before for pid, bytes_before in zip(pids, before, strict=True)
        )
    assert supervisor < MOST_SUPERVISOR_BYTES
    assert worker < MOST_WORKER_BYTES


def own_bytes(pid: int) -> int:
    """Return the memory of process *pid* that no other has."""
    return read_rollup(pid).uss_bytes


def test_nothing_is_imported_before_somebody_asks() -> None:
    """In the supervisor, whose memory is everybody's."""
    script = (
        "import sys, tonnage.server.assemble\n"
        "print(*(name for name in sys.modules if name.startswith('tonnage.ops.metrics.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["tonnage.ops.metrics.views"]
