"""What is said of jobs: by whoever asks for one, by the owner of all, and by a job's process.

The owner is the supervisor, or a process of its own where there is none
(:mod:`tonnage.jobs.outside`). The job's data go past it, over a socket that comes along with the
call: what the function is called with, and its result (:mod:`tonnage.jobs.wire`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tonnage.host.channel import Channel, Dialogue
from tonnage.jobs.call import Call

# From a caller to the owner.


@dataclass(frozen=True, slots=True)
class JobAsked:
    """Have *call* run; the process's end of the data socket comes along."""

    #: What the caller calls it, from 1 on.
    id: int
    call: Call


@dataclass(frozen=True, slots=True)
class JobCancelled:
    """Nobody waits for it any more."""

    id: int


# From the owner to a caller: one of these is the last word on each job.


@dataclass(frozen=True, slots=True)
class JobRefused:
    """It does not run; *reason* is one of :class:`tonnage.jobs.decisions.Refusal`."""

    id: int
    reason: str
    text: str
    retry_after_seconds: float


@dataclass(frozen=True, slots=True)
class JobEnded:
    """It has ended; *how* is as in :class:`tonnage.server.jobs.ends.End`."""

    id: int
    how: str
    text: str = ""


# From the owner to a job's process: a Call, with the data socket, or that there will be none.


@dataclass(frozen=True, slots=True)
class Finish:
    """Let the kept process end by itself."""


# From a job's process to the owner.


@dataclass(frozen=True, slots=True)
class Forked:
    """It is process *pid*."""

    pid: int


@dataclass(frozen=True, slots=True)
class Begins:
    """It is process *pid*, and about to call the function."""

    pid: int


@dataclass(frozen=True, slots=True)
class Over:
    """The call is over.

    Attributes:
        how: as the owner's answer has it.
        text: a sentence for people; empty where it went well.
        peak_bytes: the most that the process has held.
        is_idle: it waits for the next call; else it ends.
    """

    how: str
    text: str
    peak_bytes: int
    is_idle: bool


FromCaller = JobAsked | JobCancelled
ToCaller = JobRefused | JobEnded
ToJob = Call | Finish
FromJob = Forked | Begins | Over

#: Between a caller and an owner that it has started.
OWNERS: Final[Dialogue[FromCaller, ToCaller]] = Dialogue(FromCaller, ToCaller)
#: Between the owner and a job's process.
JOBS: Final[Dialogue[ToJob, FromJob]] = Dialogue(ToJob, FromJob)

#: Where the owner reaches a caller, whatever else is said there.
CallerChannel = Channel[ToCaller, object]
#: Where it reaches a job's process, and the other end of that.
JobChannel = Channel[ToJob, FromJob]
OwnerChannel = Channel[FromJob, ToJob]
