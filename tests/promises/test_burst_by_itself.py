"""A burst with nothing beside it, on version 2 as well, where the kernel speaks only at the limit.

What keeps the kernel from killing there is the fuse, and looking often enough. An emulated
processor slows the allocator and the looking alike, so each survival is printed with the rate at
which memory grew, and how often the supervisor woke meanwhile. Bursts beside ordinary traffic, and
what is told of them, are next door (``test_bursts``).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = [pytest.mark.real, pytest.mark.alone, pytest.mark.cgroup2]

APP = "benchmarks.greedy:app"
PATHS = ("/burst/chunks", "/burst/chunks/thread")
SAMPLE_SECONDS = 0.02
# Over less than that, a rate would be that of a single large block.
WINDOW_SAMPLES = 10


@dataclass(slots=True)
class Climb:
    """How memory grew in a box.

    Attributes:
        bytes_per_second: the steepest growth over ``WINDOW_SAMPLES``.
        wakeups_per_second: how often the supervisor went to sleep, and so how often it looked.
    """

    bytes_per_second: float = 0.0
    wakeups_per_second: float = 0.0

    def __str__(self) -> str:
        rate = f"{self.bytes_per_second / MIB:.0f} MB/s"
        return f"memory grew by {rate}; the supervisor woke {self.wakeups_per_second:.0f} times/s"


def test_a_burst_by_itself_is_survived() -> None:
    """It ends as that request's failure; the kernel has not killed, and the next one is served."""
    pytest.importorskip("fastapi")
    need_cgroup()
    with MemoryBox(512 * MIB) as box, Running(APP, "--workers", "1", box=box) as server:
        for path in PATHS:
            with climbing(box, server.pid) as climb:
                outcome = _outcome(server, path)
            print(f"{path}: {outcome}, peak {box.peak() / MIB:.0f} MB; {climb}")

            assert outcome in ("503", "413", "connection lost")
            assert box.kills() == 0
            await_true(lambda: server.get("/work?mb=8&ms=1").status == 200, "served again")


@contextmanager
def climbing(box: MemoryBox, supervisor_pid: int) -> Iterator[Climb]:
    """Watch the box grow; what was found is there after the block."""
    climb, ended = Climb(), threading.Event()

    def watch() -> None:
        seen: list[tuple[float, int]] = []  # WINDOW_SAMPLES at most
        while not ended.wait(SAMPLE_SECONDS):
            seen = [*seen[-WINDOW_SAMPLES + 1 :], (time.monotonic(), box.usage())]
            (begun, least), (now, most) = seen[0], seen[-1]
            if len(seen) == WINDOW_SAMPLES:
                rate = (most - least) / (now - begun)
                climb.bytes_per_second = max(climb.bytes_per_second, rate)

    watcher = threading.Thread(target=watch)
    begun, sleeps = time.monotonic(), _sleeps(supervisor_pid)
    watcher.start()
    try:
        yield climb
    finally:
        ended.set()
        watcher.join()
    climb.wakeups_per_second = (_sleeps(supervisor_pid) - sleeps) / (time.monotonic() - begun)


def _outcome(server: Running, path: str) -> str:
    try:
        return str(server.get(path).status)
    except (ConnectionError, http.client.HTTPException):
        return "connection lost"


def _sleeps(pid: int) -> int:
    """Return how often a process has gone to sleep by itself."""
    with open(f"/proc/{pid}/status") as file:
        return int(file.read().partition("\nvoluntary_ctxt_switches:")[2].split()[0])
