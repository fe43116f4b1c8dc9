"""Who is in the crew, who is replaced when, and what is said about it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.server.conftest import Said

from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import NANOSECONDS, WorkerState
from tonnage.server.crew import EXIT_NOT_STARTED, Crew, Member, respawn_pause_seconds
from tonnage.server.messages import (
    WORKERS,
    Clear,
    Failed,
    Hello,
    Ready,
    Stop,
    SupervisorChannel,
    WorkerChannel,
)
from tonnage.server.postmortem.facts import Kill, KillReason

# That a worker has ended is reported elsewhere; here it is told, at INFO, what follows.
pytestmark = pytest.mark.usefixtures("chatty")

KILLED = int(signal.SIGKILL)
NOT_STARTED = EXIT_NOT_STARTED << 8


@dataclass
class Yard:
    """A crew of two without processes: a clock to set, and the workers' ends of the channels."""

    now_seconds: float = 100.0
    can_spawn: bool = True
    ends: dict[int, SupervisorChannel] = field(default_factory=dict)
    channels: list[WorkerChannel | SupervisorChannel] = field(default_factory=list)
    page: SharedPage = field(default_factory=SharedPage)
    size: int = 2

    def __post_init__(self) -> None:
        self.crew = Crew(self.page, self.size, spawn=self.spawn, clock=lambda: self.now_seconds)

    def spawn(self, index: int) -> WorkerChannel | None:
        """Make a channel, as the nursery does."""
        if not self.can_spawn:
            return None
        ours, theirs = WORKERS.pair()
        theirs.setblocking(False)
        self.ends[index] = theirs
        self.channels += (ours, theirs)
        return ours

    def start(self) -> list[Member]:
        """Fill the crew; worker *n* has pid 1000 + *n* and is ready."""
        started = self.crew.fill()
        for member in started:
            pid = 1000 + member.index
            self.page.slots[member.index].pid = pid
            self.crew.heard(member, Hello(pid))
            self.crew.heard(member, Ready())
        return started

    def end(self, pid: int, status: int) -> Member | None:
        """Have process *pid* end with *status*, as the supervisor hears of it."""
        member = self.crew.find(pid)
        if member is not None:
            self.crew.lost(member, status)
        return member


@pytest.fixture
def yard() -> Iterator[Yard]:
    """An empty crew of two."""
    yard = Yard()
    yield yard
    for channel in yard.channels:
        channel.close()


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield two processes that do nothing, to be signalled in the workers' stead."""
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield sleepers
    for sleeper in sleepers:
        sleeper.kill()
        sleeper.wait()


def test_pauses_double_up_to_half_a_minute() -> None:
    """One early end is replaced at once; in a row ever later."""
    pauses = [respawn_pause_seconds(ends) for ends in range(10)]

    assert pauses == [0, 0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert respawn_pause_seconds(1000) == 30


def test_a_crew_is_complete_once_all_are_ready(yard: Yard) -> None:
    """Not when they have been asked for, nor when they have said hello."""
    seen = []
    for pid, member in enumerate(yard.crew.fill(), 1):
        for message in (Hello(pid), Ready()):
            yard.crew.heard(member, message)
            seen.append(yard.crew.is_complete)

    assert seen == [False, False, False, True]
    assert yard.crew.pids() == {1, 2}
    assert yard.crew.next_spawn_seconds() is None


def test_a_worker_that_dies_is_replaced_at_once(yard: Yard, said: Said) -> None:
    """In the same slot, and with a line that says how it ended."""
    yard.start()
    yard.now_seconds += 3600
    yard.end(1000, KILLED)

    assert [member.index for member in yard.start()] == [0]
    assert "worker 0 (pid 1000) was ended by SIGKILL after 3600.0 s; a new one starts now" in said()
    assert "in a row" not in said()


def test_the_slot_of_a_dead_worker_is_wiped(yard: Yard) -> None:
    """What it had promised to requests is free again; the others' slots stay."""
    yard.start()
    for slot in yard.page.slots[:2]:
        slot.committed_bytes = slot.promised_bytes = 1000

    yard.end(1001, KILLED)

    assert yard.page.committed_bytes() == 1000
    assert [slot.pid for slot in yard.page.live_slots()] == [1000]


def test_a_crash_loop_is_slowed_down_and_named(yard: Yard, said: Said) -> None:
    """The second early end in a row waits half a second, the third one."""
    yard.start()
    yard.end(1000, 1 << 8)
    yard.start()
    yard.end(1000, 1 << 8)

    assert yard.crew.fill() == []
    assert yard.crew.next_spawn_seconds() == yard.now_seconds + 0.5
    assert "ended with status 1 after 0.0 s; a new one starts in 0.5 s" in said()
    assert "workers have ended early 2 times in a row" in said()

    yard.now_seconds += 0.5
    assert len(yard.start()) == 1
    yard.end(1000, 1 << 8)
    assert yard.crew.next_spawn_seconds() == yard.now_seconds + 1


def test_a_long_life_ends_a_crash_loop(yard: Yard) -> None:
    """A worker that has lived for ten seconds is replaced at once whatever was before."""
    yard.start()
    for _ in range(2):
        yard.end(1000, KILLED)
        yard.now_seconds += 0.5
        yard.start()
    yard.now_seconds += 10

    yard.end(1000, KILLED)

    assert len(yard.start()) == 1


def test_the_reason_that_a_worker_gave_is_told(yard: Yard, said: Said) -> None:
    """A replacement that does not start has said why."""
    yard.start()
    yard.end(1000, KILLED)
    (member,) = yard.crew.fill()
    yard.crew.heard(member, Hello(1000))
    yard.crew.heard(member, Failed("no database"))

    assert yard.end(1000, NOT_STARTED) is member
    assert "worker 0 (pid 1000) did not start after 0.0 s (no database)" in said()


def test_a_first_start_that_failed_is_not_called_a_loop(yard: Yard, said: Said) -> None:
    """Nothing has ever served, so the supervisor gives up instead, and says so itself."""
    member, _ = yard.crew.fill()
    yard.crew.heard(member, Hello(1000))
    yard.crew.heard(member, Failed("no module 'mian'", is_mistaken=True))
    yard.end(1000, NOT_STARTED)

    assert not yard.crew.has_served
    assert (member.failure, member.is_mistaken) == ("no module 'mian'", True)
    assert said() == ""


def test_an_unknown_child_is_none_of_the_crew(yard: Yard) -> None:
    """An orphan that was adopted ends without consequence."""
    yard.start()

    assert yard.end(4711, KILLED) is None
    assert yard.crew.is_complete


def test_without_a_zygote_it_is_tried_again_later(yard: Yard) -> None:
    """The loop does not spin while the next zygote imports."""
    yard.can_spawn = False
    assert yard.crew.fill() == []
    assert yard.crew.next_spawn_seconds() == yard.now_seconds + 0.5

    yard.can_spawn = True
    yard.now_seconds += 0.5

    assert len(yard.crew.fill()) == 2


def test_stopping_asks_everyone_and_replaces_nobody(yard: Yard, said: Said) -> None:
    """Workers that end on request are no error."""
    yard.start()
    yard.crew.stop()

    assert [end.receive() for end in yard.ends.values()] == [(Stop(), [])] * 2
    yard.end(1000, 0)
    assert yard.crew.fill() == []
    assert yard.crew.next_spawn_seconds() is None
    assert "a new one" not in said()


def test_only_those_that_serve_are_told(yard: Yard) -> None:
    """A worker that still starts has nothing to clear."""
    yard.start()
    yard.end(1001, KILLED)
    yard.crew.fill()

    assert yard.crew.tell(Clear("events")) == 1
    assert yard.ends[0].receive() == (Clear("events"), [])
    assert yard.ends[1].receive() is None


@pytest.mark.parametrize(
    ("beats_seconds", "expected"),
    [
        ((8.0, 8.5), []),
        ((8.0, 9.9), [1]),
        ((9.0, 8.999), [0]),
        ((9.5, 9.9), [1, 0]),
        ((9.9, 9.5), [0, 1]),
    ],
    ids=["all stuck", "one turns", "just in time", "the second is livelier", "the first is"],
)
def test_awake_are_those_whose_loops_turn(
    yard: Yard, beats_seconds: tuple[float, float], expected: list[int]
) -> None:
    """One worker whose loop turns is enough for the app to be served; the liveliest comes first."""
    yard.start()
    for slot, beat in zip(yard.page.slots, beats_seconds, strict=False):
        slot.state, slot.heartbeat_nanoseconds = WorkerState.READY, int(beat * NANOSECONDS)

    awake = yard.crew.awake(10 * NANOSECONDS, NANOSECONDS)

    assert [member.index for member in awake] == expected


def test_nobody_is_awake_before_the_first_is_ready(yard: Yard) -> None:
    """A loop that turns while the application starts up serves nothing yet."""
    assert yard.crew.awake(10 * NANOSECONDS, NANOSECONDS) == []
    yard.start()
    for slot in yard.page.slots[:2]:
        slot.state, slot.heartbeat_nanoseconds = WorkerState.STARTING, 10 * NANOSECONDS

    assert yard.crew.awake(10 * NANOSECONDS, NANOSECONDS) == []


def test_a_slot_without_a_member_is_not_awake(yard: Yard) -> None:
    """There is no channel by which it could be handed anything."""
    slot = yard.page.slots[5]
    slot.pid, slot.state, slot.heartbeat_nanoseconds = 1, WorkerState.READY, 10 * NANOSECONDS

    assert yard.crew.awake(10 * NANOSECONDS, NANOSECONDS) == []


def test_who_is_not_ready_in_time_is_ended_and_replaced(
    yard: Yard, sleepers: list[subprocess.Popen[bytes]], said: Said
) -> None:
    """One that serves is left alone however old it is, and so is one that still has time."""
    ready, hangs = yard.crew.fill()
    for member, sleeper in zip((ready, hangs), sleepers, strict=True):
        yard.crew.heard(member, Hello(sleeper.pid))
    yard.crew.heard(ready, Ready())

    yard.now_seconds += 60
    yard.crew.end_overdue(60)
    assert [sleeper.poll() for sleeper in sleepers] == [None, None]
    yard.now_seconds += 0.1
    yard.crew.end_overdue(60)

    assert sleepers[1].wait(5.0) == -signal.SIGKILL
    assert sleepers[0].poll() is None
    yard.end(sleepers[1].pid, KILLED)
    assert "(it was not ready within 60 s, see --start-seconds)" in said()
    assert [member.index for member in yard.crew.fill()] == [1]


def test_the_first_start_that_hangs_has_a_reason(
    yard: Yard, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    """The supervisor gives up with it; the reason that a worker gave itself goes before."""
    hangs, told = yard.crew.fill()
    for member, sleeper in zip((hangs, told), sleepers, strict=True):
        yard.crew.heard(member, Hello(sleeper.pid))
    yard.crew.heard(told, Failed("no database"))
    yard.now_seconds += 2

    yard.crew.end_overdue(1)
    yard.crew.end_overdue(1)

    assert hangs.failure == "it was not ready within 1 s, see --start-seconds"
    assert told.failure == "no database"
    assert not hangs.is_mistaken


def test_who_has_not_said_who_it_is_cannot_be_ended(yard: Yard) -> None:
    """Without a process id there is nothing to signal, and no failure is made up."""
    member, _ = yard.crew.fill()
    yard.now_seconds += 100

    yard.crew.end_overdue(1)

    assert member.failure is None


def test_a_worker_that_is_replaced_has_a_successor_beside_it(yard: Yard) -> None:
    """It keeps its slot and serves on; the successor takes another."""
    old, _ = yard.start()
    assert yard.crew.next_spawn_seconds() is None
    old.is_replaced = True

    (fresh,) = yard.start()

    assert fresh.index == 2
    assert yard.crew.serving() == [old, yard.crew.members[1], fresh]
    assert yard.crew.next_spawn_seconds() is None
    yard.crew.dismiss(old)
    yard.end(1000, 0)
    assert yard.crew.fill() == []
    assert yard.crew.is_complete


def test_there_are_never_more_workers_than_slots() -> None:
    """Then a successor has to wait until somebody ends."""
    yard = Yard(page=SharedPage(2))
    old, _ = yard.start()
    old.is_replaced = True

    assert yard.crew.fill() == []
    yard.end(1001, KILLED)
    assert [member.index for member in yard.start()] == [1]
    for channel in yard.channels:
        channel.close()


def test_one_that_was_dismissed_is_told_once_and_serves_no_more(yard: Yard, said: Said) -> None:
    """It finishes what it has begun; its end is no error, and its successor starts after that."""
    old, other = yard.start()
    yard.crew.dismiss(old)

    assert yard.ends[0].receive() == (Stop(), [])
    assert yard.ends[1].receive() is None
    assert yard.crew.serving() == [other]
    assert yard.crew.next_spawn_seconds() is None
    yard.end(1000, 0)
    assert [member.index for member in yard.start()] == [0]
    assert said() == ""


def test_one_that_still_imports_is_dismissed_by_a_signal(
    yard: Yard, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    """It does not read its channel yet."""
    member, _ = yard.crew.fill()
    yard.crew.heard(member, Hello(sleepers[0].pid))

    yard.crew.dismiss(member)

    assert sleepers[0].wait(5.0) == -signal.SIGTERM
    assert sleepers[1].poll() is None


def test_whom_the_crew_ends_it_has_ended_for_a_reason(
    yard: Yard, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    """The report on that death says so."""
    member, late = yard.crew.fill()
    for each, sleeper in zip((member, late), sleepers, strict=True):
        yard.crew.heard(each, Hello(sleeper.pid))

    yard.crew.end(member, KillReason.RECYCLE_DEADLINE)
    yard.crew.kill()

    assert [sleeper.wait(5.0) for sleeper in sleepers] == [-signal.SIGKILL] * 2
    assert late.killed == Kill(KillReason.STOP_DEADLINE)


def test_a_worker_without_a_name_cannot_be_signalled(yard: Yard) -> None:
    """It is noted that it was to end all the same: it will find its channel closed."""
    member, _ = yard.crew.fill()

    yard.crew.kill()

    assert member.killed == Kill(KillReason.STOP_DEADLINE)


def test_what_a_request_has_taken_is_no_crash_loop(yard: Yard) -> None:
    """However often and early workers end for want of memory, once they serve."""
    for _ in range(5):
        member = yard.start()[0]
        yard.crew.lost(member, KILLED, for_memory=True)
        assert yard.crew.next_spawn_seconds() == yard.now_seconds

    pauses: list[float] = []
    for _ in range(5):
        member = yard.start()[0]
        yard.crew.lost(member, KILLED)
        due = yard.crew.next_spawn_seconds()
        assert due is not None
        pauses.append(due - yard.now_seconds)
        yard.now_seconds = due
    assert pauses == sorted(pauses)
    assert pauses[-1] > 1.0


def test_a_worker_knows_since_when_it_serves(yard: Yard) -> None:
    """Its age counts from there, and not from when it was asked for."""
    member, _ = yard.crew.fill()
    yard.now_seconds += 7
    yard.crew.heard(member, Ready())

    assert (member.asked_seconds, member.ready_seconds) == (100.0, 107.0)


def test_who_got_a_message_is_counted(yard: Yard) -> None:
    """One that has ended, and was not heard of yet, has not got it."""
    yard.start()
    yard.ends[1].close()

    assert yard.crew.tell(Clear(None)) == 1
    assert yard.ends[0].receive() == (Clear(None), [])


def test_a_worker_that_has_not_said_who_it_is_is_no_program(yard: Yard) -> None:
    """The brake would stop it, as it grows fast when it is forked."""
    below = {1: [1000, 1001, 77, 88], 1000: [77], 1001: []}
    yard.start()
    assert yard.crew.programs(below.__getitem__, 1) == {77, 88}

    yard.end(1001, KILLED)
    yard.now_seconds += 60
    assert yard.crew.fill()
    below = {1: [1000, 1002, 77, 88], 1000: [77]}
    assert yard.crew.programs(below.__getitem__, 1) == {77}
