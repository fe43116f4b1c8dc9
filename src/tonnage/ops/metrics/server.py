"""What is known of the server as a whole, as metrics: memory, level, workers, jobs.

Pure. Bounded: at most 64 workers, with eight numbers each, and some 80 others.
"""

from __future__ import annotations

import platform
from collections import Counter
from typing import TYPE_CHECKING

from tonnage import __version__
from tonnage.governor.levels import Level
from tonnage.governor.statistics import WorkerState
from tonnage.ops.metrics.family import Family, Labels, counter, gauge
from tonnage.ops.page.state import tank_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tonnage.governor.statistics import JobStatistics, Statistics, WorkerStatistics

_STATES = ("starting", "ready", "draining", "stuck")
_WORKERS: tuple[tuple[str, str, Callable[[WorkerStatistics], float]], ...] = (
    ("own_bytes", "Memory of a worker's own.", lambda worker: worker.uss_bytes),
    (
        "shared_bytes",
        "A worker's part of what it shares with others.",
        lambda worker: max(0, worker.pss_bytes - worker.uss_bytes),
    ),
    (
        "promised_bytes",
        "What a worker's requests in flight may still take.",
        lambda worker: worker.promised_bytes,
    ),
    (
        "kept_bytes",
        "What a worker has freed and its allocator kept.",
        lambda worker: worker.kept_bytes,
    ),
    ("requests_in_flight", "Requests that a worker is at.", lambda worker: worker.in_flight),
    (
        "requests_waiting",
        "Requests that wait for memory in a worker.",
        lambda worker: worker.waiting,
    ),
    ("connections", "Connections to a worker.", lambda worker: worker.connections),
    ("age_seconds", "How long a worker has lived.", lambda worker: worker.age_seconds),
)


def server_families(
    now: Statistics, marks: Mapping[str, int], started_unix_seconds: float
) -> Iterator[Family]:
    """Yield what *now* says.

    Args:
        now: the server at this moment.
        marks: the use in bytes at which each level above OK begins, by its name in lower case.
        started_unix_seconds: when the server was started.
    """
    about = (("version", __version__), ("python", platform.python_version()))
    yield gauge("tonnage_build_info", "Versions of Tonnage and of Python.", {about: 1})
    yield gauge(
        "process_start_time_seconds",
        "When the server was started, in seconds since 1970.",
        round(started_unix_seconds, 1),
    )
    yield from _memory(now, marks)
    yield from _level(now.level)
    yield from _done(now)
    yield from _workers(now)
    yield from _jobs(now.jobs)


def _memory(now: Statistics, marks: Mapping[str, int]) -> Iterator[Family]:
    sizes = (
        ("limit", "The memory limit.", now.limit_bytes),
        ("used", "What counts towards the limit.", now.used_bytes),
        ("ceiling", "What requests may bring the use up to.", now.ceiling_bytes),
        ("charged", "What the kernel charges, file cache included.", now.raw_bytes),
        ("promised", "What requests and jobs may still take.", now.reserved_bytes),
    )
    for name, text, size_bytes in sizes:
        yield gauge(f"tonnage_memory_{name}_bytes", text, size_bytes)
    yield gauge(
        "tonnage_memory_used_ratio",
        "The use as a share of the limit.",
        round(now.used_bytes / max(1, now.limit_bytes), 4),
    )
    yield gauge(
        "tonnage_memory_held_bytes",
        "Who holds memory; with what is free it adds up to the limit.",
        _by("holder", tank_of(now)),
    )
    yield gauge("tonnage_memory_mark_bytes", "The use at which a level begins.", _by("mark", marks))
    yield gauge(
        "tonnage_memory_blind", "1 while the use of memory cannot be measured.", now.is_blind
    )


def _level(level: Level) -> Iterator[Family]:
    yield gauge("tonnage_level", "0 OK, 1 WARNING, 2 CRITICAL, 3 EXHAUSTED.", int(level))
    yield gauge(
        "tonnage_level_state",
        "1 for the level of memory that it is at.",
        _by("level", {each.name: int(each is level) for each in Level}),
    )


def _done(now: Statistics) -> Iterator[Family]:
    counts = (
        ("kernel_kills", "Processes that the kernel killed for want of memory.", now.kernel_kills),
        ("reclaims", "How often memory was collected.", now.reclaims),
        ("reclaimed_bytes", "What collecting has brought back.", now.reclaimed_bytes),
        ("recycles", "Workers that were replaced.", now.recycles),
        ("recycled_bytes", "What replacing workers has brought back.", now.recycled_bytes),
    )
    for name, text, count in counts:
        yield counter(f"tonnage_{name}_total", text, count)
    yield counter(
        "tonnage_worker_deaths_total",
        "Workers that ended, or had to be ended, unasked, by cause.",
        _by("why", now.deaths),
    )


def _workers(now: Statistics) -> Iterator[Family]:
    found = Counter(_state(worker) for worker in now.workers)
    states = {state: found[state] for state in _STATES}
    yield gauge("tonnage_workers", "Workers, by state.", _by("state", states))
    yield gauge("tonnage_workers_desired", "How many there are to be.", now.desired_workers)
    yield gauge("tonnage_workers_planned", "How many there were to be.", now.planned_workers)
    yield gauge(
        "tonnage_requests_in_flight",
        "Requests that the workers are at.",
        sum(worker.in_flight for worker in now.workers),
    )
    yield gauge(
        "tonnage_requests_waiting",
        "Requests that wait for memory.",
        sum(worker.waiting for worker in now.workers),
    )
    for name, text, value in _WORKERS:
        values = {f"{worker.index}": round(value(worker), 1) for worker in now.workers}
        yield gauge(f"tonnage_worker_{name}", text, _by("worker", values))


def _state(worker: WorkerStatistics) -> str:
    return "stuck" if worker.is_stuck else WorkerState(worker.state).name.lower()


def _jobs(jobs: JobStatistics) -> Iterator[Family]:
    states = {"running": jobs.running, "waiting": jobs.waiting, "idle": jobs.idle}
    yield gauge("tonnage_jobs", "Isolated jobs, by state.", _by("state", states))
    yield gauge("tonnage_jobs_held_bytes", "What jobs hold.", jobs.held_bytes)
    yield gauge("tonnage_jobs_promised_bytes", "What jobs may still take.", jobs.promised_bytes)
    yield counter("tonnage_jobs_started_total", "Jobs that have begun.", jobs.started)
    outcomes = ("done", "failed", "refused", "timed_out", "killed")
    ends = {outcome: getattr(jobs, outcome) for outcome in outcomes}
    yield counter(
        "tonnage_job_outcomes_total", "Jobs that have ended or were refused.", _by("outcome", ends)
    )


def _by(name: str, values: Mapping[str, float]) -> dict[Labels, float]:
    return {((name, value),): number for value, number in values.items()}
