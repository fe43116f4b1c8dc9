"""What the watch publishes: use, level, and what is left for the workers."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.server.conftest import Said

from tonnage.governor.levels import Level, Marks
from tonnage.governor.page import SharedPage
from tonnage.host.counters import MeterError
from tonnage.host.measures import MEASURES
from tonnage.host.processes import Statm
from tonnage.host.usage import Usage
from tonnage.server.watch import Watch
from tonnage.units import MIB

MARKS = Marks(
    limit_bytes=512 * MIB,
    warning_bytes=410 * MIB,
    critical_bytes=460 * MIB,
    exhausted_bytes=496 * MIB,
)
CEILING_BYTES = 480 * MIB
PAGE = 4096


@dataclass
class Gauge:
    """A meter that reads what it is set to, in MB, after *before_reading* was called."""

    used_mb: float = 100.0
    kills: int = 0
    readings: int = 0
    is_broken: bool = False
    before_reading: Callable[[], None] = lambda: None
    closed: bool = False

    def read(self) -> Usage:
        """Return what is set."""
        self.readings += 1
        self.before_reading()
        if self.is_broken:
            raise MeterError("memory.current: No such device")
        used = int(self.used_mb * MIB)
        return Usage(used, used + 20 * MIB, 20 * MIB, self.kills, "cgroup working set")

    def refresh(self) -> None:
        """Do nothing: all is read each time."""

    def close(self) -> None:
        """Note it."""
        self.closed = True


@dataclass
class Tower:
    """A watch over a gauge, with a clock to set."""

    gauge: Gauge = field(default_factory=Gauge)
    page: SharedPage = field(default_factory=SharedPage)
    now_seconds: float = 100.0

    def __post_init__(self) -> None:
        self.watch = Watch(
            self.page, self.gauge, MARKS, CEILING_BYTES, clock=lambda: self.now_seconds
        )

    def look(self, used_mb: float, after_seconds: float = 0.1) -> Level:
        """Look when so much is used, and return the level."""
        self.gauge.used_mb = used_mb
        self.now_seconds += after_seconds
        found = self.watch.look()
        assert found is not None
        return found.level

    def worker(self) -> None:
        """Let this very process be the worker in the first slot, with all it holds its own."""
        statm = Statm(os.getpid())
        slot = self.page.slots[0]
        slot.pid, slot.baseline_bytes = os.getpid(), statm.read().private_bytes
        statm.close()


@pytest.fixture
def tower() -> Tower:
    """A watch of 512 MB."""
    return Tower()


def test_a_look_is_published(tower: Tower) -> None:
    """Use, cache, how it was measured, and what is left for the workers' own memory."""
    tower.look(100)

    header = tower.page.header
    assert header.used_bytes == 100 * MIB
    assert (header.raw_bytes, header.cache_bytes) == (120 * MIB, 20 * MIB)
    assert MEASURES[header.measured_how] == "cgroup working set"
    assert header.limit_bytes == 512 * MIB
    assert header.exhausted_bytes == MARKS.exhausted_bytes
    assert header.others_bytes == 100 * MIB
    assert header.workers_ceiling_bytes == 380 * MIB
    assert header.sampled_nanoseconds == pytest.approx(tower.now_seconds * 1e9)


def test_what_the_workers_hold_is_not_others(tower: Tower) -> None:
    """The ceiling for the workers is what everything else leaves."""
    tower.worker()
    block = touched(32 * MIB)

    tower.look(100)

    header = tower.page.header
    assert header.others_bytes == pytest.approx(68 * MIB, abs=4 * MIB)
    # What is shown as theirs is of the same moment, whatever they say of themselves later.
    assert header.workers_own_bytes + header.others_bytes == header.used_bytes
    assert len(block) == 32 * MIB


def test_what_others_take_counts_at_once(tower: Tower) -> None:
    """A reading that is too low lets too much in."""
    tower.look(100)
    tower.look(180)

    assert tower.page.header.others_bytes == 180 * MIB


def test_what_others_give_back_counts_by_and_by(tower: Tower) -> None:
    """A quarter of it with each look, since the next reading can be higher again."""
    tower.look(180)
    tower.look(100)
    assert tower.page.header.others_bytes == 160 * MIB

    for _ in range(20):
        tower.look(100)

    assert tower.page.header.others_bytes == pytest.approx(100 * MIB, rel=0.01)


def touched(size_bytes: int) -> mmap.mmap:
    """Return private memory that cannot come from what the allocator has kept."""
    block = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block[::PAGE] = b"x" * (size_bytes // PAGE)
    return block


def test_readings_that_do_not_belong_together_are_taken_again(tower: Tower) -> None:
    """A worker has allocated between the reading of the total and of its own memory."""
    tower.worker()
    blocks: list[mmap.mmap] = []

    def allocate_once() -> None:
        if not blocks:
            blocks.append(touched(16 * MIB))

    tower.gauge.before_reading = allocate_once
    tower.look(100)

    assert tower.gauge.readings == 2
    assert tower.page.header.others_bytes == pytest.approx(84 * MIB, abs=4 * MIB)


def test_readings_that_never_fit_are_taken_in_the_end(tower: Tower) -> None:
    """A worker that allocates all the time must not keep the watch from looking."""
    tower.worker()
    blocks: list[mmap.mmap] = []

    def allocate() -> None:
        blocks.append(touched(8 * MIB))

    tower.gauge.before_reading = allocate
    tower.look(100)

    assert tower.gauge.readings == 4


def test_a_worker_that_has_just_ended_holds_nothing(tower: Tower) -> None:
    """Its slot is wiped when its end is heard of; the look before that goes on."""
    slot = tower.page.slots[0]
    slot.pid, slot.baseline_bytes = 2**22 + 1, 50 * MIB  # above the kernel's largest pid

    tower.look(100)

    assert tower.page.header.others_bytes == 100 * MIB


def test_the_level_is_published_with_its_moment(tower: Tower) -> None:
    """It stays as long as the level does."""
    tower.look(100)
    begun = tower.page.header.level_since_nanoseconds
    tower.look(120)
    assert tower.page.header.level_since_nanoseconds == begun

    assert tower.look(497) is Level.EXHAUSTED

    assert tower.page.header.level == Level.EXHAUSTED
    assert tower.page.header.level_since_nanoseconds == pytest.approx(tower.now_seconds * 1e9)


def test_the_look_tells_what_changed(tower: Tower) -> None:
    """The level before, too, so that a change can be logged."""
    tower.look(100)
    tower.gauge.used_mb = 470

    look = tower.watch.look()

    assert look is not None
    assert (look.previous, look.level, look.used_bytes) == (Level.OK, Level.CRITICAL, 470 * MIB)


def test_kernel_kills_count_from_the_first_look(tower: Tower) -> None:
    """What was before is not ours; what comes is counted once."""
    tower.gauge.kills = 7
    tower.look(100)
    tower.gauge.kills = 9
    first, second = tower.watch.look(), tower.watch.look()

    assert first is not None
    assert second is not None
    assert (first.kills, second.kills) == (2, 0)
    assert tower.page.header.kernel_kills == 2


def test_blindness_is_told_once_and_ends(tower: Tower, said: Said) -> None:
    """No level is made up; as soon as something can be read, all is as before."""
    tower.look(100)
    tower.gauge.is_broken = True

    assert tower.watch.look() is None
    assert tower.watch.look() is None
    assert tower.page.header.blind == 1
    assert said().count("memory use cannot be read, no level is kept: memory.current") == 1

    tower.gauge.is_broken = False
    assert tower.look(100) is Level.OK
    assert tower.page.header.blind == 0


def test_looks_are_denser_the_faster_memory_fills(tower: Tower) -> None:
    """And calm down again by and by."""
    tower.look(100)
    calm = tower.watch.next_look_seconds()
    tower.look(300, after_seconds=0.1)
    hasty = tower.watch.next_look_seconds()
    assert hasty < calm / 4

    for _ in range(30):
        tower.look(300)

    assert tower.watch.next_look_seconds() > 4 * hasty


def test_looks_are_denser_while_clients_are_connected(tower: Tower) -> None:
    """Somebody can begin to allocate at any moment."""
    tower.look(400)
    idle = tower.watch.next_look_seconds()
    tower.page.slots[0].connections = 1

    assert tower.watch.next_look_seconds() < idle


def test_a_limit_that_moved_is_followed(tower: Tower) -> None:
    """By the same page, which the workers read."""
    tower.look(100)
    gauge = Gauge()
    half = Marks(256 * MIB, 205 * MIB, 230 * MIB, 240 * MIB)
    tower.watch.retarget(gauge, half, 224 * MIB)
    tower.watch.look()

    header = tower.page.header
    assert (header.limit_bytes, header.ceiling_bytes) == (256 * MIB, 224 * MIB)
    assert header.workers_ceiling_bytes == 124 * MIB
    assert gauge.readings == 1


def test_the_shares_of_processes_are_published(tower: Tower) -> None:
    """Of the supervisor in the header, of a worker in its slot."""
    slot = tower.page.slots[0]
    slot.pid = os.getpid()
    tower.watch.roll_up(os.getpid(), slot)
    tower.watch.roll_up(os.getpid(), None, "supervisor_pss_bytes")

    assert slot.pss_bytes >= slot.uss_bytes > MIB
    assert slot.rolled_up_private_bytes > MIB
    assert tower.page.header.supervisor_pss_bytes > MIB


def test_a_slot_with_a_new_owner_keeps_its_figures(tower: Tower) -> None:
    """What was measured is the old one's; one that is gone leaves none."""
    slot = tower.page.slots[0]
    slot.pid = os.getpid() + 1
    tower.watch.roll_up(os.getpid(), slot)
    tower.watch.roll_up(2**22 + 1, slot)

    assert slot.pss_bytes == slot.rolled_up_private_bytes == 0


def test_forgetting_twice_is_harmless(tower: Tower) -> None:
    """So whoever buries a worker need not know whether it was ever looked at."""
    tower.worker()
    tower.look(100)

    tower.watch.forget(0)
    tower.watch.forget(0)
