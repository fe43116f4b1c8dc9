"""Workers of a real server are replaced under a small load, and no request notices.

On demand, by count, and with changed code; the long forms are in ``tests/promises``.
"""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.server import Running, connection_to, exchange
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

PAUSE_SECONDS = 0.02

SOURCE = """
import os

VERSION = {version!r}
{more}

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = f"{{VERSION}} {{os.getpid()}}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
"""

BROKEN = 'raise RuntimeError("half of a release")'


class Clients:
    """Two clients that ask without end, each request on a connection of its own."""

    def __init__(self, server: Running) -> None:
        self.answers: Counter[str] = Counter()
        self.failed: list[str] = []
        self._url = server.url
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        await_true(lambda: self.answers, "the first answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(20.0)
        assert self.failed == []

    @property
    def versions(self) -> set[str]:
        """What versions have answered."""
        return {answer.split()[0] for answer in self.answers.copy()}

    @property
    def pids(self) -> set[int]:
        """Which workers have answered."""
        return {int(answer.split()[1]) for answer in self.answers.copy()}

    def _ask(self) -> None:
        while not self._stopped.wait(PAUSE_SECONDS):
            try:
                with connection_to(self._url, 20.0) as connection:
                    answer = exchange(connection, "GET", "/")
            except OSError as error:
                self.failed.append(repr(error))
                continue
            if answer.status == 200:
                self.answers[answer.body.decode()] += 1
            else:
                self.failed.append(f"{answer.status} {answer.body!r}")


def write(directory: Path, version: str, more: str = "") -> None:
    """Write the application in that version, whose name is longer or shorter than the last one's.

    Python takes a file of the same size and second for the one that it has compiled.
    """
    (directory / "release.py").write_text(SOURCE.format(version=version, more=more))


@contextmanager
def serving(directory: Path, *options: str) -> Iterator[tuple[Running, Clients]]:
    """Yield a server of the first version under load; at the end no request may have failed."""
    write(directory, "first")
    with (
        Running("release:app", "--app-dir", str(directory), *options) as server,
        Clients(server) as clients,
    ):
        yield server, clients


def ask_for(server: Running, path: str) -> object:
    """Ask for an action on the control socket, and return what was answered."""
    with connection_to(f"http+unix://{server.control}", 5.0) as connection:
        answer = exchange(connection, "POST", path)
    assert answer.status in (200, 202), answer
    return answer.json()


def test_every_worker_is_replaced_on_demand(tmp_path: Path) -> None:
    """Each by a new process, one after the other."""
    with serving(tmp_path, "--workers", "2") as (server, clients):
        before = set(server.worker_pids())
        assert len(before) == 2
        ask_for(server, "/recycle")

        def after() -> set[int] | None:
            pids = set(server.worker_pids())
            return pids if len(pids) == 2 and not pids & before else None

        fresh = await_true(after, "two new workers")
        await_true(lambda: clients.pids >= fresh, "both answer")
        assert "2 worker(s) are replaced" not in server.log


def test_one_worker_is_replaced_on_demand(tmp_path: Path) -> None:
    """The other one stays."""
    with serving(tmp_path, "--workers", "2") as (server, _):
        before = server.worker_pids()
        ask_for(server, "/recycle?worker=0")

        def after() -> list[int] | None:
            pids = server.worker_pids()
            return pids if len(pids) == 2 and len(set(pids) - set(before)) == 1 else None

        await_true(after, "one new worker")


def test_workers_are_replaced_after_so_many_requests(tmp_path: Path) -> None:
    """Again and again."""
    options = ("--workers", "1", "--max-requests", "20")
    with serving(tmp_path, *options) as (server, clients):
        await_true(lambda: len(clients.pids) >= 3, "the third worker")

        assert "it has reached --max-requests" in server.log


def test_sighup_loads_changed_code(tmp_path: Path) -> None:
    """While the old version goes on answering."""
    with serving(tmp_path, "--workers", "2") as (server, clients):
        before = set(server.worker_pids())
        write(tmp_path, "second")
        server.send(signal.SIGHUP)

        await_true(lambda: "second" in clients.versions, "the new version", 15.0)
        await_true(
            lambda: len(server.worker_pids()) == 2 and not before & set(server.worker_pids()),
            "no worker of the old version",
        )

        def only_new() -> bool:
            seen = set(clients.versions)
            # An answer of the old version may still have been under way.
            clients.answers.clear()
            return seen == {"second"}

        await_true(only_new, "answers of the new version alone")


def test_a_broken_version_leaves_the_old_one_serving(tmp_path: Path) -> None:
    """The reason is in the log; the next SIGHUP, with a version that works, is obeyed."""
    with serving(tmp_path, "--workers", "1") as (server, clients):
        before = server.worker_pids()
        write(tmp_path, "second", BROKEN)
        server.send(signal.SIGHUP)
        await_true(lambda: "half of a release" in server.log, "the reason", 15.0)
        clients.answers.clear()
        await_true(lambda: sum(clients.answers.values()) > 20, "more answers")
        assert clients.versions == {"first"}
        assert server.worker_pids() == before

        # A worker that dies meanwhile is replaced by one that works.
        ask_for(server, "/recycle")
        await_true(lambda: clients.pids - set(before), "the old version in a new worker")
        assert clients.versions == {"first"}

        write(tmp_path, "another")
        server.send(signal.SIGHUP)
        await_true(lambda: "another" in clients.versions, "the version that works", 15.0)


def test_why_a_version_is_broken_is_one_record(tmp_path: Path) -> None:
    """With a traceback that begins in the application's own file."""
    with serving(tmp_path, "--workers", "1", "--log-format", "json") as (server, _):
        began = len(server.log.splitlines())
        write(tmp_path, "second", BROKEN)
        server.send(signal.SIGHUP)
        await_true(lambda: "the old code goes on" in server.log, "the refusal", 15.0)
        records = [json.loads(line) for line in server.log.splitlines()[began:]]
    traces = [record["exception"].splitlines() for record in records if "exception" in record]
    assert len(traces) == 1
    assert traces[0][0] == "Traceback (most recent call last):"
    assert "release.py" in traces[0][1]
    assert traces[0][-1] == "RuntimeError: half of a release"


def test_sigusr1_reclaims(tmp_path: Path) -> None:
    """And the effect can be asked for, and stands in the log, however little it was."""
    with serving(tmp_path, "--workers", "1") as (server, _):
        server.send(signal.SIGUSR1)

        def done() -> dict[str, object] | None:
            found: dict[str, object] = server.ask_supervisor("/reclaim").json()
            return found if found.get("state") == "done" else None

        found = await_true(done, "an answer of the worker")
        assert found["why"] == "SIGUSR1"
        (line,) = (each for each in server.log.splitlines() if "1 worker(s) (SIGUSR1)" in each)
        assert '"level":"INFO"' in line
