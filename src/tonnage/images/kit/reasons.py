"""Why a job has failed, as its client is told; pure.

A client is told what is for it to know: what is wrong with its photo, and whether to try again.
What is wrong here goes to the log.
"""

from __future__ import annotations

import logging
from typing import Final

from tonnage.errors import JobError, JobMemoryError
from tonnage.problem import Problem, problem_in
from tonnage.units import format_bytes

logger = logging.getLogger("tonnage.images")

#: Nobody could be told how far a job is.
NO_ROOM: Final = Problem(
    507, "no_room_for_results", "results cannot be kept here just now: try again later"
)

_STOPPING: Final = Problem(
    503, "job_lost", "the server was stopped before the picture was made: send the photo again"
)
_TOO_HEAVY: Final = Problem(
    413, "picture_too_heavy", "the photo needs more memory than a job may have: send a smaller one"
)
_SHORT: Final = Problem(
    503, "memory_short", "there is no memory for the picture just now: send the photo again later"
)
_FAILED: Final = Problem(
    500, "job_failed", "the picture could not be made: try another photo, or again later"
)


def reason_of(error: BaseException | None) -> Problem:
    """Return what to say of a job that ended with *error*; None: the process ends."""
    if error is None:
        return _STOPPING
    problem = problem_in(error)
    if problem is not None:
        return problem
    if isinstance(error, JobMemoryError):
        logger.warning("a picture was not made: %s", error)
        return _TOO_HEAVY
    if isinstance(error, MemoryError):
        logger.warning("a picture was not made, since memory is short here: %s", error)
        return _SHORT
    if isinstance(error, JobError):
        # Where its end was heard of says nothing; the supervisor has told why, or reported it.
        logger.error("a picture was not made: %s", error)
        return _FAILED
    logger.error("a picture was not made", exc_info=error)
    return _FAILED


def too_late(seconds: float) -> Problem:
    """Return what to say of a job that has waited for *seconds*."""
    return Problem(503, "jobs_busy", f"it did not get its turn within {seconds:g} s: try again")


def too_large_to_keep(size_bytes: int) -> Problem:
    """Return what to say of a picture of so many bytes, for which there is no room."""
    detail = f"the picture of {format_bytes(size_bytes)} cannot be kept here: ask for a smaller one"
    return Problem(507, "picture_too_large", detail)
