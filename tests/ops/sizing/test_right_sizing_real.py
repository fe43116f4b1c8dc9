"""The limit that is advised for a real server keeps it without a kernel kill."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import ROOT, Running, clean_environment

from tonnage.units import MIB

pytestmark = pytest.mark.real

TARGET = "benchmarks.app:app"
CLIENTS = 12
LOAD_SECONDS = 1.5


def load(server: Running) -> Counter[int]:
    """Have 12 clients ask for 8 MB, held for 200 ms; return how often each status was answered."""
    end = time.monotonic() + LOAD_SECONDS

    def ask(_: int) -> list[int]:
        statuses = []
        while time.monotonic() < end:
            statuses.append(server.get("/work?mb=8&ms=200").status)
        return statuses

    with ThreadPoolExecutor(CLIENTS) as clients:
        return Counter(status for each in clients.map(ask, range(CLIENTS)) for status in each)


def observed(state: Path) -> dict[str, Any]:
    """What the command says of what was observed."""
    words = ["plan", TARGET, "--observed", "--json", "--state-dir", str(state)]
    ran = subprocess.run(
        [sys.executable, "-m", "tonnage", *words],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        check=True,
        timeout=20,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_a_server_runs_in_the_limit_that_its_observation_advises(tmp_path: Path) -> None:
    """First in 512 MB, then in what that took, under the same load: no kill, hardly a refusal."""
    need_cgroup()
    options = ("--workers", "2", "--state-dir", str(tmp_path))
    with MemoryBox(512 * MIB) as box, Running(TARGET, *options, box=box) as server:
        assert set(load(server)) == {200}
    data = observed(tmp_path)

    advised = data["advice"]["limit_bytes"]
    # What the clients hold together is in there, and the server at rest.
    assert data["observed"]["peak_bytes"] > CLIENTS * 8 * MIB * 0.8
    assert data["advice"]["largest"] == "workers_own"
    assert advised < 400 * MIB
    assert data["is_running"] is False

    with MemoryBox(advised) as box, Running(TARGET, *options, box=box) as server:
        statuses = load(server)
        assert box.kills() == 0
        # A request that finds no room in time is refused, which a margin makes rare.
        assert set(statuses) <= {200, 503}
        assert statuses[200] >= 0.95 * statuses.total(), statuses
    assert observed(tmp_path)["observed"]["kernel_kills"] == 0
