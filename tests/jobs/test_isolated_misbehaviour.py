"""Whatever a job does, it ends clean and explained, and the server's next request is fine.

In a real server whose worker asks for jobs, and in a process without one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.jobs import functions
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage import isolated
from tonnage.errors import RequestRefusedError

pytestmark = pytest.mark.real

Job = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with one worker, whose jobs are forked by the zygote."""
    with Running("tests.jobs.app:app", "--memory", "600M", "--workers", "1") as running:
        yield running


def there(server: Running) -> Job:
    """Return what has jobs run by the server's worker."""

    def job(name: str, *args: Any, **options: Any) -> dict[str, Any]:
        body = json.dumps({"args": args, "options": options}).encode()
        answer = server.request("POST", f"/job/{name}", body)
        found: dict[str, Any] = answer.json()
        # A refusal that went out as it was is an answer of its own.
        return found | {"status": answer.status} if answer.status != 200 else found

    return job


def here() -> Job:
    """Return what has jobs run without a server."""

    def job(name: str, *args: Any, **options: Any) -> dict[str, Any]:
        try:
            value = isolated.wait(getattr(functions, name), *args, **options)
        except RequestRefusedError as error:
            return error.problem.members()
        except Exception as error:  # noqa: BLE001 - any is looked at
            return {"error": type(error).__name__, "text": str(error)}
        return {"value": len(value) if isinstance(value, bytes) else value}

    return job


@pytest.fixture
def job(server: Running) -> Iterator[Job]:
    """The server's worker has jobs run; afterwards the next one is fine, and so is the server."""
    made = there(server)
    yield made
    assert made("add", 1, memory="64M") == {"value": 2}
    assert server.get("/").body == b"hello"


@pytest.fixture(params=["server", "plain"])
def either(request: pytest.FixtureRequest) -> Iterator[Job]:
    """The same, and a process without a server."""
    if request.param == "server":
        yield request.getfixturevalue("job")
        return
    made = here()
    yield made
    assert made("add", 1, memory="64M") == {"value": 2}


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("raise_value_error", "ValueError", "that was wrong"),
        ("raise_local", "JobRaisedError", "LocalError: one other"),
        ("raise_locked", "JobRaisedError", "LockedError: with a lock"),
        ("raise_stop", "JobRaisedError", "StopIteration: 3"),
        ("raise_silent", "JobRaisedError", "SilentError: and its text cannot be had"),
        ("exit_silently", "JobEndedError", "called sys.exit(a Silent without a text)"),
        ("unpicklable", "JobError", "a lock, cannot be passed"),
        ("unloadable", "JobError", "functions:unloadable cannot be loaded here: LookupError"),
        ("exit_politely", "JobEndedError", "called sys.exit(3)"),
        ("exit_at_once", "JobEndedError", "ended with status 4"),
        ("segfault", "JobEndedError", "SIGSEGV"),
        ("leak", "JobMemoryError", "more than the 64 MB that it may have"),
        # What it had taken before is said also where that is free again by then.
        ("leak_in_an_expression", "JobMemoryError", ": it had 6"),
    ],
)
def test_what_goes_wrong_is_explained(job: Job, name: str, error: str, said: str) -> None:
    """In one line."""
    came = job(name, memory="64M")
    assert came["error"] == error
    assert said in came["text"]


def test_a_job_that_hangs_is_ended_at_its_deadline(either: Job) -> None:
    """And the request is answered."""
    came = either("hang", timeout="300ms")
    assert came["status"] == 504
    assert came["error"] == "job_timed_out"


def test_a_refusal_is_answered_as_it_is(job: Job) -> None:
    """A job may refuse the request it works for."""
    came = job("refuse")
    assert (came["status"], came["error"]) == (422, "no_face")


def test_what_it_has_started_ends_with_it(either: Job) -> None:
    """In its session, or in another."""
    pids = either("fork_and_leave")["value"]
    assert len(pids) == 2
    await_true(lambda: not any(map(is_there, pids)), "the end of what it has started")


def test_a_fork_that_comes_back_does_not_answer(either: Job) -> None:
    """The job does."""
    assert either("fork_and_raise")["value"] > 0


def test_what_it_has_started_ends_with_its_crash(either: Job, tmp_path: Path) -> None:
    """Though it could not see to that itself."""
    came = either("fork_and_crash", str(tmp_path / "pids"))
    assert came["error"] == "JobEndedError"
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    await_true(lambda: not any(map(is_there, pids)), "the end of what it has started")


def test_a_thread_left_running_holds_nothing_up(job: Job, server: Running) -> None:
    """Its process ends all the same."""
    assert job("leave_thread") == {"value": 5}
    said = "functions:leave_thread has left 1 thread running, which has ended with it"
    await_true(lambda: said in server.log, "a line about it")


def test_what_is_registered_for_the_end_is_done(job: Job, tmp_path: Path) -> None:
    """As Python has it."""
    assert job("leave_word", str(tmp_path / "word")) == {"value": None}
    # The result comes first; the next job's turn only when the process is gone.
    assert job("add", 1) == {"value": 2}
    assert (tmp_path / "word").read_text() == "the end"


def test_what_hangs_at_the_end_holds_nothing_up(job: Job) -> None:
    """The result is there already; the slot is free long before the deadline."""
    assert job("leave_hanging_end", timeout="60s") == {"value": 6}
    assert job("add", 1, wait="8s") == {"value": 2}


def test_a_large_result_arrives(job: Job) -> None:
    """With its copy, it fits into the job's memory."""
    assert job("large", 100, memory="250M") == {"value": 100 * 2**20}


def test_a_result_that_does_not_fit_beside_what_it_holds_is_refused(job: Job) -> None:
    """The copy would be beyond its memory."""
    came = job("used", 40, memory="64M")
    assert came["error"] == "JobTooLargeError"
    assert "the result of tests.jobs.functions:used is larger than" in came["text"]


def test_what_it_prints_and_logs_goes_where_the_server_s_does(server: Running) -> None:
    """Nothing is kept in a buffer."""
    assert there(server)("speak", "abc") == {"value": None}
    await_true(lambda: "logged abc" in server.log and "printed abc" in server.log, "both lines")


def test_memory_is_back_afterwards_and_no_process_is_left(server: Running) -> None:
    """Whatever the jobs did."""
    job = there(server)
    assert job("add", 1) == {"value": 2}
    await_true(lambda: server.health_memory()["jobs"]["running"] == 0, "the job's end")
    before, processes = held_mb(server), len(server.tree())
    for name in ("leak", "segfault", "large"):
        job(name, *([50] if name == "large" else []), memory="128M")
    await_true(lambda: server.health_memory()["jobs"]["running"] == 0, "the job's end")
    await_true(lambda: held_mb(server) < before + 16, "the memory")
    assert len(server.tree()) == processes


def test_a_client_that_leaves_ends_the_job(server: Running, tmp_path: Path) -> None:
    """The generator would go on without end."""
    notes = tmp_path / "notes"
    with closing(server.connect()) as client:
        client.sendall(f"GET /steps?path={notes} HTTP/1.1\r\nhost: it\r\n\r\n".encode())
        assert client.recv(1)
    await_true(lambda: server.health_memory()["jobs"]["running"] == 0, "the job's end")
    assert there(server)("add", 1) == {"value": 2}


def test_many_threads_with_mischief_at_once() -> None:
    """Each gets its own answer; jobs wait for their turn meanwhile."""
    job, came = here(), []

    def ask(name: str) -> None:
        came.append((name, job(name, memory="64M").get("error")))

    names = ["raise_value_error", "segfault", "leak", "exit_at_once"]
    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(came) == {
        "raise_value_error": "ValueError",
        "segfault": "JobEndedError",
        "leak": "JobMemoryError",
        "exit_at_once": "JobEndedError",
    }


def held_mb(server: Running) -> float:
    """Return what the whole tree is measured at."""
    found: float = server.health_memory()["used"]
    return found


def is_there(pid: int) -> bool:
    """Return whether a process runs (one that nobody has reaped yet does not)."""
    with suppress(OSError):
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    return False
