"""The brake on real processes, which only sleep: what the looks say of them is made up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from subprocess import Popen

import pytest
from tests.server.conftest import Said
from tests.server.scene import look, sleepers
from tests.server.test_watch import CEILING_BYTES, MARKS, Gauge
from tests.support.process import is_stopped
from tests.support.waiting import await_true

from tonnage.governor.brake import (
    LEASH_AFTER_SECONDS,
    PATIENCE_SECONDS,
    QUIET_SECONDS,
    Danger,
    Mover,
)
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import WorkerState
from tonnage.host.processes import command_name
from tonnage.server.braking import CENSUS_SECONDS, Brake
from tonnage.server.fuses import Fuses
from tonnage.server.held import Held, Mark
from tonnage.server.postmortem.facts import KillReason
from tonnage.server.watch import Watch
from tonnage.units import MIB

# How soon who is stopped goes on where enough is free.
SHORTLY = LEASH_AFTER_SECONDS + 0.001


@dataclass
class Road:
    """Two workers under a limit of 512 MB, and a brake; sizes are in MB."""

    processes: list[Popen[bytes]]
    fused: bool = False
    now_seconds: float = 100.0
    gauge: Gauge = field(default_factory=Gauge)
    page: SharedPage = field(default_factory=SharedPage)
    others: list[int] = field(default_factory=list)
    # Whom the shrinking was to spare.
    spared: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = lambda: self.now_seconds  # noqa: E731
        watch = Watch(self.page, self.gauge, MARKS, CEILING_BYTES, clock=clock)
        self.fuses = Fuses(self.page, worker_memory_bytes=None, enabled=self.fused)
        self.floor_bytes = watch.floor_bytes
        self.brake = Brake(
            self.page,
            watch,
            self.fuses,
            others=lambda: self.others,
            shrink=self.spared.append,
            clock=clock,
        )
        for slot, process in zip(self.page.slots, self.processes, strict=False):
            slot.pid, slot.state = process.pid, WorkerState.READY

    def see(
        self,
        used: float,
        *private: float,
        after_seconds: float = 0.1,
        really: float | None = None,
        shared: tuple[float, ...] = (0, 0),
    ) -> None:
        """Look: so much is used, and workers hold so much of their own, and of shared memory.

        *really* is what is used once the kernel's statistics are read anew.
        """
        self.now_seconds += after_seconds
        self.gauge.used_mb = used if really is None else really
        workers = {at: (self.processes[at].pid, each) for at, each in enumerate(private)}
        found = look(self.now_seconds, used, workers, data_mb=0)
        readings = {
            at: replace(each, shared_bytes=int(shared[at] * MIB))
            for at, each in found.readings.items()
        }
        if self.fused:
            self.fuses.follow(readings, found.free_bytes - self.floor_bytes, self.now_seconds)
        self.brake.act(replace(found, readings=readings))

    def burst(self) -> None:
        """Let worker 0 take 160 MB in a tenth of a second, where 52 are left."""
        for slot, private in zip(self.page.slots, (100, 50), strict=False):
            slot.held_bytes = private * MIB
        self.see(300, 100, 50)
        self.see(460, 260, 50)

    def stopped(self) -> int | None:
        """Return the number of the worker that is stopped; None: none is."""
        found = self.brake.stopped
        return None if found is None else found.mover.index


def goes_on(pid: int) -> bool:
    """Whether process *pid* is not stopped."""
    return not is_stopped(pid)


@contextmanager
def growers(*sizes_mb: int) -> Iterator[list[Popen[bytes]]]:
    """Yield programs that hold so many MB each."""
    with ExitStack() as ending:
        started = []
        for size in sizes_mb:
            code = f"held = bytearray(b'x') * ({size} << 20); print(flush=True); input()"
            command = [sys.executable, "-c", code]
            each = Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            ending.enter_context(each)
            ending.callback(each.kill)
            started.append(each)
        for each in started:
            assert each.stdout is not None
            each.stdout.readline()
        yield started


@pytest.fixture
def processes() -> Iterator[list[Popen[bytes]]]:
    """Yield two processes that do nothing."""
    with sleepers(2) as started:
        yield started


@pytest.fixture
def road(processes: list[Popen[bytes]]) -> Road:
    """Two workers without fuses."""
    return Road(processes)


def test_who_takes_the_last_memory_is_stopped(road: Road, said: Said) -> None:
    """That one and no other; and the others are asked to give back."""
    road.burst()

    await_true(lambda: is_stopped(road.processes[0].pid), "worker 0 is stopped")
    assert not is_stopped(road.processes[1].pid)
    assert road.spared == [0]
    assert "brake: stopped worker 0 " in said()
    assert "52 MB free would be gone in" in said()


def test_while_there_is_plenty_nobody_is_stopped(road: Road) -> None:
    """However fast one grows."""
    road.see(20, 10, 10)
    road.see(100, 90, 10)

    assert road.stopped() is None
    assert road.spared == []


def test_what_was_promised_is_taken_in_peace(road: Road) -> None:
    """Admission has counted it already."""
    slot = road.page.slots[0]
    slot.promised_bytes = slot.granted_bytes = 160 * MIB
    road.burst()

    assert road.stopped() is None


def test_what_its_fuse_will_stop_is_not_stopped(processes: list[Popen[bytes]]) -> None:
    """The allocation fails in the request, which is better than to stop all of the worker's."""
    road = Road(processes, fused=True)
    for slot, private in zip(road.page.slots, (100, 50), strict=False):
        slot.held_bytes, slot.data_bytes = private * MIB, private * MIB
    road.see(300, 100, 50)
    road.see(460, 260, 50)

    assert road.stopped() is None


def test_page_cache_is_no_danger(road: Road) -> None:
    """It makes use look larger until the kernel's statistics are read anew."""
    road.see(150, 50, 50)
    road.see(480, 60, 50, really=160)

    assert road.stopped() is None


def test_where_use_cannot_be_read_nobody_is_stopped(road: Road) -> None:
    """A guess is no reason."""
    road.see(300, 100, 50)
    road.gauge.is_broken = True
    road.see(460, 260, 50)

    assert road.stopped() is None


def test_who_does_not_grow_is_not_stopped(road: Road) -> None:
    """Something else in the cgroup takes the memory, and nobody of ours has a part in it."""
    road.see(300, 100, 50)
    road.see(460, 100, 50)

    assert road.brake.stopped is None
    assert road.spared == []


def test_a_worker_that_fills_shared_memory_is_stopped(road: Road) -> None:
    """No fuse counts that; its report has the growth."""
    road.see(300, 100, 50, shared=(20, 20))
    road.see(460, 100, 50, shared=(20, 180))

    assert road.stopped() == 1
    assert road.spared == [1]
    road.see(460, 100, 50, shared=(20, 180), after_seconds=PATIENCE_SECONDS)
    assert road.brake.killed is not None
    assert road.brake.killed[1].grown_bytes == 160 * MIB


def test_what_fits_is_let_grow_on_a_leash(road: Road, said: Said) -> None:
    """Stopped at the horizon, it goes on while enough is free, and is let off when it is quiet."""
    road.see(220, 100, 50, shared=(20, 20))
    road.see(260, 100, 50, shared=(20, 60), after_seconds=0.05)
    road.see(340, 100, 50, shared=(20, 140), after_seconds=0.05)
    assert road.stopped() == 1

    road.see(340, 100, 50, shared=(20, 140), after_seconds=SHORTLY)
    assert road.brake.leashed is not None
    await_true(lambda: not is_stopped(road.processes[1].pid), "it goes on")
    road.see(350, 100, 50, shared=(20, 150), after_seconds=0.01)
    assert road.stopped() is None
    road.see(350, 100, 50, shared=(20, 150), after_seconds=QUIET_SECONDS)

    assert not road.brake.is_on
    assert road.brake.killed is None
    assert "with 172 MB free, on a leash" in said()


def test_who_grows_on_a_leash_until_little_is_free_is_ended(road: Road) -> None:
    """Stopped again first, so that the others have another moment to shrink."""
    road.see(220, 100, 50, shared=(20, 20))
    road.see(260, 100, 50, shared=(20, 60), after_seconds=0.05)
    road.see(340, 100, 50, shared=(20, 140), after_seconds=0.05)
    road.see(340, 100, 50, shared=(20, 140), after_seconds=SHORTLY)
    road.see(440, 100, 50, shared=(20, 240), after_seconds=0.01)
    assert road.stopped() == 1

    road.see(440, 100, 50, shared=(20, 240), after_seconds=PATIENCE_SECONDS)
    assert road.processes[1].wait(5.0) == -signal.SIGKILL
    assert road.brake.killed is not None
    assert road.brake.killed[1].grown_bytes == 220 * MIB
    # From the look before the first growth to the second stop.
    assert road.brake.killed[1].grown_seconds == pytest.approx(0.1 + SHORTLY + 0.01)
    assert road.brake.killed[1].memory == "shared"


def test_what_another_takes_is_not_held_against_who_is_on_a_leash(road: Road) -> None:
    """That one is let off, and who grows now is stopped in its place."""
    for slot, private in zip(road.page.slots, (100, 50), strict=False):
        slot.held_bytes = private * MIB
    road.see(220, 100, 50, shared=(20, 20))
    road.see(340, 100, 50, shared=(20, 180))
    road.see(340, 100, 50, shared=(20, 180), after_seconds=SHORTLY)
    assert road.brake.leashed is not None

    road.see(480, 240, 50, shared=(20, 180), after_seconds=0.05)

    assert road.stopped() == 0
    assert not is_stopped(road.processes[1].pid)


def test_a_worker_that_starts_is_not_stopped(road: Road) -> None:
    """It loads what it needs, private and shared, and has promised nothing yet."""
    road.page.slots[0].state = WorkerState.STARTING
    road.burst()
    road.see(500, 260, 50, shared=(60, 0))

    assert road.brake.stopped is None


def test_a_program_that_the_application_has_started_is_stopped(road: Road, said: Said) -> None:
    """By what it has grown since the last census; one that was that large before is not."""
    with growers(40, 40) as (old, new):
        # The programs' parent passes for a worker.
        road.page.slots[1].pid = os.getpid()
        road.others = [old.pid]
        road.now_seconds += CENSUS_SECONDS
        road.brake.take_census()
        road.others = [old.pid, new.pid]
        road.see(300, 100, 50, after_seconds=0.0)
        road.see(400, 100, 50)

        await_true(lambda: is_stopped(new.pid), "the new program is stopped")
        assert not is_stopped(old.pid)
        assert f"stopped process {new.pid}, started by the application" in said()
        assert road.spared == [-1]

        road.see(495, 100, 50)
        assert new.wait(5.0) == -signal.SIGKILL
        assert road.brake.killed is None
        ended = road.brake.ended
        assert ended is not None
        assert ended.started.program.pid == new.pid
        assert ended.started.program.name.startswith("python")
        assert ended.started.worker == 1
        assert ended.kill.grown_bytes > 40 * MIB


def test_programs_that_grow_are_stopped_together_and_the_largest_ends(road: Road) -> None:
    """The others go on with what comes free; who ends is ended once."""
    with growers(30, 60, 40) as programs:
        road.others = [each.pid for each in programs]
        road.see(250, 100, 50, after_seconds=0.0)
        road.see(390, 100, 50)
        for each in programs:
            await_true(partial(is_stopped, each.pid), "each program is stopped")

        road.see(490, 100, 50)
        assert programs[1].wait(5.0) == -signal.SIGKILL
        ended, road.brake.ended = road.brake.ended, None
        assert ended is not None
        assert ended.started.program.pid == programs[1].pid
        assert ended.kill.grown_bytes > 60 * MIB
        assert is_stopped(programs[0].pid)

        road.see(390, 100, 50, after_seconds=0.01)
        road.see(390, 100, 50, after_seconds=SHORTLY)
        await_true(partial(goes_on, programs[2].pid), "the larger of the others goes on")
        await_true(partial(is_stopped, programs[0].pid), "the smaller waits")
        assert road.brake.ended is None
        assert road.brake.leashed is not None


@pytest.mark.parametrize("ends", [True, False], ids=["it ends", "it has what it wanted"])
def test_programs_go_on_one_after_another(road: Road, ends: bool) -> None:
    """Together they would grow as fast as there are processors."""
    with growers(60, 30) as (large, small):
        road.others = [large.pid, small.pid]
        road.see(250, 100, 50, after_seconds=0.0)
        road.see(390, 100, 50)
        road.see(390, 100, 50, after_seconds=SHORTLY)
        await_true(partial(goes_on, large.pid), "the larger goes on")
        await_true(partial(is_stopped, small.pid), "the smaller waits")

        if ends:
            large.kill()
            large.wait(5.0)
            road.others = [small.pid]
            road.see(330, 100, 50, after_seconds=0.01)
        else:
            road.see(390, 100, 50, after_seconds=QUIET_SECONDS)
        assert is_stopped(small.pid)
        road.see(330, 100, 50, after_seconds=SHORTLY)

        await_true(partial(goes_on, small.pid), "the smaller goes on")
        road.see(330, 100, 50, after_seconds=QUIET_SECONDS)
        assert not road.brake.is_on


def test_a_program_that_starts_while_one_is_on_a_leash_waits(road: Road) -> None:
    """It is stopped while that one goes on, and neither stays stopped when the server ends."""
    with growers(60) as first, growers(30) as second:
        road.others = [first[0].pid]
        road.see(250, 100, 50, after_seconds=0.0)
        road.see(390, 100, 50)
        road.see(390, 100, 50, after_seconds=SHORTLY)
        assert road.brake.leashed is not None
        road.others = [first[0].pid, second[0].pid]
        road.see(400, 100, 50, after_seconds=0.03)

        await_true(lambda: is_stopped(second[0].pid), "the second is stopped")
        assert goes_on(first[0].pid)
        road.brake.release()
        await_true(partial(goes_on, second[0].pid), "both go on")


def test_who_takes_the_last_memory_on_a_leash_is_stopped_with_those_that_wait(road: Road) -> None:
    """And the largest of all is ended."""
    with growers(60, 30) as (large, small):
        road.others = [large.pid, small.pid]
        road.see(250, 100, 50, after_seconds=0.0)
        road.see(390, 100, 50)
        road.see(390, 100, 50, after_seconds=SHORTLY)
        road.see(470, 100, 50, after_seconds=0.01)
        await_true(lambda: is_stopped(large.pid), "it is stopped again")
        road.see(490, 100, 50)

        assert large.wait(5.0) == -signal.SIGKILL
        road.see(390, 100, 50, after_seconds=0.01)
        road.see(390, 100, 50, after_seconds=SHORTLY)
        await_true(partial(goes_on, small.pid), "the other one goes on")


def test_a_program_that_starts_while_others_are_stopped_is_stopped_too(road: Road) -> None:
    """A request starts them one after another."""
    with growers(60) as first, growers(30) as second:
        road.others = [first[0].pid]
        road.see(300, 100, 50, after_seconds=0.0)
        road.see(400, 100, 50)
        road.others = [first[0].pid, second[0].pid]
        road.see(430, 100, 50, after_seconds=0.03)

        await_true(lambda: is_stopped(second[0].pid), "the second is stopped too")
        road.brake.release()
        for each in (*first, *second):
            await_true(partial(goes_on, each.pid), "all go on")


def test_a_program_whose_parents_are_gone_is_nobodys(road: Road) -> None:
    """Which worker started it is not known; its end is told all the same."""
    with sleepers(1) as (program,):
        await_true(lambda: command_name(program.pid) == "sleep", "it is what it was started as")
        road.others = [program.pid]
        road.brake.take_census()
        mover = Mover(program.pid, None, 100 * MIB, None)
        road.brake.stopped = Held(
            mover, 0.0, Danger(0.1, True), 0, {program.pid: Mark(0, 0.0, 0.0)}
        )
        road.see(500, 100, 50)

        assert program.wait(5.0) == -signal.SIGKILL
        assert road.brake.ended is not None
        assert road.brake.ended.started.program.name == "sleep"
        assert road.brake.ended.started.worker is None


def test_an_end_is_waited_for_but_not_for_ever(road: Road) -> None:
    """While one is about to be gone, what it held may come free: the next one lives so long."""
    with sleepers(2) as (ending, next_one):
        road.others = [ending.pid, next_one.pid]
        road.brake.take_census()
        marks = {next_one.pid: Mark(0, 0.0, 0.0)}
        mover = Mover(next_one.pid, None, 100 * MIB, None)
        road.now_seconds += 10.0
        road.brake.stopped = Held(
            mover, road.now_seconds, Danger(0.1, True), 0, marks, ending=ending.pid
        )
        road.see(500, 100, 50, after_seconds=0.2)
        assert road.brake.ended is None

        road.see(500, 100, 50, after_seconds=0.1)
        assert next_one.wait(5.0) == -signal.SIGKILL
        assert ending.poll() is None


def test_only_one_is_stopped_at_a_time(road: Road) -> None:
    """Another that grows meanwhile has to be stopped by something else."""
    road.burst()
    road.see(480, 260, 70, after_seconds=0.05)
    road.see(490, 260, 80, after_seconds=0.05)

    assert road.stopped() == 0
    assert not is_stopped(road.processes[1].pid)


def test_it_goes_on_when_the_others_have_given_back(road: Road, said: Said) -> None:
    """Twice what was free, or three times the floor."""
    road.burst()
    road.see(405, 260, 5, after_seconds=0.05)

    await_true(lambda: not is_stopped(road.processes[0].pid), "it goes on")
    assert road.brake.stopped is None
    assert "brake: worker 0 " in said()
    assert "goes on after 50 ms, with 107 MB free" in said()


def test_it_goes_on_by_what_the_look_said_where_use_cannot_be_read(road: Road) -> None:
    """Who is stopped does not stay so for want of a newer figure."""
    road.burst()
    road.gauge.is_broken = True
    road.see(405, 260, 5, after_seconds=0.05)

    await_true(lambda: not is_stopped(road.processes[0].pid), "it goes on")
    assert road.brake.stopped is None


def test_a_worker_that_has_taken_little_goes_on(road: Road) -> None:
    """It grew while something else took the last memory: to end it would not help."""
    for slot, private in zip(road.page.slots, (100, 50), strict=False):
        slot.held_bytes = private * MIB
    road.see(460, 100, 50)
    road.see(480, 120, 50, after_seconds=0.05)
    assert road.stopped() == 0

    road.see(495, 120, 50, after_seconds=PATIENCE_SECONDS)

    await_true(lambda: not is_stopped(road.processes[0].pid), "it goes on")
    assert not road.brake.is_on
    assert road.brake.killed is None


def test_who_has_died_on_its_leash_is_not_held(road: Road) -> None:
    """Its place is free for the next one that grows."""
    road.see(220, 100, 50, shared=(20, 20))
    road.see(260, 100, 50, shared=(20, 60), after_seconds=0.05)
    road.see(340, 100, 50, shared=(20, 140), after_seconds=0.05)
    road.see(340, 100, 50, shared=(20, 140), after_seconds=SHORTLY)
    assert road.brake.leashed is not None
    road.processes[1].kill()
    road.processes[1].wait(5.0)

    road.see(440, 100, 50, shared=(20, 240), after_seconds=0.01)

    assert not road.brake.is_on


def test_it_ends_when_nothing_comes_free(road: Road, said: Said) -> None:
    """And it is known why, until its end is heard of."""
    road.burst()
    road.see(460, 260, 50, after_seconds=PATIENCE_SECONDS - 0.01)
    assert road.stopped() == 0
    road.see(460, 260, 50, after_seconds=0.01)

    assert road.processes[0].wait(5.0) == -signal.SIGKILL
    assert road.processes[1].poll() is None
    assert road.brake.stopped is None
    assert road.brake.killed is not None
    pid, kill = road.brake.killed
    assert pid == road.processes[0].pid
    assert kill.reason is KillReason.BRAKE
    assert kill.grown_bytes == 160 * MIB
    assert kill.grown_seconds == pytest.approx(0.1)
    assert kill.memory == "private"
    assert kill.room_seconds == pytest.approx(0.0325)
    assert "which took the last memory: 52 MB free, and nothing else could shrink" in said()


def test_who_was_ended_is_handed_over_once(road: Road) -> None:
    """To whom hears of that very death."""
    road.burst()
    road.see(460, 260, 50, after_seconds=PATIENCE_SECONDS)

    assert road.brake.take_killed(road.processes[1].pid) is None
    assert road.brake.take_killed(road.processes[0].pid) is not None
    assert road.brake.take_killed(road.processes[0].pid) is None
    assert road.brake.take_ended() is None


def test_growth_is_measured_however_fast_it_was_at_the_end(road: Road) -> None:
    """Slow first and fast then: the last speed says nothing about the time."""
    for slot, private in zip(road.page.slots, (100, 50), strict=False):
        slot.held_bytes = private * MIB
    road.see(300, 100, 50)
    road.see(320, 120, 50, after_seconds=0.3)
    road.see(460, 260, 50, after_seconds=0.1)
    road.see(460, 260, 50, after_seconds=PATIENCE_SECONDS)

    kill = road.brake.take_killed(road.processes[0].pid)
    assert kill is not None
    assert (kill.grown_bytes, kill.memory) == (160 * MIB, "private")
    assert kill.grown_seconds == pytest.approx(0.4)


def test_nobody_stays_stopped_when_the_server_ends(road: Road) -> None:
    """A stopped process could not end by itself."""
    road.burst()
    await_true(lambda: is_stopped(road.processes[0].pid), "it is stopped")

    road.brake.release()
    await_true(lambda: not is_stopped(road.processes[0].pid), "it goes on")
    road.brake.release()


def test_the_next_danger_is_met_like_the_first(road: Road) -> None:
    """A successor in the same slot grows from where it begins."""
    road.burst()
    road.see(460, 260, 50, after_seconds=PATIENCE_SECONDS)
    road.processes[0].wait(5.0)
    with sleepers(1) as (successor,):
        road.processes[0] = successor
        slot = road.page.slots[0]
        slot.pid, slot.held_bytes = successor.pid, 10 * MIB
        road.see(250, 10, 50, after_seconds=2)
        assert road.brake.stopped is None
        road.see(460, 220, 50)

        await_true(lambda: is_stopped(successor.pid), "the successor is stopped")
