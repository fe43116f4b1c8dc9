"""What the owner of jobs says of one, as the error that the caller raises. Pure.

A client is told what concerns it; the function, the process and the figures stand in a note beside
the error, for the log.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeVar

from tonnage.errors import (
    JobAbandonedError,
    JobBusyError,
    JobEndedError,
    JobError,
    JobMemoryError,
    JobTimeoutError,
    JobTooLargeError,
)
from tonnage.jobs.messages import JobRefused
from tonnage.problem import Problem

if TYPE_CHECKING:
    from tonnage.jobs.call import Call
    from tonnage.jobs.messages import ToCaller

Refused = TypeVar("Refused", JobBusyError, JobTimeoutError)


#: When a client may come again, where nobody says.
RETRY_AFTER_SECONDS: Final = 5
_BUSY: Final = {
    "queue": "too much work waits already",
    "wait": "the work did not get its turn in time",
    "stopping": "the server stops",
}


def error_of(call: Call, message: ToCaller) -> JobError:
    """Return why *call* has no result, as *message* has it."""
    text = message.text
    if isinstance(message, JobRefused):
        return _refused(call, message.reason, text, message.retry_after_seconds)
    how = message.how
    said = text or f"{call.function} has ended without a result ({how})"
    if how == "deadline":
        return timed_out(call, text)
    if how == "stopping":
        return busy(_BUSY[how], text)
    if how == "abandoned":
        return abandoned(call)
    if how in ("memory", "kernel"):
        return JobMemoryError(said)
    return JobEndedError(said)


def busy(why: str, text: str = "", retry_after_seconds: float | None = None) -> JobBusyError:
    """Return the refusal of a job whose turn does not come, since *why*."""
    seconds = math.ceil(retry_after_seconds or RETRY_AFTER_SECONDS)
    detail = f"{why}: try again in {seconds} s"
    headers = ((b"retry-after", b"%d" % seconds),)
    return _noted(JobBusyError(Problem(503, "jobs_busy", detail, headers=headers)), text)


def timed_out(call: Call, text: str) -> JobTimeoutError:
    """Return the refusal of a job that has taken too long."""
    seconds = call.timeout_seconds
    detail = f"the work was not done within {seconds:g} s, so it was ended: ask for less at once"
    problem = Problem(504, "job_timed_out", detail, {"seconds": seconds})
    return _noted(JobTimeoutError(problem), text or f"it was {call.function}")


def abandoned(call: Call) -> JobAbandonedError:
    """Return why a job was ended whose request is not waited for: a refusal that nobody gets."""
    problem = Problem(499, "client_gone", "nobody waits for the answer any more")
    error = JobAbandonedError(problem)
    error.add_note(f"it was {call.function}")
    return error


def _refused(call: Call, reason: str, text: str, retry_after_seconds: float) -> JobError:
    if reason == "never":
        return JobTooLargeError(text or f"{call.function} can never have its memory here")
    return busy(_BUSY.get(reason, reason), text, retry_after_seconds)


def _noted(error: Refused, text: str) -> Refused:
    if text:
        error.add_note(text)
    return error
