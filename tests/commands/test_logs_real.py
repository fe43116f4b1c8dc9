"""`tonnage logs` of a real server: all its processes, and those that have died."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

import pytest
from tests.support.server import ROOT, Running, clean_environment
from tests.support.waiting import await_true

from tonnage.cli.main import main

pytestmark = pytest.mark.real

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def server() -> Iterator[Running]:
    """A server of an application that logs, with one worker."""
    with Running("tests.logs.chatty:app", "--workers", "1", "--memory", "512M") as running:
        yield running


def shown(server: Running, capsys: Printed, *arguments: str) -> list[str]:
    """Return what the command prints."""
    assert main(["logs", *arguments, "--control", str(server.control)]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_lines_of_all_processes_are_shown(server: Running, capsys: Printed) -> None:
    """The application's from its import on, those of a worker that has died, the supervisor's."""
    assert "zygote      chatty: imported" in shown(server, capsys)[0]
    server.get("/?lines=3&where=thread")
    assert [line.split(" ", 1)[1] for line in shown(server, capsys, "--worker", "0")] == [
        *(f"WARNING  worker 0    chatty: line number={n} filling={'x' * 100}" for n in range(3)),
        "WARNING  worker 0    library: in a thread",
    ]

    (pid,) = server.worker_pids()
    os.kill(pid, signal.SIGKILL)
    await_true(lambda: server.worker_pids() not in ([], [pid]), "a successor")
    server.get("/?lines=1")
    found = shown(server, capsys, "-n", "100")
    assert sum("chatty: line" in line for line in found) == 4
    assert any(f"pid {pid}" in line and "supervisor" in line for line in found)

    assert len(shown(server, capsys, "--grep", "number=[12]")) == 2
    assert len(shown(server, capsys, "-n", "1", "--level", "warning")) == 1
    last: dict[str, Any] = json.loads(
        shown(server, capsys, "-n", "1", "--json", "--grep", "numb")[0]
    )
    assert (last["logger"], last["number"]) == ("chatty", 0)
    for what in ("top", "logs"):
        assert main([what, "--control", "/nowhere.sock"]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_lines_are_followed_until_the_server_ends(server: Running) -> None:
    """Each as it comes, in a pipe too; without colours there."""
    command = [sys.executable, "-m", "tonnage", "logs", "-f", "-n", "0", "--control"]
    with subprocess.Popen(
        [*command, str(server.control)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=clean_environment(),
        text=True,
        bufsize=1,
    ) as following:
        out = following.stdout
        assert out is not None
        # Until it has asked for the first time, lines are such as were there before.
        await_true(lambda: _has_more(server, out), "a line")
        assert "worker 0    chatty: line number=0" in out.readline()
        assert server.stop() == 0
        rest = out.read()
        assert "\x1b" not in rest
        assert following.wait(10) == 0


def _has_more(server: Running, shown: IO[str]) -> bool:
    """Have a line logged, and return whether one is shown soon."""
    server.get("/?lines=1")
    return bool(select.select([shown], [], [], 0.2)[0])


def test_workers_are_replaced_and_awaited(server: Running, capsys: Printed) -> None:
    """`tonnage recycle --wait` returns once there is a successor; in time, or not."""
    for named in (False, True):
        (old,) = server.worker_pids()
        (worker,) = server.health_memory()["workers"]
        which = ["--worker", str(worker["workerId"])] if named else []
        assert main(["recycle", "--wait", *which, "--control", str(server.control)]) == 0
        assert capsys.readouterr().out.startswith("1 worker(s) were replaced in ")
        (new,) = server.worker_pids()
        assert new != old
    late = ["recycle", "--wait", "--timeout", "0", "--control", str(server.control)]
    assert main(late) == 1
    assert "replacing has not ended within 0 s" in capsys.readouterr().err
    assert main([*late, "--timeout", "soon"]) == 2
