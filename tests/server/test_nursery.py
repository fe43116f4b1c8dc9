"""The nursery's time limit for an import, and what a forked child may keep."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.conftest import Said

from tonnage.config import load_settings
from tonnage.errors import WorkerError
from tonnage.governor.page import SharedPage
from tonnage.host.descriptors import open_descriptors
from tonnage.server.assignment import Assignment
from tonnage.server.channel import Channel
from tonnage.server.nursery import Nursery
from tonnage.server.zygote import Zygote, fork_into


@pytest.fixture
def assignment() -> Iterator[Assignment]:
    """Yield what a worker of main:app is told; it may take 60 s to start."""
    flags = {"target": "main:app", "start_seconds": "60"}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Assignment(
            settings=load_settings(flags, {}, Path("/")),
            page=SharedPage(),
            index=0,
            listening=listening,
            supervisor_pid=os.getpid(),
            queue_requests=0,
            threads=1,
            huge_pages=False,
            inherited=frozenset({0, 1, 2}),
        )


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that does nothing, in the place of one that imports."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_an_import_that_takes_too_long_is_ended(
    assignment: Assignment, sleeper: subprocess.Popen[bytes], said: Said
) -> None:
    """Not before its time is up; its channel then tells of it, as with any import that fails."""
    ours, theirs = Channel.pair()
    nursery = Nursery(assignment, preload=True)
    nursery.pending = Zygote(sleeper.pid, ours)
    begun = nursery.pending.begun_seconds

    nursery.end_overdue(begun + 60)
    assert sleeper.poll() is None
    nursery.end_overdue(begun + 60.1)

    assert sleeper.wait(5.0) == -signal.SIGKILL
    assert said() == "importing the application took more than 60 s"
    assert nursery.ended(sleeper.pid)
    theirs.close()
    with pytest.raises(WorkerError):
        nursery.finish()
    assert nursery.is_missing


def test_without_an_import_nothing_is_overdue(assignment: Assignment, said: Said) -> None:
    """However long ago the server began."""
    Nursery(assignment, preload=True).end_overdue(1e9)

    assert said() == ""


def test_a_child_has_its_port_and_its_channel_and_what_was_given(assignment: Assignment) -> None:
    """Not what the supervisor has open: a connection that it closes has to end for the client."""
    ours, theirs = Channel.pair()
    held, client = socket.socketpair()

    def main() -> int:
        theirs.send("open", descriptors=sorted(open_descriptors()))
        return 7

    with closing(ours), client:
        pid = fork_into(main, assignment.kept_descriptors(theirs))
        kept = assignment.kept_descriptors(theirs)
        theirs.close()
        held.close()
        _, status = os.waitpid(pid, 0)

        assert os.waitstatus_to_exitcode(status) == 7
        received = ours.receive()
        assert received is not None
        found = set(received[0]["descriptors"])
        assert found <= kept
        assert {assignment.listening.fileno()} <= found
        assert client.recv(1) == b""
