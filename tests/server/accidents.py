"""Facts of accidents for the tests of the black box: a page with three workers, and requests."""

from __future__ import annotations

import signal
from dataclasses import replace

from tonnage.governor.flight import Flights, InFlight
from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import NANOSECONDS, Statistics, WorkerState, read_statistics
from tonnage.server.postmortem.facts import Death
from tonnage.server.samples import Sample
from tonnage.units import MIB

LIMIT_BYTES = 512 * MIB
NOW_SECONDS = 100.0
# 2026-11-22 04:55:00 UTC
AT_SECONDS = 1795323300.0

KILLED = int(signal.SIGKILL)


def statistics(workers: int = 3) -> Statistics:
    """Return the statistics of a busy server with a limit of 512 MB."""
    page = SharedPage(workers)
    header = page.header
    header.limit_bytes, header.ceiling_bytes = LIMIT_BYTES, LIMIT_BYTES - 22 * MIB
    header.used_bytes, header.level = 300 * MIB, Level.OK
    for slot in page.slots:
        slot.pid, slot.state = 4710 + slot.index, WorkerState.READY
        slot.requests, slot.uss_bytes = 45_120, 9 * MIB
        slot.heartbeat_nanoseconds = int(NOW_SECONDS * NANOSECONDS)
    return read_statistics(page, int(NOW_SECONDS * NANOSECONDS))


def request(
    route: str = "/export",
    *,
    age: float = 0.5,
    expected_mb: int = 0,
    grown_mb: int = 0,
    running: bool = False,
    client: str = "203.0.113.7",
) -> InFlight:
    """Return a request in flight; sizes in MB."""
    return InFlight(
        method="GET",
        route=route,
        age_seconds=age,
        expected_bytes=expected_mb * MIB,
        grown_bytes=grown_mb * MIB,
        client=client,
        is_running=running,
    )


def flights(*requests: InFlight, beyond: int = 0) -> Flights:
    """Return *requests* as the page would have them."""
    return Flights(requests, beyond)


def sample(now: float, used_mb: float, *private_mb: float) -> Sample:
    """Return a sample; sizes in MB."""
    used = int(used_mb * MIB)
    private = tuple(int(size * MIB) for size in private_mb)
    return Sample(now, used, used + 20 * MIB, 20 * MIB, Level.OK, private)


def burst() -> list[Sample]:
    """Return ten seconds in which worker 1 grew by 400 MB/s at the end, to within 2 MB."""
    times = [90.0, *(99.0 + step / 50 for step in range(51))]
    own = [20 + 400 * max(0.0, time - 99.0) for time in times]
    return [sample(at, 90 + size, 20, size, 20) for at, size in zip(times, own, strict=True)]


DEATH = Death(
    worker=1,
    pid=4711,
    wait_status=KILLED,
    statistics=statistics(),
    age_seconds=11_520.0,
    memory_errors=0,
    data_limit_bytes=400 * MIB,
)


def died(**facts: object) -> Death:
    """Return the death of worker 1, by SIGKILL unless *facts* say otherwise."""
    return replace(DEATH, **facts)  # type: ignore[arg-type]
