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


@pytest.mark.parametrize("is_in_box", [True, False], ids=["limit of a cgroup", "limit of its own"])
def test_a_level_larger_than_the_limit_stops_nobody(tmp_path: Path, is_in_box: bool) -> None:
    """Of 200 MB within 160, filled and read by two workers: its pages are file cache."""
    need_cgroup()
    environment = {
        "SHARING": "shared",
        "SHARING_SIZE": "200M",
        "SHARING_CHARACTERS": str(40 * KIB),
        "TMPDIR": str(tmp_path),
    }
    arguments = ["benchmarks.sharing:app", "--workers", "2", "--memory", "160M"]
    with (
        MemoryBox((160 if is_in_box else 400) * MIB) as box,
        Running(*arguments, box=box, env=environment) as running,
    ):
        # Of 40 KB each, more than there is room for.
        asyncio.run(asking(running.port, range(5500)))
        for _ in range(2):
            found = asyncio.run(asking(running.port, range(1500, 5500)))[0]
        assert found > 0.9
        await_true(lambda: running.get("/health").json()["status"] == "OK", "level OK", 5)
        workers = running.worker_pids()
        assert max(_mapped_file_bytes(pid) for pid in workers) < 16 * MIB
        assert asyncio.run(asking(running.port, range(5000, 5500)))[0] > 0.9
        assert running.worker_pids() == workers
        assert box.kills() == 0


def _mapped_file_bytes(pid: int) -> int:
    """Return what a process has mapped of levels' files."""
    found, is_level = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            is_level = line.endswith(".mdb")
        elif is_level and line.startswith("Rss:"):
            found += int(line.split()[1]) * KIB
    return found


def test_four_workers_have_one_copy_that_outlives_them(server: Running) -> None:
    """One copy for all, kept through kill -9 and recycling, gone everywhere when it is cleared."""
    await_true(lambda: len(server.worker_pids()) == WORKERS, "four workers")
    before = anonymous_bytes(server)
    assert ask_for_all(server)[0] == 0
    found, workers = ask_for_all(server)
    assert found == 1
    assert len(workers) == WORKERS
    # Each has 2 MB of its own, and what requests leave, 0.7 of all together: no whole copy.
    assert anonymous_bytes(server) - before < 0.9 * ALL_BYTES

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
