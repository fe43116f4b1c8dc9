"""A burst inside one request is that request's failure: nobody else's, and never the kernel's.

One client asks once a second for a route that allocates 2 GB at full speed (0.25 GB/s as Python
objects, 1.7 to 2.4 GB/s in larger pieces), beside 50 that ask for ordinary things.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.guilty import LOST
from tests.promises.load import ORDINARY, Storm, storm
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running, clean_environment
from tests.support.slowness import SLOWNESS

from tonnage.units import MIB

pytestmark = [pytest.mark.real, pytest.mark.alone]

APP = "benchmarks.greedy:app"
LIMIT_BYTES = 512 * MIB
SECONDS = 3.0
# A burst of small objects is one step that takes seconds.
OBJECTS_SECONDS = 5.0
CLIENTS = 50
# How a request that asks for too much may end.
FAIR = {"503", "413", LOST}


@pytest.mark.parametrize(
    ("paths", "workers"),
    [
        (["/burst/objects"], 1),
        pytest.param(["/burst/objects"], 2, marks=pytest.mark.soak),
        pytest.param(["/burst/chunks"], 1, marks=pytest.mark.soak),
        (["/burst/chunks/thread"], 2),
        (["/burst/whole", "/burst/whole/thread"], 1),
        # Two at once, in two workers: the one that is known to cost an ordinary request at times,
        # see docs/promises/kernel-never-has-to-kill.md.
        pytest.param(["/burst/numpy", "/burst/objects/thread"], 2, marks=pytest.mark.soak),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else f"{value} workers",
)
def test_only_the_guilty_request_fails(tmp_path: Path, paths: list[str], workers: int) -> None:
    """No kernel kill, no failure of an ordinary request, and each death explained."""
    _need_what_it_imports(paths)
    with MemoryBox(LIMIT_BYTES) as box, _server(box, tmp_path, workers) as server:
        seconds = OBJECTS_SECONDS if "/burst/objects" in paths else SECONDS
        found = storm(server, ORDINARY, clients=CLIENTS, seconds=seconds, guilty=paths)

        assert box.kills() == 0
        assert box.peak() < LIMIT_BYTES
        _no_ordinary_request_failed(found, seconds)
        assert set(found.guilty) <= FAIR
        assert found.guilty.total() >= seconds - 1
        _each_end_is_explained(server, tmp_path, "/burst/")


def test_a_program_that_a_request_started_is_stopped_alone(tmp_path: Path) -> None:
    """No limit on the worker's data sees it; the request is answered, for it asked no more."""
    _need_what_it_imports([])
    with MemoryBox(LIMIT_BYTES) as box, _server(box, tmp_path, workers=2) as server:
        found = storm(server, ORDINARY, clients=CLIENTS, seconds=SECONDS, guilty=["/fork"])

        assert box.kills() == 0
        _no_ordinary_request_failed(found)
        assert set(found.guilty) <= FAIR | {"200", "500"}
        assert re.search(r"brake: ended process \d+, started by the application", server.log)
        reports = [json.loads(path.read_text()) for path in tmp_path.glob("*-program-brake*.json")]
        assert len(reports) == server.log.count("brake: ended process ")
        assert all("/fork" in report["summary"] for report in reports)


def test_growth_in_shared_memory_costs_one_worker(tmp_path: Path) -> None:
    """No allocation can fail, so the worker must end, with what it has in flight: and it alone."""
    _need_what_it_imports([])
    with MemoryBox(LIMIT_BYTES) as box, _server(box, tmp_path, workers=2) as server:
        found = storm(server, ORDINARY, clients=CLIENTS, seconds=SECONDS, guilty=["/shared"])

        ended = _ended(server)
        assert box.kills() == 0
        assert found.count(lambda tally: tally.broken) <= ended * CLIENTS
        assert found.count(lambda tally: tally.other) == 0
        assert ended <= found.guilty.total()
        assert set(found.guilty) <= FAIR
        _each_end_is_explained(server, tmp_path, "/shared")


def test_the_command_tells_which_request_it_was(tmp_path: Path) -> None:
    """`tonnage postmortem --json`, asked of the server that runs."""
    _need_what_it_imports([])
    with MemoryBox(LIMIT_BYTES) as box, _server(box, tmp_path, workers=1) as server:
        server.get("/burst/chunks")
        command = [sys.executable, "-m", "tonnage", "postmortem", "--json"]
        printed = subprocess.run(
            [*command, "--control", str(server.control)],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout

        assert "/burst/" in json.dumps(json.loads(printed))


def _server(box: MemoryBox, reports: Path, workers: int) -> Running:
    return Running(APP, "--workers", str(workers), "--report-dir", str(reports), box=box)


def _need_what_it_imports(paths: Iterable[str]) -> None:
    pytest.importorskip("fastapi")
    if any("numpy" in path for path in paths):
        pytest.importorskip("numpy")
    need_cgroup()


def _no_ordinary_request_failed(found: Storm, seconds: float = SECONDS) -> None:
    """Waiting is no failure, and neither is a refusal for which a second try is welcome."""
    assert found.count(lambda tally: tally.broken) == 0
    assert found.count(lambda tally: tally.other) == 0
    assert found.count(lambda tally: tally.refused) == 0
    assert found.count(lambda tally: tally.ok) > seconds * 50 / SLOWNESS
    # A probe on a connection that the worker had taken before it got stuck in the guilty request's
    # step waits as long as that: a few seconds, where objects are small and the machine is slow.
    assert found.health.failed <= found.guilty.total()


def _each_end_is_explained(server: Running, directory: Path, route: str) -> None:
    """Every worker that ended has a report, and every report names the route."""
    reports: list[dict[str, Any]] = [
        json.loads(path.read_text()) for path in directory.glob("*.json")
    ]

    assert all(route in json.dumps(report) for report in reports)
    assert sum(report["kind"] == "death" for report in reports) == _ended(server)
    assert reports


def _ended(server: Running) -> int:
    """Return how many workers have ended without having been told to."""
    return len(re.findall(r"\(pid \d+\) (?:was ended by|ended with status)", server.log))
