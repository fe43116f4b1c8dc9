"""The nursery: the time limit of an import, importing anew, and what a forked child may keep."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Never

import pytest
from tests.server.conftest import Said
from tests.server.scene import Whole, scene

from tonnage.config import load_settings
from tonnage.errors import WorkerError
from tonnage.governor.page import SharedPage
from tonnage.host.channel import Dialogue
from tonnage.host.commons import open_commons
from tonnage.host.descriptors import open_descriptors
from tonnage.host.forking import fork_into
from tonnage.server.assignment import Assignment
from tonnage.server.importcost import size_of
from tonnage.server.nursery import Nursery
from tonnage.server.reactor import Reactor
from tonnage.server.renewal import RETRY_SECONDS, Renewal
from tonnage.server.zygote import ZYGOTES, Zygote


@pytest.fixture
def assignment() -> Iterator[Assignment]:
    """Yield what a worker of main:app is told; it may take 60 s to start."""
    flags = {"target": "main:app", "start_seconds": "60"}
    # As the server does, so that its descriptor is among those that every process keeps.
    open_commons()
    inherited = open_descriptors()
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
            inherited=inherited,
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
    ours, theirs = ZYGOTES.pair()
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


@dataclass(frozen=True, slots=True)
class Open:
    """The descriptors that a process has open."""

    descriptors: list[int]


def test_a_child_has_its_port_and_its_channel_and_what_was_given(assignment: Assignment) -> None:
    """Not what the supervisor has open: a connection that it closes has to end for the client."""
    children: Dialogue[Never, Open] = Dialogue(Never, Open)
    ours, theirs = children.pair()
    held, client = socket.socketpair()

    def main() -> int:
        theirs.send(Open(sorted(open_descriptors())))
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
        found = set(received[0].descriptors)
        assert found <= kept
        assert {assignment.listening.fileno()} <= found
        assert client.recv(1) == b""


APPLICATION = "async def app(scope, receive, send): ...\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return the file of an application that can be imported."""
    file = tmp_path / "grown.py"
    file.write_text(APPLICATION)
    return file


@pytest.fixture
def nursery(assignment: Assignment, source: Path) -> Iterator[Nursery]:
    """Yield a nursery with a zygote that has imported the application."""
    flags = {"target": "grown:app", "app_dir": str(source.parent)}
    settings = load_settings(flags, {}, source.parent)
    nursery = Nursery(replace(assignment, settings=settings), preload=True)
    begin(nursery)
    nursery.finish()
    yield nursery
    nursery.stop()
    reap(nursery)


def begin(nursery: Nursery, *, beside: bool = False) -> Zygote:
    """Begin to import the application, and return the zygote."""
    # pytest's own stream is on a descriptor that no child keeps.
    with redirect_stderr(sys.__stderr__):
        zygote = nursery.begin(beside=beside)
    assert zygote is not None
    return zygote


def reap(nursery: Nursery) -> None:
    """Hear of the zygotes that were told to end, as the supervisor does."""
    for pid in list(nursery._retired):
        os.waitpid(pid, 0)
        assert nursery.ended(pid)


def is_running(pid: int | None) -> bool:
    """Return whether a child of ours goes on."""
    assert pid is not None
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def test_a_second_zygote_imports_beside_the_first(nursery: Nursery) -> None:
    """Workers come from the first until the second is ready; then the first ends."""
    old = nursery.pid()
    begin(nursery, beside=True)
    assert (nursery.pid(), nursery.is_missing) == (old, False)

    nursery.finish()

    assert nursery.pid() not in (None, old)
    reap(nursery)
    assert is_running(nursery.pid())


def test_a_new_version_that_is_broken_leaves_the_old_zygote(nursery: Nursery, source: Path) -> None:
    """A worker that dies is replaced by one of the old version."""
    old = nursery.pid()
    source.write_text("raise RuntimeError('half of a release')\n")
    begin(nursery, beside=True)

    with pytest.raises(WorkerError, match="half of a release"):
        nursery.finish()

    assert nursery.pid() == old
    assert is_running(old)
    assert not nursery.is_missing


def test_without_room_for_two_the_first_ends_before(nursery: Nursery, source: Path) -> None:
    """Then a broken version leaves none; it is tried again later."""
    old = nursery.pid()
    source.write_text("raise RuntimeError('half of a release')\n")
    begin(nursery)
    assert nursery.pid() is None
    with pytest.raises(WorkerError):
        nursery.finish()
    assert nursery.is_missing
    reap(nursery)
    assert old is not None

    source.write_text(APPLICATION)
    begin(nursery)
    nursery.finish()
    assert is_running(nursery.pid())


def test_a_failed_import_that_was_heard_of_before_is_forgotten(
    nursery: Nursery, source: Path
) -> None:
    """Its number is free then, and nothing is kept of it however often it is tried again."""
    source.write_text("raise RuntimeError('half of a release')\n")
    failed = begin(nursery, beside=True)
    os.waitpid(failed.pid, 0)

    assert nursery.ended(failed.pid)
    with pytest.raises(WorkerError):
        nursery.finish()

    assert not nursery.ended(failed.pid)


def test_a_second_reload_ends_the_import_of_the_first(nursery: Nursery) -> None:
    """Only the newest version counts."""
    first = begin(nursery, beside=True)
    second = begin(nursery, beside=True)

    nursery.finish()

    assert nursery.pid() == second.pid
    os.waitpid(first.pid, 0)
    assert nursery.ended(first.pid)


# When it is imported anew.


@pytest.fixture
def server() -> Iterator[Whole]:
    """Yield a server of two workers."""
    with scene(Whole) as made:
        yield made


def renewal_of(server: Whole, nursery: Nursery, reactor: Reactor) -> Renewal:
    """Return what has the application of *server* imported anew."""
    recycler = server.keeper.recycler
    return Renewal(server.page, reactor, nursery, recycler, clock=server.clock)


@pytest.mark.usefixtures("chatty")
def test_without_a_zygote_a_hangup_replaces_each_worker(
    assignment: Assignment, server: Whole, said: Said
) -> None:
    """Each imports by itself, so that there is nothing to import before."""
    nursery = Nursery(assignment, preload=False)
    renewal = renewal_of(server, nursery, Reactor())

    renewal.on_hangup()
    renewal.begin()

    assert said() == "SIGHUP: 2 worker(s) are replaced, each of which imports anew"
    assert nursery.pending is None


def test_while_the_server_stops_nothing_is_imported(nursery: Nursery, server: Whole) -> None:
    """Whoever asks, and with whatever signal: nobody would be served by it."""
    renewal, old = renewal_of(server, nursery, Reactor()), nursery.pid()
    server.page.header.stopping = True

    renewal.on_hangup()
    renewal.begin()

    assert (nursery.pid(), nursery.pending) == (old, None)


def test_a_second_hangup_takes_the_place_of_the_first(nursery: Nursery, server: Whole) -> None:
    """What had begun is ended, and heard of no more; workers follow the newest version."""
    reactor = Reactor()
    renewal, old = renewal_of(server, nursery, reactor), nursery.pid()
    with redirect_stderr(sys.__stderr__):
        renewal.on_hangup()
        first = nursery.pending
        renewal.on_hangup()
    second = nursery.pending
    assert first is not None
    assert second is not None

    reactor.wait(30.0)

    assert nursery.pid() == second.pid not in (old, first.pid)
    assert nursery.pending is None


def test_an_import_that_has_failed_is_tried_again(
    nursery: Nursery, server: Whole, source: Path, said: Said
) -> None:
    """Where it has left no zygote: after a while, and until one succeeds."""
    reactor = Reactor()
    renewal = renewal_of(server, nursery, reactor)
    source.write_text("raise RuntimeError('half of a release')\n")
    with redirect_stderr(sys.__stderr__):
        renewal.begin()
        reactor.wait(30.0)
        assert "half of a release" in said()
        source.write_text(APPLICATION)
        server.now_seconds += RETRY_SECONDS - 0.1
        renewal.tend()
        assert nursery.is_missing
        server.now_seconds += 0.1
        renewal.tend()
    assert nursery.pid() is None

    reactor.wait(30.0)

    assert is_running(nursery.pid())


def test_a_zygote_that_is_gone_before_it_is_measured_is_told() -> None:
    """As by the kernel, for want of memory, once it has said that it is ready."""
    ours, theirs = ZYGOTES.pair()
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(WorkerError, match=r"cannot be read: No such process"):
            size_of(Zygote(process.pid, ours))
    ours.close()
    theirs.close()
