"""What is known when a worker or a program has ended, or a request ran out of memory: just facts.

The supervisor gathers them; what they mean is told by :mod:`tonnage.server.postmortem.cause`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

from tonnage.governor.flight import Flights

if TYPE_CHECKING:
    from tonnage.governor.statistics import Statistics, WorkerStatistics


class KillReason(StrEnum):
    """Why we ended a worker ourselves."""

    BRAKE = "brake"
    OVERDUE_START = "overdue start"
    STOP_DEADLINE = "stop deadline"
    RECYCLE_DEADLINE = "recycle deadline"


@dataclass(frozen=True, slots=True)
class Kill:
    """Why we ended a worker with SIGKILL; the figures are the brake's."""

    reason: KillReason
    # What it had grown by when it was stopped last, and in what time.
    grown_bytes: int = 0
    grown_seconds: float = 0.0
    # In what time free memory would have run out.
    room_seconds: float = 0.0
    # Which of a worker's memory grew; empty: all that a program has resident.
    memory: Literal["private", "shared", ""] = ""


_NOTHING: Final = Flights((), 0)


@dataclass(frozen=True, slots=True)
class Program:
    """A process that the application has started.

    Attributes:
        pid: which.
        name: what it calls itself, 15 characters of it: its arguments may be secret.
        age_seconds: how long it has run; None: unknown.
        is_job: it was the process of an isolated job, and *name* says of which function.
    """

    pid: int
    name: str
    age_seconds: float | None = None
    is_job: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """The facts of a worker's end, gathered before its slot is wiped.

    Or of the end of a program that the worker had started: then all but *program*, *wait_status*
    and *kill* are the worker's, which goes on.

    Attributes:
        worker: the number of its slot; None: it is not known which worker had started *program*.
        pid: its process; None if it ended before it said so.
        wait_status: as ``os.waitpid`` returns it; None if unknown.
        statistics: the tree as the shared page has it, the dead worker still in it.
        age_seconds: since it was asked for.
        kernel_kills: kills by the kernel, counted until now, that no other death has explained;
            None where the kernel's counter cannot be read.
        kills_seconds: how long before this end the counter was seen to have moved; 0: with it.
        rivals: programs that had ended when it moved, and may be what was counted.
        kill: that we ended it ourselves, and why.
        memory_errors: requests that ran out of memory in this worker, from its slot.
        data_limit_bytes: its fuse; 0: none was set.
        failure: what it, or the crew, said of why it did not start.
        in_flight: the requests in its slot.
        program: the program that ended; None: it was the worker itself.
    """

    worker: int | None
    pid: int | None
    wait_status: int | None
    statistics: Statistics
    age_seconds: float = 0.0
    kernel_kills: int | None = 0
    kills_seconds: float = 0.0
    rivals: int = 0
    kill: Kill | None = None
    memory_errors: int = 0
    data_limit_bytes: int = 0
    failure: str | None = None
    in_flight: Flights = _NOTHING
    program: Program | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """A request that ran out of memory in a worker that went on.

    Attributes:
        worker: the number of the worker's slot.
        pid: its process.
        statistics: the tree as the shared page has it.
        route: method and template of the path, ``GET /export``.
        line: where the allocation failed, ``app.py:12 in export``, or ``or below app.py:12 ...``.
        grown_bytes: what the worker had grown by since the request began, as far as known.
        left_bytes: what it could have grown by when the request began.
        was_freed: what the request held was freed before *grown_bytes* was measured.
        answered: the status it was answered with; None or 0: the connection was cut.
        memory_errors: such requests in this worker so far, from its slot.
        data_limit_bytes: the worker's fuse; 0: none was set.
        in_flight: what is in flight in it.
    """

    worker: int
    pid: int | None
    statistics: Statistics
    route: str
    line: str = ""
    grown_bytes: int = 0
    left_bytes: int = 0
    was_freed: bool = False
    answered: int | None = None
    memory_errors: int = 0
    data_limit_bytes: int = 0
    in_flight: Flights = _NOTHING


def figures_of(facts: Death | Incident) -> WorkerStatistics | None:
    """Return what the page has of the worker; None if it never got so far as to write there."""
    workers = facts.statistics.workers
    return next((each for each in workers if each.index == facts.worker), None)
