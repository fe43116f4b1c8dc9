"""Page cache that the application makes is not memory in use: it triggers nothing."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running

from tonnage.units import MIB

pytestmark = pytest.mark.real

APP = "benchmarks.greedy:app"
# Fits beside a server of 60 MB: else the kernel would have to read parts again, which is no calm.
FILE_MB = 420
LOOK_SECONDS = 0.05
# Files there are memory in use, and no cache.
_IN_MEMORY = {"tmpfs", "ramfs", "rootfs"}


@pytest.fixture
def big_file(tmp_path: Path) -> Iterator[Path]:
    """Yield the path of a file on a disk: in $TONNAGE_TEST_DISK, else in the test's directory."""
    pytest.importorskip("fastapi")
    need_cgroup()
    disk = Path(os.environ.get("TONNAGE_TEST_DISK") or tmp_path)
    if _file_system(disk) in _IN_MEMORY:
        reason = f"{disk} is in memory: name a directory on a disk with TONNAGE_TEST_DISK"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    path = disk / f"tonnage-big-{os.getpid()}"
    yield path
    path.unlink(missing_ok=True)


def test_a_large_file_read_three_times_over_triggers_nothing(big_file: Path) -> None:
    """The second reading moves it whole into the active half of the cache."""
    _write(big_file)
    with MemoryBox(512 * MIB) as box, _server(box) as server:
        levels = _watched(server, f"/read?path={big_file}&times=3")

        assert box.usage() > 400 * MIB
        _nothing_happened(server, box, levels)


def test_a_large_file_written_triggers_nothing(big_file: Path) -> None:
    """It is dirty until the kernel has brought it to the disk, half a minute later."""
    with MemoryBox(512 * MIB) as box, _server(box) as server:
        levels = _watched(server, f"/write?path={big_file}&mb={FILE_MB}")

        assert box.usage() > 400 * MIB
        _nothing_happened(server, box, levels)


@pytest.mark.cgroup2
def test_memory_is_there_for_requests_while_the_cache_is_dirty(big_file: Path) -> None:
    """The kernel writes it out and gives it back; nobody is refused and nobody killed."""
    with MemoryBox(512 * MIB) as box, _server(box) as server:
        assert server.get(f"/write?path={big_file}&mb={FILE_MB}").status == 200
        with ThreadPoolExecutor(6) as clients:
            asked = [clients.submit(server.get, "/work?mb=40&ms=200") for _ in range(6)]
            assert [each.result().status for each in asked] == [200] * 6

        assert box.kills() == 0


def _server(box: MemoryBox) -> Running:
    return Running(APP, "--workers", "1", box=box)


def _watched(server: Running, path: str) -> list[str]:
    """Ask for *path*, and for the level 20 times a second until a second after the answer."""
    workers = server.worker_pids()
    levels = [server.get("/health").json()["status"]]
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(server.get, path)
        until = float("inf")
        while time.monotonic() < until:
            levels.append(server.get("/health").json()["status"])
            time.sleep(LOOK_SECONDS)
            if answer.done():
                until = min(until, time.monotonic() + 1.0)
        assert answer.result().status == 200
    assert server.worker_pids() == workers
    return levels


def _nothing_happened(server: Running, box: MemoryBox, levels: list[str]) -> None:
    now = server.health_memory()
    # What was logged, not what the banner says that there is.
    served = "\n".join(line for line in server.log.splitlines() if line.startswith("{"))

    assert set(levels) == {"OK"}
    assert box.kills() == 0
    assert [worker["refused"] for worker in now["workers"]] == [0]
    assert not re.search(r"memory (OK|WARNING|CRITICAL|EXHAUSTED)|reclaim|recycl|brak", served)


def _write(path: Path) -> None:
    """Write the file and get it out of the cache again, so that the server reads the disk."""
    block = os.urandom(MIB)
    with open(path, "wb", buffering=0) as file:
        for _ in range(FILE_MB):
            file.write(block)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _file_system(path: Path) -> str:
    """Return the type of the file system that holds *path*."""
    found, longest = "", -1
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        if path.resolve().is_relative_to(point) and len(point) > longest:
            found, longest = right.split()[0], len(point)
    return found
