"""Real servers whose log nobody reads: they go on, and every line is accounted for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running, clean_environment, command, connection_to, exchange
from tests.support.slowness import SLOWNESS
from tests.support.waiting import Ends, await_true

from tonnage.host.processes import descendants
from tonnage.units import MIB

pytestmark = pytest.mark.real

_LOGS = Path(__file__).parent
_TO_FD = "import os, sys; os.dup2(int(sys.argv[1]), 1); os.execv(sys.argv[2], sys.argv[2:])"


class Unread:
    """A pipe that nobody reads until somebody asks."""

    def __init__(self) -> None:
        self.reading, self.fd = os.pipe()
        self._taken = bytearray()
        self._reader = threading.Thread(target=self._take_all)

    def close_here(self) -> None:
        """Close this process's writing end, so that the last writer's end is the end."""
        os.close(self.fd)

    def begin_to_read(self) -> None:
        """Take all there is from now on."""
        self._reader.start()

    def lines(self) -> list[dict[str, Any]]:
        """Return all lines, once every writer has ended."""
        self._reader.join()
        os.close(self.reading)
        return [json.loads(line) for line in self._taken.splitlines()]

    def _take_all(self) -> None:
        while piece := os.read(self.reading, 2**16):
            self._taken += piece


def counts_after(server: Running, lines: int) -> tuple[dict[str, Any], float]:
    """Return the worker's counts after it has logged so many lines, and how long that took."""
    began = time.monotonic()
    found: dict[str, Any] = server.get(f"/?lines={lines}").json()
    return found, time.monotonic() - began


def test_a_stdout_that_nobody_reads_holds_up_nothing() -> None:
    """Requests are answered, memory stays, and what was emitted was written or dropped."""
    need_cgroup()
    stdout = Unread()
    with MemoryBox(160 * MIB) as box:
        arguments = ("chatty:app", "--app-dir", str(_LOGS), "--workers", "1", "--memory", "150M")
        with Running(
            *arguments,
            box=box,
            pass_fds=[stdout.fd],
            wrapper=[sys.executable, "-c", _TO_FD, str(stdout.fd)],
        ) as server:
            stdout.close_here()
            for _ in range(20):
                counts_after(server, 500)  # more than pipe and queue can hold
            before = box.usage()
            taken = sorted(counts_after(server, 200)[1] for _ in range(100))
            counts, _ = counts_after(server, 0)

            # 200 lines and a request; for a reader it would be for ever.
            assert taken[50] < 0.2 * SLOWNESS
            assert taken[-1] < 2.0 * SLOWNESS
            # 4 MB were logged in between.
            assert box.usage() - before < 3 * MIB
            assert box.kills() == 0
            # The import has logged as well, and its process was still fit to be forked.
            assert "imported once" in server.log
            assert counts["emitted_lines"] == 20 * 500 + 100 * 200
            assert counts["dropped_lines"] > 20_000
            assert counts["emitted_lines"] == (
                counts["written_lines"] + counts["dropped_lines"] + counts["queued_lines"]
            )
            stdout.begin_to_read()
            await_true(lambda: counts_after(server, 0)[0]["queued_lines"] == 0, "the queue is out")
            counts, _ = counts_after(server, 1)
    lines = stdout.lines()
    notices = [line for line in lines if line["logger"] == "tonnage.logs"]
    assert sum(line["lines"] for line in notices) == counts["dropped_lines"]
    assert lines[0]["message"] == "imported"
    written = [line for line in lines if line["logger"] == "chatty"]
    # The import's line was another process's.
    assert len(written) - 1 == counts["emitted_lines"] - counts["dropped_lines"]


def test_the_request_is_named_in_its_lines_and_its_answer() -> None:
    """Under the server, with the option; in threads as well."""
    stdout = Unread()
    with Running(
        "chatty:app", "--app-dir", str(_LOGS), "--workers", "1", "--request-ids",
        pass_fds=[stdout.fd],
        wrapper=[sys.executable, "-c", _TO_FD, str(stdout.fd)],
    ) as server:  # fmt: skip
        stdout.close_here()
        stdout.begin_to_read()
        answer = server.get("/?lines=1&where=thread", X_Request_ID="from-the-proxy")
        assert answer.headers["x-request-id"] == answer.json()["id"] == "from-the-proxy"
        other = server.get("/?lines=1", X_Request_ID='"; forged="')
        assert len(other.headers["x-request-id"]) == 32
    named = [line["request_id"] for line in stdout.lines() if "request_id" in line]
    assert named == ["from-the-proxy", "from-the-proxy", other.headers["x-request-id"]]


def test_what_the_server_was_told_holds_for_the_application(tmp_path: Path) -> None:
    """In development two workers write to one file; another level needs only one flag."""
    told = ("chatty:app", "--app-dir", str(_LOGS), "--env", "development", "--workers", "2")
    with Running(*told, cwd=tmp_path) as server:
        for _ in range(8):
            counts_after(server, 100)
    lines = (tmp_path / "logs" / "app.log").read_text().splitlines()
    assert sum(" WARNING  chatty: line number=" in line for line in lines) == 800
    assert len(lines) == 801

    with Running(*told, "--log-level", "error", cwd=tmp_path / "logs") as server:
        assert counts_after(server, 100)[0]["emitted_lines"] == 0
    assert not (tmp_path / "logs" / "logs").exists()


def test_lines_are_out_when_a_server_stops() -> None:
    """All of them, though the last were logged just before."""
    stdout = Unread()
    with Running(
        "chatty:app", "--app-dir", str(_LOGS), "--workers", "1",
        pass_fds=[stdout.fd],
        wrapper=[sys.executable, "-c", _TO_FD, str(stdout.fd)],
    ) as server:  # fmt: skip
        stdout.close_here()
        stdout.begin_to_read()
        counts_after(server, 2000)
    lines = [line for line in stdout.lines() if line["message"] == "line"]
    assert [line["number"] for line in lines] == list(range(2000))


def test_a_server_whose_stdout_nobody_reads_stops_in_time() -> None:
    """It waits for a second, drops what nobody takes, and says so on stderr."""
    stdout = Unread()
    with Running(
        "chatty:app", "--app-dir", str(_LOGS), "--workers", "1",
        pass_fds=[stdout.fd],
        wrapper=[sys.executable, "-c", _TO_FD, str(stdout.fd)],
    ) as server:  # fmt: skip
        stdout.close_here()
        counts, _ = counts_after(server, 2000)
        assert counts["queued_lines"] > 0
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5.0 * SLOWNESS
        assert "lines of the application's log were not written: nobody read them" in server.log
    stdout.begin_to_read()
    assert all(line["message"] in ("imported", "line") for line in stdout.lines())


@contextmanager
def watched_by_nobody(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int, int, int]]:
    """Yield a server, its port, and both ends of the pipe that is its stderr; it is full.

    It takes nothing more, and its first lines are gone.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="tonnage-test-") as runtime:
        process = subprocess.Popen(
            command([*arguments, "--port", "0"]),
            env=clean_environment() | {"XDG_RUNTIME_DIR": runtime},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=writing,
        )
        try:
            said = b""
            while b"\n  wake-ups" not in said or not said.endswith(b"\n"):
                piece = os.read(reading, 2**16)
                said += piece
                assert process.poll() is None, said
            (app,) = (line for line in said.decode().splitlines() if line.startswith("  app "))
            _fill(writing)
            yield process, int(app.rpartition(":")[2].split("/")[0]), reading, writing
        finally:
            tree = Ends(descendants(process.pid))
            if process.poll() is None:
                process.kill()
            process.wait()
            assert not tree.await_all(10.0)
            tree.close()
            os.close(reading)
            os.close(writing)


def _fill(fd: int) -> None:
    # Not to be waited for only by the descriptor that is opened here; the server's is another.
    full = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(full, b".\n" * 100)
    except BlockingIOError:
        os.close(full)


def _workers(pid: int) -> set[int]:
    found = set()
    for child in descendants(pid):
        try:
            name = Path(f"/proc/{child}/comm").read_text()
        except FileNotFoundError:
            continue  # it has ended meanwhile
        if name.startswith("tonnage-w"):
            found.add(child)
    return found


def test_a_stderr_that_nobody_reads_does_not_stop_the_supervisor() -> None:
    """It replaces a worker that has died, answers, and stops when told to; then it tells."""
    with watched_by_nobody("benchmarks.app:app", "--workers", "1") as (process, port, reading, _):
        for _ in range(2):
            (old,) = _workers(process.pid)
            os.kill(old, signal.SIGKILL)
            await_true(partial(_another_worker, process.pid, old), "another worker")
            await_true(lambda: _answers(port), "an answer")
        taken = os.read(reading, 2**20)
        assert b"dropped" not in taken
        process.send_signal(signal.SIGTERM)
        assert process.wait(20.0 * SLOWNESS) == 0
        rest = os.read(reading, 2**20).decode()
    assert "line(s) of this log were dropped since" in rest


def _another_worker(pid: int, old: int) -> bool:
    return bool(_workers(pid) - {old})


def _answers(port: int) -> bool:
    try:
        with connection_to(f"http://127.0.0.1:{port}", 5.0) as connection:
            return exchange(connection, "GET", "/").status == 200
    except OSError:
        return False
