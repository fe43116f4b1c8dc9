"""Where workers come from: the zygote, or a fork of the supervisor where that is not safe.

Owns the zygote. One that dies is replaced; until its successor has imported the application, no
worker can be made, and those that run go on. Nothing here waits but :meth:`Nursery.finish`, which
the supervisor calls once the zygote has something to say.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from tonnage.errors import TonnageError
from tonnage.host.forking import fork_into
from tonnage.server.messages import WORKERS
from tonnage.server.zygote import Zygote

if TYPE_CHECKING:
    from tonnage.server.assignment import Assignment
    from tonnage.server.messages import WorkerChannel

logger = logging.getLogger("tonnage.supervisor")


class Nursery:
    """Makes workers for a given assignment."""

    def __init__(self, assignment: Assignment, *, preload: bool) -> None:
        self.assignment = assignment
        self.preload = preload
        self.why_not: str | None = None
        self.zygote: Zygote | None = None
        # A zygote that is importing.
        self.pending: Zygote | None = None
        # Zygotes that were told to end and have not been heard of yet: one for each import.
        self._retired: set[int] = set()
        # One that has ended while it imported, until finish() is told so.
        self._failed_pid: int | None = None

    @property
    def is_missing(self) -> bool:
        """Whether there should be a zygote, and there is none, not even one that is importing."""
        return self.preload and self.zygote is None and self.pending is None

    def begin(self, *, beside: bool = False) -> Zygote | None:
        """Begin to import the application in a new zygote, if workers share it; return it.

        *beside*: the present zygote goes on until the new one is ready, or for good if that fails.

        Raises:
            WorkerError: the system has no process left, or no descriptor.
        """
        if not self.preload:
            return None
        self._retire(pending_only=beside)
        self.pending = Zygote.start(self.assignment)
        return self.pending

    def finish(self) -> None:
        """Wait until the application is imported.

        Raises:
            TargetError: the application was not found or is none.
            WorkerError: its own code failed, or took too long.
        """
        zygote, self.pending = self.pending, None
        if zygote is None:
            return
        try:
            zygote.await_ready(self.assignment.settings.process.start_seconds)
        except TonnageError:
            self._end(zygote)
            raise
        self.why_not = zygote.why_not
        if self.zygote is not None:
            self._end(self.zygote)
            self.zygote = None
        if zygote.why_not is None:
            self.zygote = zygote
        else:
            self.preload = False
            self._end(zygote)

    def pid(self) -> int | None:
        """Return the zygote's process id, if there is one."""
        return self.zygote.pid if self.zygote else None

    def spawn(self, index: int) -> WorkerChannel | None:
        """Start a worker for slot *index*; return the channel to it, None if this cannot be now."""
        assignment = replace(self.assignment, index=index)
        try:
            if not self.preload:
                return _fork_plainly(assignment)
            return self.zygote.fork(assignment) if self.zygote else None
        except OSError as error:
            logger.error("no process can be started for a worker: %s", error.strerror)
            return None  # no descriptor is left for a channel

    def ended(self, pid: int) -> bool:
        """Note that *pid* ended; return whether it was a zygote."""
        if pid in self._retired:
            self._retired.discard(pid)
        elif self.zygote is not None and pid == self.zygote.pid:
            logger.error("the zygote (pid %d) ended; importing the application anew", pid)
            self.zygote.stop()
            self.zygote = None
        else:
            # One that was importing: finish() hears of it through the channel.
            is_pending = self.pending is not None and pid == self.pending.pid
            if is_pending:
                self._failed_pid = pid
            return is_pending
        return True

    def end_overdue(self, now_seconds: float) -> None:
        """End an import that takes too long; :meth:`finish` then says so."""
        limit = self.assignment.settings.process.start_seconds
        if self.pending is not None and now_seconds - self.pending.begun_seconds > limit:
            logger.error("importing the application took more than %g s", limit)
            self.pending.kill()

    def stop(self) -> None:
        """End the zygote, and the one that is importing."""
        self.preload = False
        self._retire()

    def _retire(self, *, pending_only: bool = False) -> None:
        if self.pending is not None:
            self._end(self.pending)
        if self.zygote is not None and not pending_only:
            self._end(self.zygote)
            self.zygote = None
        self.pending = None

    def _end(self, zygote: Zygote) -> None:
        if zygote.pid == self._failed_pid:
            # It has ended, and its number may be another process's by now.
            self._failed_pid = None
            zygote.channel.close()
            return
        self._retired.add(zygote.pid)
        zygote.stop()


def _fork_plainly(assignment: Assignment) -> WorkerChannel:
    from tonnage.server.worker import run_worker

    ours, theirs = WORKERS.pair()
    kept = assignment.kept_descriptors(theirs)
    try:
        fork_into(lambda: run_worker(assignment, theirs, None), kept)
    except OSError as error:
        # The channel tells of a worker that has ended before it began.
        logger.error("no process can be started for a worker: %s", error.strerror)
    finally:
        theirs.close()
    return ours
