"""Where workers come from: the zygote, or a fork of the supervisor where that is not safe.

Owns the zygote. A zygote that dies is replaced; until its successor has imported the application,
no worker can be made, and those that run go on.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from tonnage.errors import TonnageError
from tonnage.server.channel import Channel
from tonnage.server.zygote import Zygote, fork_into

if TYPE_CHECKING:
    from tonnage.server.assignment import Assignment

logger = logging.getLogger("tonnage.supervisor")


class Nursery:
    """Makes workers for a given assignment."""

    def __init__(self, assignment: Assignment, *, preload: bool) -> None:
        self.assignment = assignment
        self.preload = preload
        self.why_not: str | None = None
        self._zygote: Zygote | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Import the application once, if workers are to share it.

        Raises:
            TargetError: the application was not found or is none.
            WorkerError: its own code failed, or took too long.
        """
        if not self.preload:
            return
        zygote = Zygote.start(self.assignment)
        zygote.await_ready(self.assignment.settings.process.start_seconds)
        self.why_not = zygote.why_not
        if zygote.why_not is not None:
            self.preload = False
            zygote.stop()
            return
        self._zygote = zygote

    @property
    def zygote(self) -> Zygote | None:
        """The zygote, if there is one."""
        return self._zygote

    def pid(self) -> int | None:
        """Return the zygote's process id, if there is one."""
        return self._zygote.pid if self._zygote else None

    def spawn(self, index: int) -> Channel | None:
        """Start a worker for slot *index*; return the channel to it, None if this cannot be now."""
        assignment = replace(self.assignment, index=index)
        if not self.preload:
            return _fork_plainly(assignment)
        return self._zygote.fork(assignment) if self._zygote else None

    def ended(self, pid: int) -> bool:
        """Note that *pid* ended; return whether it was the zygote, which is then replaced."""
        if self._zygote is None or pid != self._zygote.pid:
            return False
        self._zygote.stop()
        self._zygote = None
        if self._is_stopping:
            return True
        logger.error("the zygote (pid %d) ended; importing the application anew", pid)
        try:
            self.start()
        except TonnageError as error:
            logger.error("workers start without a zygote from now on: %s", error)
            self.preload = False
        return True

    def stop(self) -> None:
        """End the zygote."""
        self._is_stopping = True
        if self._zygote is not None:
            self._zygote.stop()


def _fork_plainly(assignment: Assignment) -> Channel:
    from tonnage.server.worker import run_worker

    ours, theirs = Channel.pair()
    fork_into(lambda: run_worker(assignment, theirs, None), close=ours)
    theirs.close()
    return ours
