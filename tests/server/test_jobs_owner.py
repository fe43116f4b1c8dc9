"""The owner of jobs in orders of events that cannot be brought about for certain with processes.

The processes are channels whose far ends are ours; ``test_jobs_real.py`` has real ones.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.server.scene import NOBODY, sleepers
from tests.support.descriptors import no_descriptor_free

from tonnage.config import load_settings
from tonnage.governor.page import SharedPage
from tonnage.jobs.call import Call
from tonnage.jobs.messages import (
    JOBS,
    OWNERS,
    Begins,
    Finish,
    JobAsked,
    JobCancelled,
    JobEnded,
    JobRefused,
    Over,
    OwnerChannel,
    ToCaller,
)
from tonnage.server.jobs.owner import Jobs
from tonnage.server.jobs.spawning import Spawned
from tonnage.server.reactor import Reactor
from tonnage.units import MIB

CALL = Call("shop:cut", 100 * MIB, timeout_seconds=30, wait_seconds=10)
WARM = replace(CALL, keep_warm_seconds=60)
DONE = Over("done", "", peak_bytes=0, is_idle=True)


class Works:
    """An owner of one slot, one caller, and the far ends of all processes that were made."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.page, self.reactor = SharedPage(), Reactor()
        self.page.header.limit_bytes = 512 * MIB
        self.page.header.ceiling_bytes = 480 * MIB
        self.ends: list[OwnerChannel] = []
        # Whether one can be made just now, and which import it then has.
        self.can_spawn, self.generation, self.now_seconds = True, 1, 100.0
        theirs, self.caller = OWNERS.pair()
        for channel in (self.caller, theirs):
            stack.callback(channel.close)
        theirs.setblocking(False)
        self._told = theirs
        self.jobs = Jobs(
            load_settings({"job_slots": "1"}, {}, Path()).jobs,
            page=self.page,
            reactor=self.reactor,
            spawner=self,
            claim_kill=lambda: False,
            on_killed=lambda killed: False,
            clock=lambda: self.now_seconds,
        )

    def renew(self) -> None:
        """Have new code."""
        self.generation += 1

    def spawn(self, call: Call, data: int) -> Spawned | None:
        """Make a process that has not said yet which one it is."""
        if not self.can_spawn:
            return None
        ours, theirs = JOBS.pair()
        for channel in (ours, theirs):
            channel.setblocking(False)
            self._stack.callback(channel.close)
        self.ends.append(theirs)
        return Spawned(ours, None)

    def ask(self, id: int, call: Call = CALL) -> None:
        """Ask for a job, with a socket for its data."""
        here, there = socket.socketpair()
        here.close()
        self.jobs.on_message(self.caller, JobAsked(id, call), [there.detach()])

    def says(self, at: int, *messages: Begins | Over) -> None:
        """Let a process say something, and hear it."""
        for message in messages:
            self.ends[at].send(message)
            self.reactor.wait(5.0)

    def told(self) -> list[ToCaller]:
        """Return what the caller has been told since this was last asked."""
        return [message for message, _ in iter(self._told.receive, None)]


@pytest.fixture
def works() -> Iterator[Works]:
    """Yield works without a job."""
    with ExitStack() as stack:
        yield Works(stack)


def refusals(works: Works) -> list[tuple[int, str]]:
    """Return which jobs were refused, and why."""
    told = works.told()
    assert all(isinstance(each, JobRefused) for each in told)
    return [(each.id, each.reason) for each in told if isinstance(each, JobRefused)]


def test_a_server_that_stops_takes_no_job(works: Works) -> None:
    """Who waits is told at once, as is who comes then; what runs is ended."""
    works.ask(1)
    works.ask(2)
    works.jobs.stop()
    works.ask(3)

    assert refusals(works) == [(2, "stopping"), (3, "stopping")]
    works.ends[0].close()
    works.reactor.wait(5.0)
    (ended,) = works.told()
    assert isinstance(ended, JobEnded)
    assert (ended.id, ended.how) == (1, "stopping")


def test_a_job_that_cannot_begin_before_the_end_is_refused(works: Works) -> None:
    """No process can be made for it, and none is left that it could wait for."""
    works.can_spawn = False
    works.ask(1)
    works.page.header.stopping = True
    assert works.told() == []

    works.jobs.tend()

    assert refusals(works) == [(1, "stopping")]


def test_a_job_whose_data_did_not_arrive_is_refused(works: Works) -> None:
    """The kernel drops descriptors where there is no room for them; another time there may be."""
    works.jobs.on_message(works.caller, JobAsked(1, CALL), [])

    assert refusals(works) == [(1, "queue")]
    assert works.ends == []


def test_a_job_waits_for_a_descriptor_for_its_process(works: Works) -> None:
    """Where as many files are open as may be, as by others: the next look finds one."""
    here, there = socket.socketpair()
    with here, no_descriptor_free():
        works.jobs.on_message(works.caller, JobAsked(1, CALL), [there.detach()])
    assert (works.ends, works.told()) == ([], [])

    works.jobs.tend()

    assert len(works.ends) == 1


def test_a_job_that_nobody_waits_for_is_not_begun(works: Works) -> None:
    """It leaves the line; what is not known, or over, changes nothing."""
    works.ask(1)
    works.ask(2)
    for id in (2, 2, 7):
        works.jobs.on_message(works.caller, JobCancelled(id), [])

    assert works.told() == [JobEnded(2, "cancelled", "nobody waits for it any more")]
    works.says(0, Begins(NOBODY), DONE)
    assert works.told() == [JobEnded(1, "done", "")]
    assert len(works.ends) == 1


def test_who_is_cancelled_before_its_name_is_known_ends_with_it(works: Works) -> None:
    """It was forked already, and its function is not to run."""
    with sleepers(1) as (process,):
        works.ask(1)
        works.jobs.on_message(works.caller, JobCancelled(1), [])
        assert process.poll() is None
        works.says(0, Begins(process.pid))

        assert process.wait(5.0) == -signal.SIGKILL
        assert works.jobs.reaped(process.pid, signal.SIGKILL)
    (ended,) = works.told()
    assert isinstance(ended, JobEnded)
    assert (ended.id, ended.how) == (1, "cancelled")


def test_a_process_that_never_was_is_made_anew_but_not_for_ever(works: Works) -> None:
    """Its zygote has died first; where that happens again and again the caller is told."""
    works.ask(1)
    for count in (1, 2, 3):
        assert len(works.ends) == count
        assert works.told() == []
        works.ends[-1].close()
        works.reactor.wait(5.0)

    (ended,) = works.told()
    assert isinstance(ended, JobEnded)
    assert (ended.how, ended.text) == ("exit", "the process of shop:cut could not begin")
    assert len(works.ends) == 3


def test_a_process_with_old_code_is_not_kept(works: Works) -> None:
    """Whether it was idle when the code came, or ran its job to the end."""
    works.ask(1, WARM)
    works.says(0, Begins(NOBODY))
    works.jobs.renew()
    works.says(0, DONE)
    assert works.ends[0].receive() == (Finish(), [])

    works.ask(2, WARM)
    works.says(1, Begins(NOBODY + 1), DONE)
    assert works.ends[1].receive() is None
    works.jobs.renew()
    assert works.ends[1].receive() == (Finish(), [])
    assert [type(each) for each in works.told()] == [JobEnded] * 2


def test_an_idle_process_that_does_not_listen_is_ended(works: Works) -> None:
    """Its end of the channel is closed, so that it could not be told to end."""
    with sleepers(1) as (process,):
        works.ask(1, WARM)
        works.says(0, Begins(process.pid), DONE)
        works.ends[0].close()
        works.jobs.renew()

        assert process.wait(5.0) == -signal.SIGKILL


def test_who_is_done_when_it_is_cancelled_is_not_handed_another(works: Works) -> None:
    """It is about to be killed."""
    with sleepers(1) as (process,):
        works.ask(1, WARM)
        works.says(0, Begins(process.pid))
        works.jobs.on_message(works.caller, JobCancelled(1), [])
        works.says(0, DONE)
        works.ask(2, WARM)

        assert works.ends[0].receive() is None
        assert process.wait(5.0) == -signal.SIGKILL
        assert works.jobs.reaped(process.pid, signal.SIGKILL)
    assert len(works.ends) == 2
