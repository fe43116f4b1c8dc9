"""The record that health, log and metrics are made from."""

from __future__ import annotations

import pytest

from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import (
    NANOSECONDS,
    STUCK_SECONDS,
    Statistics,
    WorkerState,
    read_statistics,
)
from tonnage.host.measures import MEASURES
from tonnage.units import MIB

NOW = 1_000 * NANOSECONDS


@pytest.fixture
def page() -> SharedPage:
    """A server of 512 MB with two workers."""
    page = SharedPage()
    header = page.header
    header.level, header.level_since_nanoseconds = Level.WARNING, NOW - 3 * NANOSECONDS
    header.limit_bytes, header.used_bytes = 512 * MIB, 384 * MIB
    header.supervisor_pss_bytes, header.zygote_pss_bytes = 5 * MIB, 20 * MIB
    header.started_nanoseconds = NOW - 60 * NANOSECONDS
    header.measured_how, header.kernel_kills, header.stopping = 1, 2, 1
    for index in (0, 4):
        slot = page.slots[index]
        slot.pid, slot.state = 100 + index, WorkerState.READY
        slot.started_nanoseconds = NOW - 50 * NANOSECONDS
        slot.heartbeat_nanoseconds = NOW - NANOSECONDS // 10
        slot.pss_bytes, slot.promised_bytes = 30 * MIB, 8 * MIB
    return page


def test_the_page_is_read_into_one_record(page: SharedPage) -> None:
    """Sizes in bytes, times in seconds."""
    found = read_statistics(page, NOW)

    assert isinstance(found, Statistics)
    assert (found.level, found.level_seconds) == (Level.WARNING, 3.0)
    assert (found.measured, found.uptime_seconds) == ("cgroup working set", 60.0)
    assert (found.kernel_kills, found.is_stopping, found.is_blind) == (2, True, False)
    assert [worker.pid for worker in found.workers] == [100, 104]
    assert [worker.index for worker in found.workers] == [0, 4]
    assert found.workers[0].age_seconds == 50.0
    assert found.workers[0].quiet_seconds == pytest.approx(0.1)


def test_sums_are_taken_over_the_tree(page: SharedPage) -> None:
    """Supervisor, zygote and workers."""
    found = read_statistics(page, NOW)

    assert found.tree_pss_bytes == 85 * MIB
    assert found.reserved_bytes == 16 * MIB
    assert found.available_bytes == 128 * MIB
    assert found.usage_percent == 75.0
    assert found.ready_workers == 2


def test_a_workers_share_is_carried_forward_until_it_is_measured_again(page: SharedPage) -> None:
    """What became private since the roll-up is all the worker's own, what was freed was as well."""
    grown, shrunk = page.slots[0], page.slots[4]
    grown.uss_bytes = shrunk.uss_bytes = 20 * MIB
    grown.rolled_up_private_bytes = shrunk.rolled_up_private_bytes = 18 * MIB
    grown.baseline_bytes, grown.held_bytes = 10 * MIB, 48 * MIB
    shrunk.baseline_bytes, shrunk.held_bytes = 10 * MIB, 4 * MIB

    found = read_statistics(page, NOW).workers

    assert [worker.pss_bytes for worker in found] == [70 * MIB, 26 * MIB]
    assert [worker.uss_bytes for worker in found] == [60 * MIB, 16 * MIB]


def test_a_share_that_was_never_measured_is_not_carried_forward(page: SharedPage) -> None:
    """Nothing is known to add to; and what is carried does not fall below nothing."""
    new, freed = page.slots[0], page.slots[4]
    new.pss_bytes, new.baseline_bytes, new.held_bytes = 0, 10 * MIB, 40 * MIB
    freed.rolled_up_private_bytes = 90 * MIB

    found = read_statistics(page, NOW).workers

    assert [worker.pss_bytes for worker in found] == [0, 0]


def test_use_above_the_limit_leaves_nothing(page: SharedPage) -> None:
    """Not less than nothing."""
    page.header.used_bytes = 600 * MIB

    found = read_statistics(page, NOW)

    assert found.available_bytes == 0
    assert found.usage_percent == 117.2


def test_before_the_first_sample_nothing_is_known() -> None:
    """And nothing fails."""
    found = read_statistics(SharedPage(), NOW)

    assert (found.level, found.measured, found.workers) == (Level.OK, MEASURES[0], ())
    assert found.usage_percent == 0.0


@pytest.mark.parametrize(
    ("state", "quiet_seconds", "stuck"),
    [
        (WorkerState.READY, STUCK_SECONDS, False),
        (WorkerState.READY, STUCK_SECONDS + 0.1, True),
        (WorkerState.DRAINING, STUCK_SECONDS + 0.1, True),
        # It may be importing for as long as it likes.
        (WorkerState.STARTING, 20.0, False),
        # A heartbeat that came after the clock was read.
        (WorkerState.READY, -0.1, False),
    ],
)
def test_a_worker_whose_loop_does_not_turn_is_stuck(
    page: SharedPage, state: WorkerState, quiet_seconds: float, stuck: bool
) -> None:
    """In a synchronous call."""
    page.slots[0].state = state
    page.slots[0].heartbeat_nanoseconds = NOW - int(quiet_seconds * NANOSECONDS)

    worker = read_statistics(page, NOW).workers[0]

    assert worker.is_stuck is stuck
    assert worker.quiet_seconds == pytest.approx(max(0.0, quiet_seconds))


def test_only_workers_that_accept_are_ready(page: SharedPage) -> None:
    """Neither those that start nor those that drain."""
    page.slots[0].state = WorkerState.DRAINING
    page.slots[4].state = WorkerState.STARTING

    assert read_statistics(page, NOW).ready_workers == 0
