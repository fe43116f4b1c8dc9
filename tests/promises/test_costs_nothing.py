"""Costs next to nothing when all is well: memory and processor at rest.

Speed is measured by ``make bench``, beside other servers.
"""

from __future__ import annotations

import os
import time

import pytest
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage.host.processes import read_rollup
from tonnage.units import MIB

pytestmark = [pytest.mark.real, pytest.mark.alone]

FASTAPI = "benchmarks.app:app"


def test_a_tree_with_one_worker_is_small() -> None:
    """A FastAPI app served by uvicorn alone is 46 MB; the figure to reach is 60."""
    pytest.importorskip("fastapi")
    assert _tree_mb(1) < 70


def test_each_further_worker_is_cheap() -> None:
    """It shares what was imported; the figure to reach is 9 MB, a copy would be 36."""
    pytest.importorskip("fastapi")
    assert (_tree_mb(3) - _tree_mb(1)) / 2 < 12


def test_the_supervisor_is_idle_when_the_server_is() -> None:
    """It looks a few times a second, and each look takes a fraction of a millisecond."""
    with Running("tests.promises.apps:app", "--memory", "512M") as server:
        assert server.get("/").status == 200
        begun, spent = time.monotonic(), _cpu_seconds(server.pid)
        await_true(lambda: time.monotonic() - begun > 1.5, "a second and a half")

        assert (_cpu_seconds(server.pid) - spent) / (time.monotonic() - begun) < 0.05


def _tree_mb(workers: int) -> float:
    with Running(FASTAPI, "--memory", "512M", "--workers", str(workers)) as server:
        for _ in range(20):
            assert server.get("/").status == 200
        return sum(read_rollup(pid).pss_bytes for pid in server.tree()) / MIB


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
