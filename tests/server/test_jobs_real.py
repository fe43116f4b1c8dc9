"""Isolated jobs of a real server: in turn, apart, and gone when they are over.

What functions may do wrong is in ``tests/jobs``; who gets a turn, exactly, in
``tests/jobs/test_line.py``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running
from tests.support.waiting import Ends, await_true

from tonnage.host.processes import command_name
from tonnage.units import MIB

pytestmark = pytest.mark.real

# Takes its bytes once it is told to: when it is in the box.
PROGRAM = (
    "import sys, time; sys.stdin.read(); x = bytearray(b'x') * int(sys.argv[1]); time.sleep(60)"
)

APP = ("tests.server.working:app", "--workers", "2", "--job-wait", "20s")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Two workers, and one job at a time."""
    with Running(*APP, "--memory", "512M") as running:
        yield running


@pytest.fixture
def boxed(small: tuple[MemoryBox, Running]) -> tuple[MemoryBox, Running]:
    """Return the small server once it has recovered from the test before."""
    server = small[1]
    await_true(lambda: server.health_memory()["level"] == "OK", "memory is free again")
    return small


@pytest.fixture(scope="module")
def small() -> Iterator[tuple[MemoryBox, Running]]:
    """Yield the same server under a small limit, which is the kernel's."""
    need_cgroup()
    with MemoryBox(300 * MIB) as box, Running(*APP, box=box) as server:
        yield box, server


@contextmanager
def asking(server: Running, *paths: str) -> Iterator[list[Future[dict[str, Any]]]]:
    """Ask for all *paths* at once, on connections of their own."""
    with ThreadPoolExecutor(len(paths)) as clients:
        yield [clients.submit(answer, server, path) for path in paths]


def answer(server: Running, path: str) -> dict[str, Any]:
    """Return what the application says on *path*."""
    found: dict[str, Any] = server.get(path).json()
    return found


def told_pids(file: Path, count: int = 1) -> list[int]:
    """Wait until jobs have said which processes they are."""

    def read() -> list[int]:
        found = file.read_text().split() if file.exists() else []
        return [int(pid) for pid in found] if len(found) >= count else []

    return await_true(read, f"{count} processes in {file}")


def jobs(server: Running) -> dict[str, Any]:
    """Return what the supervisor says of jobs."""
    found: dict[str, Any] = server.ask_supervisor("/health/memory").json()["jobs"]
    return found


def told_jobs(server: Running) -> list[int]:
    """Return the processes of jobs, with those forked by them."""
    return [pid for pid in server.tree() if command_name(pid) == "tonnage-job"]


def later(seconds: float) -> Callable[[], bool]:
    """Return what becomes true in so many *seconds*."""
    due = time.monotonic() + seconds
    return lambda: time.monotonic() >= due


def await_ended(*pids: int) -> None:
    """Wait until these have ended."""
    ends = Ends(pids)
    try:
        assert not ends.await_all(10.0)
    finally:
        ends.close()


def test_one_job_runs_at_a_time_over_all_workers(server: Running) -> None:
    """Each in a process of its own, and both workers have asked."""
    with asking(server, *["/span?0.1"] * 6) as asked:
        answers = [each.result() for each in asked]

    spans = sorted(answer["result"][1:] for answer in answers)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert len({answer["result"][0] for answer in answers}) == 6


def test_a_warm_process_serves_the_calls_of_all_workers(server: Running) -> None:
    """The second call of a function finds what the first has left."""
    served: dict[int, set[int]] = {}
    while len(served) < 2:
        answer = server.get("/warm").json()
        served.setdefault(answer["worker"], set()).add(answer["result"])

    first, other = served.values()
    assert first == other
    assert len(first) == 1
    # The answer comes a moment before its process says that it is idle.
    await_true(lambda: jobs(server)["idle"] == 1, "an idle process")


def test_what_a_warm_process_holds_is_in_the_books(server: Running) -> None:
    """It is told apart from what is unexplained."""
    server.get(f"/warm?{10 * MIB}")
    await_true(lambda: 8 <= jobs(server)["held"] < 20, "10 MB held")
    assert server.ask_supervisor("/health/memory").json()["ledger"]["jobs"] >= 8


def test_a_job_that_takes_too_long_is_ended(server: Running) -> None:
    """After its time-out."""
    answer = server.get("/brief").json()
    assert answer["error"] == "JobTimeoutError"
    assert "0.2 s" in answer["text"]


def test_a_job_that_can_never_fit_is_refused_with_the_sum(server: Running) -> None:
    """At once, not after having waited."""
    answer = server.get("/never").json()
    assert answer["error"] == "JobTooLargeError"
    assert "the limit of 512 MB less" in answer["text"]


def test_a_job_waits_no_longer_than_it_may(server: Running, tmp_path: Path) -> None:
    """Then it is refused, and the client is told to come again."""
    with asking(server, f"/pid?{tmp_path / 'told'}") as (hanging,):
        (pid,) = told_pids(tmp_path / "told")
        answer = server.get("/hasty").json()
        os.kill(pid, signal.SIGKILL)
        hanging.result()
    assert answer["error"] == "JobBusyError"


def test_a_job_that_is_killed_is_explained(server: Running, tmp_path: Path) -> None:
    """To its caller, and by a report."""
    with asking(server, f"/pid?{tmp_path / 'told'}") as (hanging,):
        (pid,) = told_pids(tmp_path / "told")
        os.kill(pid, signal.SIGKILL)
        answer = hanging.result()
    assert answer["error"] == "JobEndedError"
    assert "SIGKILL" in answer["text"]
    told = [line for line in server.log.splitlines() if f"(pid {pid})" in line]
    assert len(told) == 1, told
    assert f"the job tests.server.working:pid (pid {pid}) was killed by SIGKILL" in told[0]


def test_all_that_a_job_has_started_ends_with_it(server: Running, tmp_path: Path) -> None:
    """Also what has left its session, though it was killed and could do nothing about it."""
    with asking(server, f"/parent?{tmp_path / 'told'}") as (hanging,):
        below, apart, pid = told_pids(tmp_path / "told", 3)
        # Who is below it is looked at a few times a second.
        await_true(later(0.6), "some looks")
        os.kill(pid, signal.SIGKILL)
        hanging.result()
        await_ended(below, apart)


def test_a_daemon_ends_with_the_job_that_has_started_it(server: Running, tmp_path: Path) -> None:
    """It has left its session and its parents, and its job has ended before anybody looked."""
    answer = server.get(f"/daemon?{tmp_path / 'told'}").json()
    assert "status 1" in answer["text"]
    await_ended(*told_pids(tmp_path / "told"))


@pytest.mark.parametrize(
    ("name", "words"), [("shared", "of shared memory"), ("children", "in the 3 processes")]
)
def test_what_is_not_a_jobs_private_memory_is_bounded_too(
    server: Running, name: str, words: str
) -> None:
    """Shared memory and its processes count, and it is told which."""
    answer = server.get(f"/{name}?{96 * MIB}").json()
    assert answer["error"] == "JobMemoryError"
    assert words in answer["text"]
    assert "more than the 40 MB" in answer["text"]


@pytest.mark.parametrize("name", ["shared", "children"])
def test_what_is_not_a_jobs_private_memory_is_in_the_books(server: Running, name: str) -> None:
    """While it is within its bound it is held, not unexplained."""
    with asking(server, f"/{name}?{60 * MIB}") as (running,):
        await_true(lambda: jobs(server)["held"] >= 55, "60 MB held")
        for pid in told_jobs(server):
            # With the job itself those below it end.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert running.result()["error"] == "JobEndedError"


def test_a_job_that_does_not_wait_runs_where_a_slot_is_free(server: Running) -> None:
    """With wait=0 it is refused only where it would have to wait."""
    assert "result" in server.get("/now").json()


def test_a_job_goes_on_without_its_zygote_and_the_next_waits_for_another(
    server: Running,
) -> None:
    """The zygote only makes processes."""
    with asking(server, "/span?0.5") as (running,):
        await_true(lambda: jobs(server)["running"], "a job runs")
        os.kill(server.zygote_pid(), signal.SIGKILL)
        following = server.get("/span?0").json()
        assert "result" in running.result()
    assert "result" in following


def test_the_job_of_a_worker_that_died_is_ended(server: Running, tmp_path: Path) -> None:
    """Nobody waits for it any more; others get their turn."""
    with ThreadPoolExecutor(1) as client:
        hanging = client.submit(server.get, f"/pid?{tmp_path / 'told'}")
        (pid,) = told_pids(tmp_path / "told")
        for worker in server.worker_pids():
            os.kill(worker, signal.SIGKILL)
        await_ended(pid)
        assert hanging.exception() is not None
    await_true(lambda: len(server.worker_pids()) == 2, "two workers again")
    assert "result" in server.get("/span?0").json()


def test_new_code_runs_in_new_processes(server: Running) -> None:
    """SIGHUP ends warm ones, once the application is imported anew."""
    before = server.get("/warm").json()["result"]
    server.send(signal.SIGHUP)
    await_ended(before)
    assert server.get("/warm").json()["result"] != before


def test_jobs_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    """At once: nobody would bound them any more."""
    with Running(*APP, "--memory", "512M") as server, ThreadPoolExecutor(1) as client:
        hanging = client.submit(server.get, f"/pid?{tmp_path / 'told'}")
        (pid,) = told_pids(tmp_path / "told")
        tree = Ends(server.tree())
        server.send(signal.SIGKILL)
        await_ended(pid)
        assert server.await_end(tree, 10.0) == -signal.SIGKILL
        hanging.exception()


def test_a_job_that_was_begun_is_finished_when_the_server_stops() -> None:
    """Within the time that there is to stop, as its request is; without a zygote too."""
    with (
        Running(*APP, "--memory", "512M", "--no-preload") as server,
        asking(server, "/span?0.7") as (running,),
    ):
        await_true(lambda: jobs(server)["running"], "a job runs")
        assert server.stop() == 0
        assert "result" in running.result()


def test_a_job_that_says_nothing_fits_a_small_limit() -> None:
    """The default follows the limit, and the banner says so."""
    with Running(*APP[:1], "--workers", "1", "--memory", "200M") as server:
        assert "result" in server.get("/usual").json()
        assert "(250 MB would not fit)" in server.banner("jobs")


def test_a_chosen_memory_that_never_fits_is_warned_of_at_the_start() -> None:
    """It is not lowered."""
    with Running(*APP[:1], "--memory", "300M", "--job-memory", "280M") as server:
        assert "--job-memory 280 MB is more than the" in server.log
        assert server.get("/usual").json()["error"] == "JobTooLargeError"


def test_jobs_and_large_requests_share_a_real_limit() -> None:
    """The kernel has nothing to kill, and each is served in its turn."""
    need_cgroup()
    with MemoryBox(400 * MIB) as box, Running(*APP, box=box) as server:
        # What a request costs is learned from the first ones.
        assert {server.get("/eat").status for _ in range(4)} == {200}
        with asking(server, *["/eat", "/eat", "/large?0.2"] * 4) as asked:
            answers = [each.result() for each in asked]
        assert box.kills() == 0, server.log
        refused = [each for each in answers if "result" not in each]
        assert not refused, refused
        await_true(lambda: jobs(server)["held"] == 0, "the memory is back")


def test_a_job_that_fills_shared_memory_is_ended_before_the_kernel_has_to(
    boxed: tuple[MemoryBox, Running],
) -> None:
    """Looks are dense where memory is short."""
    box, server = boxed
    before = box.kills()
    answer = server.get(f"/shared?{280 * MIB}").json()
    assert answer["error"] == "JobMemoryError", answer
    assert box.kills() == before, server.log
    assert "result" in server.get("/span?0").json()


def test_warm_processes_are_ended_where_memory_is_short(boxed: tuple[MemoryBox, Running]) -> None:
    """At WARNING: what they hold is of use to others."""
    box, server = boxed
    before = box.kills()
    warm = server.get(f"/warm?{20 * MIB}").json()["result"]
    assert server.get(f"/warm?{20 * MIB}").json()["result"] == warm
    # A program beside the server, in the same box.
    missing_bytes = 250 * MIB - box.usage()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(missing_bytes)], stdin=subprocess.PIPE
    ) as program:
        assert program.stdin is not None
        box.add(program.pid)
        program.stdin.close()
        await_ended(warm)
        program.kill()
    assert box.kills() == before, server.log
