"""Isolated jobs start at once, give their memory back, and never make the kernel kill.

``python -m benchmarks jobs`` measures the start beside other ways.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.promises.load import Kind, storm
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import ROOT, Response, Running, clean_environment
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = pytest.mark.real

APP = "tests.promises.jobs_app:app"
KINDS = (
    Kind("trivial", "/", 0.7),
    Kind("8 MB", "/work?mb=8&ms=100", 0.3, 0.1),
)


def test_a_job_starts_in_a_small_part_of_the_time_of_an_import() -> None:
    """The zygote has imported the application; a fork of it is there at once."""
    environment = {"PAUSE_SECONDS": "0.3"}
    with Running("benchmarks.starting:app", "--workers", "1", env=environment) as server:
        forked = [server.get("/call?way=new").json()["start"] for _ in range(5)]
        kept = [server.get("/call?way=warm").json()["start"] for _ in range(6)][1:]

    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import benchmarks.starting"],
        cwd=ROOT,
        env=clean_environment() | environment,
        check=True,
    )
    imported_seconds = time.monotonic() - began

    assert statistics.median(forked) < imported_seconds / 6
    assert statistics.median(kept) < imported_seconds / 20


def test_the_memory_of_a_job_is_back_when_it_has_ended() -> None:
    """What it took is the kernel's again, and no process stays behind."""
    need_cgroup()
    with MemoryBox(512 * MIB) as box, Running(APP, "--workers", "1", box=box) as server:
        # What the first one loads stays.
        assert server.get("/job?mb=1&ms=0").body == b"1"
        await_true(lambda: not jobs_in(box), "the end of the first job")
        processes, usage_bytes = sorted(box.pids()), box.usage()

        assert server.get("/job?mb=100&ms=50").body == b"100"
        assert box.peak() > usage_bytes + 80 * MIB
        await_true(lambda: box.usage() < usage_bytes + 16 * MIB, "memory back", 5.0)
        await_true(lambda: sorted(box.pids()) == processes, "the end of its process")
        assert box.kills() == 0


def test_jobs_and_large_requests_share_what_there_is() -> None:
    """Together they want three times the memory; each job is done, or refused in form."""
    need_cgroup()
    with MemoryBox(320 * MIB) as box, Running(APP, "--workers", "2", box=box) as server:
        with asking(server, "/job?mb=100&ms=100", clients=4) as answers:
            found = storm(server, KINDS, clients=48, seconds=2)

        outcomes = Counter(answer.status for answer in answers)
        refusals = [answer for answer in answers if answer.status != 200]
        assert set(outcomes) <= {200, 503}
        assert outcomes[200] > 0
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refusals)
        assert box.kills() == 0
        assert found.count(lambda tally: tally.broken) == 0
        assert found.count(lambda tally: tally.other) == 0
        assert found.count(lambda tally: tally.ok) > 0
        assert found.health.failed == 0
        await_true(lambda: not jobs_in(box), "the end of the last job")


@contextmanager
def asking(server: Running, path: str, *, clients: int) -> Iterator[list[Response]]:
    """Have *clients* ask for *path* again and again; yield their answers, whole at the end."""
    answers: list[Response] = []
    ends = threading.Event()

    def ask() -> None:
        while not ends.is_set():
            answers.append(server.get(path))
            if answers[-1].status != 200:
                ends.wait(0.1)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def jobs_in(box: MemoryBox) -> list[int]:
    """Return the processes of jobs."""
    return [pid for pid in box.pids() if _name(pid) == "tonnage-job"]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""  # it has ended
