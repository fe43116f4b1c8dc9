"""A leak costs no request: workers are replaced before it matters, and the report names the line.

64 KB a request at 300 requests/s are 19 MB/s, so a box of 256 MB would be full after 9 s.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.promises.load import Kind, Load, run
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running, clean_environment

from tonnage.units import MIB

pytestmark = pytest.mark.real

APP = "benchmarks.greedy:app"
LEAK_BYTES = 65536
PER_SECOND = 300
# So many clients that each waits 1/10 s between its requests.
LEAK = Kind("leak", "/leak?kb=64")


def test_a_leak_costs_no_request() -> None:
    """Memory is a saw-tooth under the limit: at least two workers are replaced in 20 s."""
    pytest.importorskip("fastapi")
    need_cgroup()
    with MemoryBox(256 * MIB) as box, Running(APP, "--workers", "1", box=box) as server:
        first = server.worker_pids()
        seen: set[int] = set(first)
        found = run(_leaking(server, 20.0, seen))

        tally = found.tallies["leak"]
        assert (tally.broken, tally.other, tally.refused) == (0, 0, 0)
        assert tally.ok > 20 * PER_SECOND * 0.8
        assert len(seen) >= 3
        assert box.kills() == 0
        assert box.peak() < 256 * MIB
        reported = _bytes_a_request(server)
        assert reported == pytest.approx(LEAK_BYTES, rel=0.2)


def test_the_report_names_the_line_that_leaks() -> None:
    """`tonnage leaks` while requests come in."""
    pytest.importorskip("fastapi")
    with Running(APP, "--workers", "1", "--memory", "512M") as server:
        command = [sys.executable, "-m", "tonnage", "leaks", "--seconds", "4", "--json"]
        with subprocess.Popen(
            [*command, "--control", str(server.control)],
            env=clean_environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as asking:
            found = run(_leaking(server, 7.0, set()))
            printed, _ = asking.communicate(timeout=20)

        assert asking.returncode == 0
        assert found.tallies["leak"].broken == 0
        report = json.loads(printed)["report"]
        line = report["lines"][0]
        assert line["file"].endswith("benchmarks/greedy.py")
        assert "bytearray(kb * 1024)" in line["code"]
        assert line["grown_bytes"] / report["requests"] == pytest.approx(LEAK_BYTES, rel=0.2)


async def _leaking(server: Running, seconds: float, seen: set[int]) -> Load:
    """Ask for /leak at PER_SECOND for *seconds*; add the workers that serve to *seen*."""
    load = Load(server.port, [LEAK], clients=30, per_second=PER_SECOND)
    load.start()
    for _ in range(int(seconds * 2)):
        await load.keep_going(0.5)
        seen.update(server.worker_pids())
    await load.stop()
    return load


def _bytes_a_request(server: Running) -> float:
    """Return what the supervisor says that a request leaves behind."""

    # From the log: a worker that has just been replaced leaks nothing yet.
    lines = [line for line in server.log.splitlines() if '"bytes_per_request"' in line]
    return float(json.loads(lines[-1])["bytes_per_request"])
