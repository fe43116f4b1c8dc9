"""What the operations' endpoints answer: health, readiness, memory.

Works on the shared page alone and does no I/O, so that a worker answers over ASGI
(:mod:`tonnage.web.endpoints`) and the supervisor over its own sockets
(:mod:`tonnage.server.frontdesk`) with the same words, also while everything else is refused.

Keys and units of ``/health/memory`` are those that the backends this project comes from already
had; figures in MB (2**20 bytes). For Python they mean:

- ``rss``: PSS of the whole process tree, shared pages counted once;
- ``heapTotal``: the workers' private memory: their USS, or what they hold where that is more;
- ``heapUsed``: of that, what is in use: without what malloc freed but kept;
- ``external``: the rest of ``rss``: mapped files, libraries.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tonnage.governor.books import measured
from tonnage.governor.levels import Level
from tonnage.governor.statistics import read_statistics
from tonnage.ops.answers import answer_json, problem, who_may
from tonnage.units import in_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.answer import Answer
    from tonnage.governor.page import SharedPage
    from tonnage.governor.statistics import JobStatistics, Statistics, WorkerStatistics

_FORBIDDEN = who_may("memory figures are shown")


class Health:
    """The endpoints by path, and once more below *also_below*; *where* says who answers."""

    def __init__(
        self,
        page: SharedPage,
        *,
        path: str = "/health",
        also_below: str = "",
        where: str = "worker",
        worker_index: int | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._page = page
        self._where = where
        self._worker_index = worker_index
        self._clock = clock
        self._paths: dict[str, Callable[[bool], Answer]] = {
            path: self._health,
            f"{path}/ready": self._ready,
            f"{path}/memory": self._memory,
        }
        self._paths |= {also_below + each: answer for each, answer in self._paths.items()}

    @property
    def paths(self) -> frozenset[str]:
        """The paths that are answered here."""
        return frozenset(self._paths)

    def find(self, path: str) -> Callable[[bool], Answer] | None:
        """Return what answers *path*, given whether the asker is trusted; None: not ours."""
        return self._paths.get(path)

    def _statistics(self) -> Statistics:
        return read_statistics(self._page, self._clock())

    def _health(self, trusted: bool) -> Answer:
        now = self._statistics()
        body: dict[str, Any] = {
            "status": now.level.name,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "uptime": round(now.uptime_seconds, 1),
        }
        if trusted:
            body["memory"] = memory_keys(now)
            body["answeredBy"] = self._where
        return answer_json(body)

    def _ready(self, trusted: bool) -> Answer:
        now = self._statistics()
        ready = now.level < Level.EXHAUSTED and not now.is_stopping and now.ready_workers > 0
        body = {"ready": ready, "status": now.level.name, "stopping": now.is_stopping}
        return answer_json(body, 200 if ready else 503)

    def _memory(self, trusted: bool) -> Answer:
        if not trusted:
            return problem(403, "forbidden", _FORBIDDEN)
        now = self._statistics()
        body = {
            "status": now.level.name,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "memory": memory_keys(now),
            "clustering": {
                "enabled": now.planned_workers > 1,
                "isWorker": self._worker_index is not None,
                "workerId": self._worker_index,
            },
            "level": now.level.name,
            "levelSeconds": round(now.level_seconds, 1),
            "used": in_mb(now.used_bytes),
            "measured": now.measured,
            "blind": now.is_blind,
            "ceiling": in_mb(now.ceiling_bytes),
            "reserved": in_mb(now.reserved_bytes),
            "kernelKills": now.kernel_kills,
            "desiredWorkers": now.desired_workers,
            "plannedWorkers": now.planned_workers,
            "jobs": _job_keys(now.jobs),
            "workers": [_worker_keys(worker) for worker in now.workers],
            "ledger": _ledger_keys(now),
            "answeredBy": self._where,
        }
        if now.desired_workers < now.planned_workers:
            body["note"] = _FEWER.format(now.desired_workers, now.planned_workers)
        return answer_json(body)


_FEWER = (
    "{} of {} workers, since recycling did not bring memory back: the others come back with SIGHUP "
    "or a restart; give the server more memory, or fewer workers"
)


def memory_keys(now: Statistics) -> dict[str, Any]:
    """Return what ``memory`` says, in MB; the metrics of the originals have some of it too."""
    rss = now.tree_pss_bytes
    held = sum(max(0, worker.held_bytes) for worker in now.workers)
    kept = sum(worker.kept_bytes for worker in now.workers)
    private = sum(worker.uss_bytes for worker in now.workers)
    total = min(max(held, private), rss) if rss else held
    return {
        "rss": in_mb(rss),
        "heapTotal": in_mb(total),
        "heapUsed": in_mb(max(0, total - kept)),
        "external": in_mb(max(0, rss - total)),
        "limit": in_mb(now.limit_bytes),
        "usagePercent": now.usage_percent,
        "available": in_mb(now.available_bytes),
    }


def _worker_keys(worker: WorkerStatistics) -> dict[str, Any]:
    return {
        "workerId": worker.index,
        "pid": worker.pid,
        "state": "STUCK" if worker.is_stuck else worker.state.name,
        "age": round(worker.age_seconds, 1),
        "pss": in_mb(worker.pss_bytes),
        "uss": in_mb(worker.uss_bytes),
        "held": in_mb(max(0, worker.held_bytes)),
        "promised": in_mb(worker.promised_bytes),
        "kept": in_mb(worker.kept_bytes),
        "inFlight": worker.in_flight,
        "waiting": worker.waiting,
        "connections": worker.connections,
        "requests": worker.requests,
        "refused": worker.refused,
        "waited": worker.waited,
    }


def _job_keys(jobs: JobStatistics) -> dict[str, Any]:
    return {
        "running": jobs.running,
        "waiting": jobs.waiting,
        "idle": jobs.idle,
        "held": in_mb(jobs.held_bytes),
        "promised": in_mb(jobs.promised_bytes),
        "started": jobs.started,
        "done": jobs.done,
        "failed": jobs.failed,
        "refused": jobs.refused,
        "timedOut": jobs.timed_out,
        "killed": jobs.killed,
    }


def _ledger_keys(now: Statistics) -> dict[str, float]:
    """Return the books: the lines add up to what is charged (or measured, without a cgroup)."""
    # As measured: whoever balances the books wants to know by how much they are out.
    books = measured(now)
    return {
        "supervisor": in_mb(books["supervisor"]),
        "zygote": in_mb(books["zygote"]),
        "workersShared": in_mb(books["workers_shared"]),
        "workersOwn": in_mb(books["workers_own"]),
        "jobs": in_mb(books["jobs"]),
        "unexplained": in_mb(books["unexplained"]),
        "used": in_mb(now.used_bytes),
        "cache": in_mb(now.cache_bytes),
        "charged": in_mb(now.raw_bytes),
    }
