"""The kernel never has to kill: whatever is asked, the server stays below its limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.promises.load import Kind, storm
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running, run_to_end
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = [pytest.mark.real, pytest.mark.alone]

APP = "tests.promises.apps:app"
SECONDS = 4.0

# Loads 300 MB in its startup, which no worker shares with another.
MODEL = """
held = []
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        held.append(b"x" * (300 << 20))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ready"})
"""


@pytest.mark.cgroup2
def test_more_work_than_memory_waits() -> None:
    """128 clients want 1 GB at once of a server of 512 MB; nothing is declared or known before."""
    need_cgroup()
    with MemoryBox(512 * MIB) as box, Running(APP, box=box) as server:
        found = storm(server, seconds=SECONDS)

        assert box.kills() == 0
        assert found.count(lambda tally: tally.broken) == 0
        assert found.count(lambda tally: tally.other) == 0
        assert found.count(lambda tally: tally.ok) > SECONDS * 60 / SLOWNESS
        assert found.health.failed == 0
        assert found.health.answered > SECONDS * 5 / SLOWNESS
        assert server.health_memory()["kernelKills"] == 0


def test_a_mix_with_large_requests_is_served() -> None:
    """One request in ten needs 40 MB for a second; small ones pass those that wait for room."""
    need_cgroup()
    kinds = [
        Kind("trivial", "/", 0.7),
        Kind("8 MB", "/work?mb=8&ms=300", 0.2, 0.3),
        Kind("40 MB", "/work?mb=40&ms=1000", 0.1, 1.0),
    ]
    with MemoryBox(512 * MIB) as box, Running(APP, box=box) as server:
        found = storm(server, kinds, seconds=SECONDS)

        assert box.kills() == 0
        assert found.count(lambda tally: tally.broken) == 0
        assert found.health.failed == 0
        assert found.tallies["trivial"].refused == 0
        assert found.tallies["40 MB"].ok + found.tallies["40 MB"].late > 0


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_a_model_for_each_worker_is_loaded_as_often_as_it_fits(
    tmp_path: Path, preload: str
) -> None:
    """Two workers of 300 MB are planned in 512 MB: one serves, and it is said why."""
    need_cgroup()
    (tmp_path / "model.py").write_text(MODEL)
    arguments = ("model:app", "--app-dir", str(tmp_path), "--workers", "2", preload)
    with MemoryBox(512 * MIB) as box, Running(*arguments, box=box) as server:
        await_true(lambda: "1 of 2 workers have room" in server.log, "what becomes of the second")

        assert server.get("/").body == b"ready"
        assert len(server.worker_pids()) == 1
        assert box.kills() == 0


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_a_startup_that_can_never_fit_ends_the_server(tmp_path: Path, preload: str) -> None:
    """Nothing below the limit helps: it is said, and no loop of kernel kills follows."""
    need_cgroup()
    (tmp_path / "model.py").write_text(MODEL)
    arguments = ("model:app", "--app-dir", str(tmp_path), "--workers", "2", preload)
    with MemoryBox(256 * MIB) as box:
        ended = run_to_end(*arguments, "--port", "0", box=box)

        assert ended.returncode == 1, ended.stderr
        assert (
            "no worker has ever served: it needs more memory to start than there is" in ended.stderr
        )
        assert "the limit is 256 MB" in ended.stderr
        assert box.kills() == 1


def test_an_import_that_can_never_fit_ends_the_server(tmp_path: Path) -> None:
    """With the likely reason, since it is the kernel that ended it."""
    need_cgroup()
    (tmp_path / "model.py").write_text('held = b"x" * (300 << 20)\n' + MODEL)
    with MemoryBox(256 * MIB) as box:
        ended = run_to_end("model:app", "--app-dir", str(tmp_path), "--port", "0", box=box)

        assert ended.returncode == 1, ended.stderr
        assert "was ended by SIGKILL: by the kernel, if it needs more memory" in ended.stderr
        assert box.kills() == 1


def test_workers_are_what_the_kernel_would_take_first() -> None:
    """If it has to after all: the supervisor must live to replace them, and to tell."""
    with Running(APP, "--workers", "1") as server:
        (worker,) = server.worker_pids()

        def badness(pid: int) -> int:
            with open(f"/proc/{pid}/oom_score_adj") as file:
                return int(file.read())

        assert badness(worker) > badness(server.pid)
        assert badness(server.pid) == badness(os.getpid())
