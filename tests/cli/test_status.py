"""`tonnage status`: the server's statistics as people read them."""

from __future__ import annotations

from tonnage.cli.status import told_status
from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import NANOSECONDS, WorkerState, read_statistics
from tonnage.server.actions import to_json
from tonnage.units import MIB

NOW = 100 * NANOSECONDS


def page() -> SharedPage:
    """Return the page of a server with a worker that is ready and one that starts."""
    page = SharedPage(slots=4)
    header = page.header
    header.level, header.level_since_nanoseconds = Level.WARNING, 88 * NANOSECONDS
    header.used_bytes, header.limit_bytes = 420 * MIB, 512 * MIB
    header.ceiling_bytes = 490 * MIB
    header.desired_workers = header.planned_workers = 2
    header.recycles, header.recycled_bytes, header.reclaimed_bytes = 3, 600 * MIB, 41 * MIB
    for index, state in ((0, WorkerState.READY), (2, WorkerState.STARTING)):
        slot = page.slots[index]
        slot.pid, slot.state = 4711 + index, state
        slot.uss_bytes, slot.in_flight, slot.waiting, slot.requests = 31 * MIB, 2, 1, 1000
        slot.heartbeat_nanoseconds = NOW
    return page


def lines(page: SharedPage) -> list[str]:
    """Return what is printed of *page*."""
    return told_status(to_json(read_statistics(page, NOW))).splitlines()


def test_the_state_of_a_server_is_four_lines_and_a_table() -> None:
    """Memory, workers, what was done; then each worker."""
    assert lines(page()) == [
        "memory WARNING for 12 s: 420 MB of 512 MB (82.0 %), new work waits from 490 MB",
        "1 of 2 workers ready; up for 100 s",
        "2,000 requests so far: 0 refused for want of room, 0 had to wait",
        "3 recycled, 600 MB came back by that, 41 MB by reclaim; 0 killed by the kernel",
        "",
        "worker   pid    age  own memory  in flight  waiting  requests  state",
        "     0  4711  100 s       31 MB          2        1      1000  READY",
        "     2  4713  100 s       31 MB          2        1      1000  STARTING",
    ]


def test_a_stuck_worker_and_one_that_is_missing_are_named() -> None:
    """They are what somebody looks for."""
    shown = page()
    shown.slots[0].heartbeat_nanoseconds = NOW - 5 * NANOSECONDS
    shown.header.desired_workers = 1
    shown.header.stopping = 1

    found = lines(shown)
    assert found[1].startswith("1 of 1 worker ready (2 were planned: recycling has brought no")
    assert ", stopping; up for" in found[1]
    assert found[6].endswith("STUCK")


def test_a_server_of_another_version_is_shown_as_far_as_it_goes() -> None:
    """A figure that it lacks is no failure."""
    assert "memory - for" in told_status({"workers": [{"index": 0}]})


def test_one_is_not_several() -> None:
    """Nor none."""
    for requests, workers, idle, told in (
        (1, 1, 1, ("1 of 1 worker ready", "1 request so far", "1 idle process,")),
        (0, 2, 2, ("0 of 2 workers ready", "0 requests so far", "2 idle processes,")),
    ):
        jobs = {"idle": idle, "started": 4}
        status = {"ready_workers": workers % 2, "desired_workers": workers}
        text = told_status({**status, "requests": requests, "jobs": jobs})
        assert all(each in text for each in told), text
        assert "(s)" not in text
