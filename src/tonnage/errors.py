"""Every error that Tonnage raises on purpose.

* TonnageError
  x UsageError             what the user asked for cannot be done as written (exit status 2)
    + ConfigError          an option, variable or file holds something that makes no sense
    + TargetError          MODULE:ATTR does not lead to an application
    + ListenError          the address cannot be listened on
    + PlanError            the processes asked for do not fit into the memory limit
  x WorkerError            a worker or the zygote could not be started or did not stay up
  x ActionError            a running server refuses what it is asked to do, or cannot be reached
  x StoreError             a cache, a writer or a spool cannot do what it was asked for
    + RecordsRejectedError a sink cannot take these records, now or later: one of them is at fault
    + WriterFullError      a writer's buffer or spool has no room for a record
    + WriterClosedError    a writer takes no more records
    + SpoolError           the disk does not take what is to be kept there
    + RedisAwayError       Redis does not answer, or not in time; it may have done what it was asked
  x DatabaseError          a database cannot be asked, or not in this way
    + DatabaseAwayError    it does not answer; also a refusal: the request gets 503
    + PoolBusyError        no connection came free in time; also a refusal: 503
    + PageCursorError      the client's cursor cannot be used for this list; a refusal: 400
    + ResultTooLargeError  a query would load more than it may at once
  x JobError               an isolated job has given no result
    + JobRaisedError       its function raised what cannot be passed on
    + JobEndedError        its process ended before it was done
      = JobAbandonedError  by us, since nobody waits for its request any more; also a refusal
    + JobMemoryError       it needed more memory than it may have
    + JobTimeoutError      it took too long; also a refusal: the request gets 504
    + JobBusyError         it did not get its turn in time; a refusal: 503 with Retry-After
    + JobTooLargeError     what it passes in or out is too large, or it can never fit
  x RequestRefusedError    a request breaks a limit; raised in the application while it is served
    + MemoryShortError     memory that a request was about to take did not come free: 503
    + ModelError           a model is not there, or is not what it should be: 503
    + ImageRefusedError    a file is no picture, damaged, or would become too large: 413, 415, 422

A message is one line that says what is wrong and what to do about it: the command line prints it
as it is, without a traceback.
"""

from __future__ import annotations

# As type checkers know it: `tonnage --help` needs no more of ``typing``, which takes 3 ms.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from tonnage.problem import Problem


class TonnageError(Exception):
    """The base of all errors raised by Tonnage."""


class UsageError(TonnageError):
    """The request cannot be carried out as written; the command ends with exit status 2."""


class ConfigError(UsageError):
    """An option, environment variable or configuration file holds a value that makes no sense."""


class TargetError(UsageError):
    """``MODULE:ATTR`` does not lead to an ASGI or WSGI application."""


class ListenError(UsageError):
    """The address cannot be listened on: in use, not ours, or not permitted."""


class PlanError(UsageError):
    """What was asked for does not fit into the memory limit; the message holds the sum."""


class WorkerError(TonnageError):
    """A worker, or the zygote that makes them, did not start or did not stay up."""


class ActionError(TonnageError):
    """A running server refuses what it was asked to do, and says why, or it cannot be reached."""


class StoreError(TonnageError):
    """A cache, a writer or a spool cannot do what it was asked for."""


class RecordsRejectedError(StoreError):
    """A sink cannot take these records, now or later; of several, one at least is at fault."""


class WriterFullError(StoreError):
    """A writer has no room for a record, in memory or on disk; it was not taken."""


class WriterClosedError(StoreError):
    """A writer takes no more records, since it is closed or the process ends."""


class SpoolError(StoreError):
    """The disk does not take what is to be kept there: it fails, is gone, or is only memory."""


class RedisAwayError(StoreError):
    """Redis does not answer, or not in time, or too many wait for it already."""


class RequestRefusedError(TonnageError):
    """A request breaks a limit. If an application lets it out, its problem is the answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        #: What the client is told, with status and headers.
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        # As it was made: an isolated job raises it in another process.
        return type(self), (self.problem,), self.__dict__


class MemoryShortError(RequestRefusedError):
    """Memory that a request was about to take did not come free in time; answered with 503."""


class DatabaseError(TonnageError):
    """A database cannot be asked, or not in this way."""


class DatabaseAwayError(DatabaseError, RequestRefusedError):
    """A database does not answer; a request that lets this out is answered with 503."""


class PoolBusyError(DatabaseError, RequestRefusedError):
    """Every connection of a pool is in use, and none came free in time; answered with 503."""


class PageCursorError(DatabaseError, RequestRefusedError):
    """The cursor that a client sent cannot be used for this list; answered with 400."""


class ResultTooLargeError(DatabaseError):
    """A query would load more rows, or larger ones, than it may at once; it was stopped."""


class JobError(TonnageError):
    """An isolated job has given no result."""


class JobRaisedError(JobError):
    """The job's function raised an error that cannot be passed on as it is; the message has it."""


class JobEndedError(JobError):
    """The job's process ended before it was done: by a signal, by ``os._exit``, by the kernel."""


class JobAbandonedError(JobEndedError, RequestRefusedError):
    """Nobody waits for the job's request any more: its client has gone, or was answered."""


class JobMemoryError(JobError):
    """The job needed more memory than it may have; the server was not affected."""


class JobTimeoutError(JobError, RequestRefusedError):
    """The job took too long and was ended; a request that lets this out is answered with 504."""


class JobBusyError(JobError, RequestRefusedError):
    """The job did not get its turn in time, or too many wait; answered with 503."""


class JobTooLargeError(JobError):
    """What the job passes in or out is too large, or its memory can never be had here."""


class ModelError(RequestRefusedError):
    """A model is not there or is not what it should be; the message says how to get it.

    That is for whoever runs the server; a client is answered with 503, and told no paths.
    """

    def __init__(self, message: str) -> None:
        from tonnage.problem import Problem

        super().__init__(
            Problem(
                503,
                "model_missing",
                "the server cannot do this just now: its operator has to install a model",
            )
        )
        self.args = (message,)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, self.__dict__


class ImageRefusedError(RequestRefusedError):
    """A file is no picture, is damaged, or would become too large; answered with its problem."""
