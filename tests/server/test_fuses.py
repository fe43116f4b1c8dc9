"""The fuses of real processes, which only sleep: set, moved, taken away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from subprocess import Popen

import pytest
from tests.server.scene import NOBODY, look, sleepers
from tests.support.process import data_limit

from tonnage.governor.fuse import LEAST_SLACK_BYTES, SLACK_BYTES
from tonnage.governor.page import SharedPage, Slot
from tonnage.governor.statistics import WorkerState
from tonnage.host.reins import UNLIMITED
from tonnage.server.fuses import Fuses
from tonnage.units import MIB

SLACK_MB = SLACK_BYTES // MIB
LEAST_SLACK_MB = LEAST_SLACK_BYTES // MIB


@dataclass
class Bench:
    """Two workers whose sizes are told and not measured; sizes are in MB."""

    processes: list[Popen[bytes]]
    page: SharedPage = field(default_factory=SharedPage)
    worker_memory: int | None = None
    enabled: bool = True
    now_seconds: float = 100.0

    def __post_init__(self) -> None:
        self.fuses = Fuses(
            self.page,
            worker_memory_bytes=None if self.worker_memory is None else self.worker_memory * MIB,
            enabled=self.enabled,
        )
        for slot, process in zip(self.page.slots, self.processes, strict=False):
            slot.pid, slot.state = process.pid, WorkerState.READY

    def slot(self, index: int) -> Slot:
        """Return a worker's slot."""
        return self.page.slots[index]

    def follow(
        self,
        free: float,
        *private: float,
        after_seconds: float = 0.1,
        gap: float = 0,
        spared: int | None = None,
    ) -> list[float]:
        """Set the fuses where so much is free and workers hold so much; return them.

        Their data is *gap* more, which they have reserved and not touched. They have just told of
        themselves.
        """
        self.now_seconds += after_seconds
        readings = {index: (self.slot(index).pid, each) for index, each in enumerate(private)}
        found = look(self.now_seconds, 0, readings, data_mb=gap)
        for index, reading in found.readings.items():
            self.slot(index).data_bytes = reading.data_bytes
        self.fuses.follow(found.readings, int(free * MIB), found.now_seconds, spared=spared)
        return [self.slot(index).data_limit_bytes / MIB for index in range(len(private))]

    def promise(self, index: int, size: float) -> None:
        """Let a worker's requests be promised so much."""
        slot = self.slot(index)
        slot.promised_bytes = slot.granted_bytes = int(size * MIB)

    def set(self, index: int) -> float | None:
        """Return the limit that the kernel has, in MB; None: there is none."""
        limit = data_limit(self.slot(index).pid)
        return None if limit == UNLIMITED else limit / MIB


@pytest.fixture
def processes() -> Iterator[list[Popen[bytes]]]:
    """Yield two processes that do nothing."""
    with sleepers(2) as started:
        yield started


@pytest.fixture
def bench(processes: list[Popen[bytes]]) -> Bench:
    """Two workers."""
    return Bench(processes)


def test_a_fuse_is_set_and_published(bench: Bench) -> None:
    """The page says what the kernel has, so that the worker and the reports know."""
    assert bench.follow(200, 50) == [250]
    assert bench.set(0) == 250


def test_it_follows_what_is_free(bench: Bench) -> None:
    """Down, and up again at once."""
    found = [bench.follow(free, 50)[0] for free in (200, 40, 200)]

    assert found == [250, 90, 250]
    assert bench.set(0) == 250


def test_a_worker_that_grows_fast_takes_from_the_others_but_not_their_slack(bench: Bench) -> None:
    """Its own fuse stays about where it was; theirs falls."""
    bench.follow(200, 50, 60)
    found = [bench.follow(200 - grown, 50 + grown, 60) for grown in (40, 80, 120)]

    mine, theirs = zip(*found, strict=True)
    assert max(mine) - min(mine) < 20
    assert min(theirs) >= 60 + SLACK_MB
    assert theirs[-1] <= theirs[0] < 160


def test_what_was_promised_is_kept_for_it(bench: Bench) -> None:
    """As its slot says."""
    bench.promise(1, 30)

    found = bench.follow(60 + 2 * SLACK_MB, 50, 60)

    assert found[1] >= 60 + 30 + SLACK_MB
    assert bench.set(1) == found[1]


def test_what_is_reserved_may_be_touched(bench: Bench) -> None:
    """It is taken off what is free, so the fuse stays when it is."""
    bench.follow(200, 50)
    assert bench.follow(200, 50, gap=100) == [250]

    assert bench.follow(100, 150) == [250]


def test_what_a_worker_is_just_writing_is_not_read_by_halves(bench: Bench) -> None:
    """It has told of a block that it holds now, and not yet that it is no promise any more."""
    bench.promise(0, 30)
    bench.promise(1, 30)
    bench.follow(60, 50, 50)
    bench.slot(0).edition += 1

    assert bench.follow(44, 66, 50)[1] >= 50 + 30


def test_stacks_of_threads_are_not_going_to_be_touched_whole(bench: Bench) -> None:
    """What requests were promised is not cut for them; an eighth counts."""
    bench.promise(0, 40)
    bench.slot(0).stacks_bytes = 16 * MIB

    assert bench.follow(100, 50, gap=16) == [50 + 16 + 100 - 2]


def test_worker_memory_bounds_what_a_worker_can_come_to(processes: list[Popen[bytes]]) -> None:
    """Counted from what it held when it became ready, shared pages included; and some slack."""
    bench = Bench(processes, worker_memory=120)

    assert bench.follow(400, 50) == [50 + (120 - 50) + SLACK_MB]
    assert bench.follow(400, 100) == [50 + (120 - 50) + SLACK_MB]


def test_small_changes_are_not_worth_a_call(bench: Bench) -> None:
    """Unless the worker is near its fuse."""
    bench.follow(200, 50)
    assert bench.follow(200.5, 50) == [250]

    bench.follow(20, 50)
    assert bench.follow(20.5, 50) == [70.5]


def test_a_worker_that_starts_has_no_fuse_yet(bench: Bench) -> None:
    """The application may load what it needs; it is counted from when it is ready."""
    bench.slot(0).state = WorkerState.STARTING
    assert bench.follow(100, 50) == [0]
    assert bench.set(0) is None

    bench.slot(0).state = WorkerState.READY
    assert bench.follow(100, 150) == [250]


def test_switched_off_nothing_is_set(processes: list[Popen[bytes]]) -> None:
    """As with --no-fuse."""
    bench = Bench(processes, enabled=False)

    assert bench.follow(10, 50) == [0]
    assert bench.set(0) is None
    assert bench.fuses.room_bytes(0) is None


def test_a_loosened_fuse_stays_off_while_its_worker_is_spared(bench: Bench) -> None:
    """A traced worker allocates beside what its requests do; afterwards it has a fuse again."""
    bench.follow(100, 50, 60)
    bench.fuses.loosen(0)
    assert bench.set(0) is None

    assert bench.follow(100, 50, 60, spared=0) == [0, 160]
    assert bench.set(0) is None
    assert bench.fuses.room_bytes(0) is None
    assert bench.follow(100, 50)[0] > 50
    assert bench.set(0) is not None


def test_a_worker_that_ends_and_has_taken_its_fuse_away_gets_no_other(bench: Bench) -> None:
    """It has answered its last request, and may need a thread to end its threads."""
    bench.follow(100, 50, 60)
    slot = bench.slot(0)
    slot.state = WorkerState.DRAINING
    assert bench.follow(100, 50, 60)[0] > 50

    bench.fuses.loosen(0)

    assert bench.follow(100, 50, 60)[0] == 0
    assert bench.set(0) is None


def test_a_promise_made_meanwhile_is_not_undercut(bench: Bench) -> None:
    """The worker has raised its fuse for a request that begins at this moment."""
    bench.follow(300, 50)
    bench.promise(0, 200)

    assert bench.follow(200, 50)[0] >= 50 + 200


def test_a_small_promise_is_kept_where_a_burst_has_left_nothing(bench: Bench) -> None:
    """It was made while there was room; half of what must stay free is enough for such."""
    bench.follow(100, 50, 60)
    bench.promise(0, 1)

    assert bench.follow(0, 150, 60)[0] >= 150 + 1 + LEAST_SLACK_MB / 2
    bench.promise(0, 200)
    assert bench.follow(0, 150, 60)[0] <= 150 + 8
    bench.promise(0, 0)
    assert bench.follow(0, 150, 60)[0] == 150


def test_a_worker_that_lets_nobody_in_takes_nothing_of_what_is_kept_for_promises(
    bench: Bench,
) -> None:
    """What the worker raised its fuse to for a request stays, unless both do so at once."""
    bench.follow(100, 50, 60)
    bench.promise(0, 1)

    assert bench.follow(0, 150, 160)[0] >= 150 + 1 + LEAST_SLACK_MB
    bench.promise(1, 1)
    both = bench.follow(0, 150, 160)
    assert sum(both) <= 150 + 160 + 8
    assert min(both[0] - 150, both[1] - 160) >= 1 + LEAST_SLACK_MB / 2


def test_who_has_ended_is_no_trouble(bench: Bench) -> None:
    """Its end is heard of later; the others have their fuses."""
    bench.slot(0).pid = NOBODY

    ended, other = bench.follow(100, 50, 60)

    assert ended == 0
    assert other >= 60 + SLACK_MB
    assert bench.set(1) == other


def test_a_successor_in_the_same_slot_is_counted_anew(bench: Bench) -> None:
    """What the old one grew by is not held against it."""
    bench.follow(200, 50)
    bench.follow(100, 150)
    slot = bench.slot(0)
    slot.wipe()
    slot.pid, slot.state = bench.processes[1].pid, WorkerState.READY

    assert bench.follow(190, 60) == [250]


def test_room_is_what_the_fuse_still_allows(bench: Bench) -> None:
    """What has just been reserved counts, since it is not in use yet."""
    bench.follow(100, 50)
    assert bench.fuses.room_bytes(0) == 100 * MIB
    assert bench.fuses.room_bytes(1) is None

    bench.follow(100, 50, gap=50)
    assert bench.fuses.room_bytes(0) == 100 * MIB

    bench.slot(0).pid = NOBODY
    assert bench.fuses.room_bytes(0) is None
