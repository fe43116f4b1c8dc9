"""A server's figures, made by hand, for tests of what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tonnage.answer import Answer
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import DEATHS, NANOSECONDS, WorkerState
from tonnage.ops.figures.records import Figures, RouteFigures, StoreFigures
from tonnage.ops.metrics.views import Metrics
from tonnage.units import MIB

NOW = 1_000 * NANOSECONDS
UNIX_SECONDS = 1_800_000_000.0

ROUTE = RouteFigures(
    "GET /events/{id}", (0, 90, 1, 8, 3), shed=2, seconds=1.5, buckets=(50, 40, *(1,) * 12)
)
FIGURES = Figures(
    requests=110,
    refused=5,
    waited=7,
    memory_errors=1,
    routes=(ROUTE, RouteFigures("POST /events", (0, 10, 0, 0, 0), buckets=(10, *(0,) * 13))),
    stores=(
        StoreFigures("cache", "days", {"hits": 812, "misses": 14}, {"used_bytes": 31200}),
        StoreFigures(
            "writer",
            "events",
            {"added": 45, "flushed": 40, "failed": 2, "dropped": 1},
            {"buffered": 2, "lag_seconds": 0.25},
        ),
        StoreFigures("connections", "own", {}, {"open": 2}),
        StoreFigures("connections", "db.example/shop", {}, {"open": 3}, is_shared=True),
    ),
)


def server() -> SharedPage:
    """Return a server of 512 MB at WARNING: 160 in use, of which a worker has 60 of its own."""
    page = SharedPage()
    header = page.header
    header.level = 1
    header.limit_bytes, header.used_bytes = 512 * MIB, 160 * MIB
    header.raw_bytes, header.cache_bytes = 200 * MIB, 40 * MIB
    header.supervisor_pss_bytes, header.zygote_pss_bytes = 5 * MIB, 20 * MIB
    header.started_nanoseconds = NOW - 60 * NANOSECONDS
    header.measured_how, header.ceiling_bytes = 1, 480 * MIB
    header.warning_bytes, header.critical_bytes, header.exhausted_bytes = 400, 450, 490
    header.desired_workers = header.planned_workers = 2
    header.recycles, header.kernel_kills = 3, 1
    header.note_death(DEATHS.index("oom"))
    header.jobs_running, header.jobs_done, header.jobs_started = 1, 8, 9
    slot = page.slots[1]
    slot.pid, slot.state = 77, WorkerState.READY
    slot.started_nanoseconds = NOW - 59 * NANOSECONDS
    slot.heartbeat_nanoseconds = NOW
    slot.pss_bytes, slot.uss_bytes = 100 * MIB, 70 * MIB
    slot.held_bytes, slot.kept_bytes, slot.promised_bytes = 60 * MIB, 10 * MIB, 24 * MIB
    header.workers_own_bytes = 60 * MIB
    slot.in_flight, slot.waiting = 3, 2
    return page


def views(
    page: SharedPage | None = None,
    figures: Callable[[], Figures] = lambda: FIGURES,
    wall_clock: Callable[[], float] = lambda: UNIX_SECONDS,
) -> dict[str, Callable[[str], Answer]]:
    """Return what is answered by path."""
    made = Metrics(
        page or server(), figures, "production", clock=lambda: NOW, wall_clock=wall_clock
    )
    return made.views()


def families(text: str) -> dict[str, Metric]:
    """Return the families in *text*, by name, as prometheus_client reads them."""
    return {each.name: each for each in text_string_to_metric_families(text)}


def values(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples called *name*, by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in families(text).values()
        for sample in family.samples
        if sample.name == name
    }


def value(text: str, name: str, /, **labels: Any) -> float:
    """Return the one sample called *name*."""
    return values(text, name)[tuple(labels.values())]
