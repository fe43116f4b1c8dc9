"""The truth about this server at one moment, as a frozen record.

The same record feeds the health endpoints, the log, metrics, the live page and the tests. It is
read from the shared page alone, so any process of the tree can make it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from tonnage.governor.levels import Level
from tonnage.host.measures import MEASURES

if TYPE_CHECKING:
    from tonnage.governor.page import Header, SharedPage, Slot

NANOSECONDS = 1_000_000_000

# A worker whose event loop has not turned for so long is stuck in a synchronous call.
STUCK_SECONDS = 1.0

#: Why a worker can have died: the values of :class:`tonnage.server.postmortem.cause.Cause` that end
#: one, and where no report could be made. The page holds the index.
DEATHS = (
    "oom",
    "brake",
    "crash",
    "failed-allocation",
    "exit",
    "signal",
    "not-started",
    "deadline",
    "unknown",
)


class WorkerState(IntEnum):
    """Where a worker is in its life."""

    STARTING = 0
    READY = 1
    DRAINING = 2


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """One worker: sizes in bytes, times in seconds."""

    index: int
    pid: int
    state: WorkerState
    age_seconds: float
    quiet_seconds: float
    pss_bytes: int
    uss_bytes: int
    held_bytes: int
    promised_bytes: int
    kept_bytes: int
    taken_bytes: int
    in_flight: int
    waiting: int
    connections: int
    requests: int
    refused: int
    waited: int

    @property
    def is_stuck(self) -> bool:
        """Whether its event loop has stopped turning."""
        return self.state is not WorkerState.STARTING and self.quiet_seconds > STUCK_SECONDS


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """Isolated jobs, of all workers together; counts are since the start of the server.

    Attributes:
        running: how many run.
        waiting: how many wait for their turn.
        idle: processes kept warm for the next call of their function.
        held_bytes: what all their processes hold of their own.
        promised_bytes: what running ones may still take.
        started: how many have begun.
        done: how many have given a result, or an error of their function's.
        failed: how many ended otherwise: out of memory, or by an exit.
        refused: how many were not begun.
        timed_out: how many took too long.
        killed: how many were ended by a signal or by the kernel.

    Those broken off, since nobody waited any more or the server stopped, are in *started* alone.
    """

    running: int
    waiting: int
    idle: int
    held_bytes: int
    promised_bytes: int
    started: int
    done: int
    failed: int
    refused: int
    timed_out: int
    killed: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """The whole tree: sizes in bytes, times in seconds."""

    level: Level
    level_seconds: float
    used_bytes: int
    measured: str
    limit_bytes: int
    ceiling_bytes: int
    raw_bytes: int
    cache_bytes: int
    others_bytes: int
    workers_own_bytes: int
    supervisor_pss_bytes: int
    zygote_pss_bytes: int
    uptime_seconds: float
    kernel_kills: int
    reclaims: int
    reclaimed_bytes: int
    recycles: int
    recycled_bytes: int
    is_blind: bool
    is_stopping: bool
    desired_workers: int
    # More than desired: recycling was given up, and there is a worker less.
    planned_workers: int
    jobs: JobStatistics
    # Since the start of the server, by workers that have ended too.
    requests: int
    refused: int
    waited: int
    # By cause, of DEATHS: workers that ended, or had to be ended, though nobody had asked for it.
    deaths: dict[str, int]
    workers: tuple[WorkerStatistics, ...]

    @property
    def available_bytes(self) -> int:
        """What is left to the limit."""
        return max(0, self.limit_bytes - self.used_bytes)

    @property
    def usage_percent(self) -> float:
        """Use as a share of the limit."""
        return round(100 * self.used_bytes / max(self.limit_bytes, 1), 1)

    @property
    def tree_pss_bytes(self) -> int:
        """What all our processes hold, shared pages counted once."""
        own = self.supervisor_pss_bytes + self.zygote_pss_bytes + self.jobs.held_bytes
        return own + sum(worker.pss_bytes for worker in self.workers)

    @property
    def reserved_bytes(self) -> int:
        """What requests in flight and jobs have been promised beyond what they hold."""
        requests = sum(worker.promised_bytes for worker in self.workers)
        return requests + self.jobs.promised_bytes

    @property
    def ready_workers(self) -> int:
        """How many workers accept requests."""
        return sum(worker.state is WorkerState.READY for worker in self.workers)


def read_statistics(page: SharedPage, now_nanoseconds: int) -> Statistics:
    """Return the statistics in *page*; *now_nanoseconds* is the monotonic clock."""
    header = page.header
    workers = tuple(_worker(slot, now_nanoseconds) for slot in page.live_slots())
    return Statistics(
        level=Level(header.level),
        level_seconds=(now_nanoseconds - header.level_since_nanoseconds) / NANOSECONDS,
        used_bytes=header.used_bytes,
        measured=MEASURES[header.measured_how],
        limit_bytes=header.limit_bytes,
        ceiling_bytes=header.ceiling_bytes,
        raw_bytes=header.raw_bytes,
        cache_bytes=header.cache_bytes,
        others_bytes=header.others_bytes,
        workers_own_bytes=header.workers_own_bytes,
        supervisor_pss_bytes=header.supervisor_pss_bytes,
        zygote_pss_bytes=header.zygote_pss_bytes,
        uptime_seconds=(now_nanoseconds - header.started_nanoseconds) / NANOSECONDS,
        kernel_kills=header.kernel_kills,
        reclaims=header.reclaims,
        reclaimed_bytes=header.reclaimed_bytes,
        recycles=header.recycles,
        recycled_bytes=header.recycled_bytes,
        is_blind=bool(header.blind),
        is_stopping=bool(header.stopping),
        desired_workers=header.desired_workers,
        planned_workers=header.planned_workers,
        jobs=_jobs(header),
        requests=header.ended_requests + sum(worker.requests for worker in workers),
        refused=header.ended_refused + sum(worker.refused for worker in workers),
        waited=header.ended_waited + sum(worker.waited for worker in workers),
        deaths=dict(zip(DEATHS, header.deaths(), strict=True)),
        workers=workers,
    )


def _jobs(header: Header) -> JobStatistics:
    return JobStatistics(
        running=header.jobs_running,
        waiting=header.jobs_waiting,
        idle=header.jobs_idle,
        held_bytes=header.jobs_held_bytes,
        promised_bytes=max(0, header.jobs_committed_bytes - header.jobs_held_bytes),
        started=header.jobs_started,
        done=header.jobs_done,
        failed=header.jobs_failed,
        refused=header.jobs_refused,
        timed_out=header.jobs_timed_out,
        killed=header.jobs_killed,
    )


def _worker(slot: Slot, now_nanoseconds: int) -> WorkerStatistics:
    # A roll-up is some seconds old; private memory that came since is all the worker's own.
    since = 0
    if slot.rolled_up_private_bytes:
        since = slot.baseline_bytes + slot.held_bytes - slot.rolled_up_private_bytes
    return WorkerStatistics(
        index=slot.index,
        pid=slot.pid,
        state=_state(slot.state),
        age_seconds=(now_nanoseconds - slot.started_nanoseconds) / NANOSECONDS,
        quiet_seconds=max(0, now_nanoseconds - slot.heartbeat_nanoseconds) / NANOSECONDS,
        pss_bytes=max(0, slot.pss_bytes + since),
        uss_bytes=max(0, slot.uss_bytes + since),
        held_bytes=slot.held_bytes,
        promised_bytes=slot.promised_bytes,
        kept_bytes=slot.kept_bytes,
        taken_bytes=slot.taken_bytes,
        in_flight=slot.in_flight,
        waiting=slot.waiting,
        connections=slot.connections,
        requests=slot.requests,
        refused=slot.refused,
        waited=slot.waited,
    )


def _state(word: int) -> WorkerState:
    # A worker that crashed may have written anything into its slot.
    return WorkerState(word) if word in set(WorkerState) else WorkerState.STARTING
