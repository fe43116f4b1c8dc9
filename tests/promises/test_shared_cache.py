"""What four workers share is there once, outlives each of them, and is forgotten by all at once.

``python -m benchmarks sharedlevel`` measures it against four private caches.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.memory import tree_kilobytes
from benchmarks.sharedlevel import asking
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage.units import KIB, MIB

pytestmark = pytest.mark.real

WORKERS = 4
VALUES = 2000
VALUE_BYTES = 12_000
ALL_BYTES = VALUES * VALUE_BYTES


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """Yield four workers with a cache of 2 MB each, and 64 MB that they share, on a disk."""
    need_cgroup()
    environment = {
        "SHARING": "shared",
        "SHARING_CHARACTERS": str(VALUE_BYTES),
        "TMPDIR": str(tmp_path),
    }
    arguments = ["benchmarks.sharing:app", "--workers", str(WORKERS), "--memory", "256M"]
    with (
        MemoryBox(256 * MIB) as box,
        Running(*arguments, box=box, env=environment) as running,
    ):
        yield running
        assert box.kills() == 0
    # Nothing is left behind.
    assert list(tmp_path.iterdir()) == []


def ask_for_all(server: Running) -> tuple[float, set[str]]:
    """Ask for every value once; return the share that was found, and the workers that answered."""
    return asyncio.run(asking(server.port, range(VALUES)))


def anonymous_bytes(server: Running) -> int:
    """Return what the tree holds beside files."""
    return tree_kilobytes(server.tree())["Pss_Anon"] * KIB


def test_four_workers_have_one_copy_that_outlives_them(server: Running) -> None:
    """One copy for all, kept through kill -9 and recycling, gone everywhere when it is cleared."""
    await_true(lambda: len(server.worker_pids()) == WORKERS, "four workers")
    before = anonymous_bytes(server)
    assert ask_for_all(server)[0] == 0
    found, workers = ask_for_all(server)
    assert found == 1
    assert len(workers) == WORKERS
    # Four private copies would be 4 times all; each has a few of its own, and what requests leave.
    assert anonymous_bytes(server) - before < 1.2 * ALL_BYTES

    killed = server.worker_pids()[0]
    os.kill(killed, signal.SIGKILL)
    await_true(
        lambda: killed not in (pids := server.worker_pids()) and len(pids) == WORKERS,
        "a worker in its place",
    )
    found, workers = ask_for_all(server)
    assert found == 1
    assert str(killed) not in workers

    before_recycling = set(server.worker_pids())
    command = [sys.executable, "-m", "tonnage", "recycle", "--control", str(server.control)]
    subprocess.run(command, check=True, capture_output=True)
    await_true(
        lambda: len(pids := set(server.worker_pids())) == WORKERS and not pids & before_recycling,
        "four new workers",
        within_seconds=20,
    )
    assert ask_for_all(server)[0] == 1

    command = [sys.executable, "-m", "tonnage", "cache", "clear", "--control", str(server.control)]
    subprocess.run(command, check=True, capture_output=True)
    assert ask_for_all(server)[0] == 0
