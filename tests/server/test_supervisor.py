"""The supervisor's loop with workers that are real processes, but do nothing.

What it does with real servers is in ``tests/promises``; here are the orders of events that cannot
be brought about there for certain.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import pytest
from tests.server.conftest import Said
from tests.server.test_watch import CEILING_BYTES, MARKS, Gauge

from tonnage.config import load_settings
from tonnage.errors import TargetError
from tonnage.governor.page import SharedPage
from tonnage.ops.health import Health
from tonnage.server.assignment import Assignment
from tonnage.server.crew import EXIT_NOT_STARTED, Crew
from tonnage.server.figures import Figuring
from tonnage.server.foreman import Foreman
from tonnage.server.frontdesk import FrontDesk
from tonnage.server.jobs.owner import Jobs
from tonnage.server.jobs.spawning import Fresh
from tonnage.server.messages import WORKERS, Failed, Hello, SupervisorChannel, WorkerChannel
from tonnage.server.nursery import Nursery
from tonnage.server.reactor import Reactor
from tonnage.server.renewal import Renewal
from tonnage.server.safeguards import make_safeguards
from tonnage.server.supervisor import Supervisor
from tonnage.server.watch import Watch

Life = Callable[[SupervisorChannel], int]


class House:
    """A supervisor of one worker whose lives are given, one after the other.

    When the supervisor hears of a worker, that has already ended: its signal and its messages
    are there at the same time, as on a busy machine.
    """

    def __init__(self, lives: list[Life], stack: ExitStack) -> None:
        self._lives = lives
        page, reactor = SharedPage(), Reactor()
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.crew = Crew(page, 1, spawn=self._spawn, clock=time.monotonic)
        watch = Watch(page, Gauge(), MARKS, CEILING_BYTES, clock=time.monotonic)
        safeguards = make_safeguards(
            load_settings({}, {}, Path()),
            page,
            self.crew,
            watch,
            reports=None,
            started_by_workers=list,
            alert=lambda kind, text, fields: None,
        )
        # The real one: without a zygote it has nothing to do, and nobody asks it for workers.
        assignment = Assignment(
            settings=load_settings({}, {}, Path()),
            page=page,
            index=0,
            listening=listening,
            supervisor_pid=os.getpid(),
            queue_requests=10,
            threads=4,
            huge_pages=False,
            inherited=frozenset(),
        )
        nursery, recycler = Nursery(assignment, preload=False), safeguards.keeper.recycler
        renewal = Renewal(page, reactor, nursery, recycler, clock=time.monotonic)
        front = FrontDesk(
            reactor, Health(page), admin_token=None, listening=listening, clock=time.monotonic
        )
        jobs = Jobs(
            load_settings({}, {}, Path()).jobs,
            page=page,
            reactor=reactor,
            spawner=Fresh({}),
            claim_kill=lambda: False,
            on_killed=lambda killed: False,
            clock=time.monotonic,
        )
        foreman = Foreman(
            page=page,
            reactor=reactor,
            crew=self.crew,
            nursery=nursery,
            renewal=renewal,
            safeguards=safeguards,
            alerter=None,
            front=front,
            jobs=jobs,
            figuring=Figuring(page),
            may_start=lambda: True,
            on_ready=lambda: None,
            start_seconds=60,
            clock=time.monotonic,
        )
        self.supervisor = Supervisor(
            page=page,
            reactor=reactor,
            crew=self.crew,
            nursery=nursery,
            foreman=foreman,
            renewal=renewal,
            safeguards=safeguards,
            alerter=None,
            front=front,
            jobs=jobs,
            refresh_limit=lambda: None,
            close_door=lambda: None,
            note_history=lambda: None,
            observer=None,
            source=None,
            log_seconds=0,
            stop_seconds=1,
            clock=time.monotonic,
        )

    def _spawn(self, index: int) -> WorkerChannel:
        ours, theirs = WORKERS.pair()
        live = self._lives.pop(0)
        pid = os.fork()
        if not pid:
            os._exit(live(theirs))
        theirs.close()
        # Until it is over, but so that the supervisor can still hear of it.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return ours


def fails(*, usage: bool, error: str) -> Life:
    """Return the life of a worker whose application does not start."""

    def live(channel: SupervisorChannel) -> int:
        channel.send(Hello(os.getpid()))
        channel.send(Failed(error, is_mistaken=usage))
        return EXIT_NOT_STARTED

    return live


def ends_after_hello(channel: SupervisorChannel) -> int:
    """Live as long as it takes to give a name."""
    channel.send(Hello(os.getpid()))
    return 0


def ends_at_once(channel: SupervisorChannel) -> int:
    """Live for no time at all."""
    return 0


@pytest.fixture
def build() -> Iterator[Callable[..., House]]:
    """Yield what makes a house; a supervisor that waits for ever is stopped, and fails."""
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(10)
    with ExitStack() as stack:
        yield lambda *lives: House(list(lives), stack)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("the supervisor has not ended")


def test_a_first_start_that_fails_ends_the_server(build: Callable[..., House], said: Said) -> None:
    """With status 1, and with the reason, although the process had ended before it was read."""
    house = build(fails(usage=False, error="no database"))

    assert house.supervisor.run() == 1
    assert said() == "no worker has ever served: no database; stopping"


def test_a_mistaken_target_is_the_users_error(build: Callable[..., House], said: Said) -> None:
    """As where the zygote has found it; the command line says the rest."""
    house = build(fails(usage=True, error="no module 'mian'"))

    with pytest.raises(TargetError, match="no module 'mian'"):
        house.supervisor.run()
    assert said() == ""


@pytest.mark.usefixtures("chatty")
@pytest.mark.parametrize("life", [ends_after_hello, ends_at_once])
def test_a_worker_that_ends_unheard_is_replaced(
    build: Callable[..., House], said: Said, life: Life
) -> None:
    """Its end is heard of before, or without, its name; its place is free all the same."""
    house = build(life, fails(usage=False, error="enough"))

    assert house.supervisor.run() == 1
    assert "worker 0 (pid " in said()
    assert said().endswith("no worker has ever served: enough; stopping")
