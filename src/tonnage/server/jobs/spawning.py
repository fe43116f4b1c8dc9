"""Where the processes of jobs come from: the zygote, or a fresh interpreter where there is none.

A fork of the zygote has the application imported already and begins within milliseconds. A fresh
interpreter (``python -m tonnage.jobs.child``) imports the function's module first; where to look
for it stands in its environment. Nothing here waits.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Protocol

from tonnage.host.forking import fork_into
from tonnage.jobs.messages import JOBS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tonnage.jobs.call import Call
    from tonnage.jobs.messages import JobChannel
    from tonnage.server.nursery import Nursery

logger = logging.getLogger("tonnage.jobs")

_STANDARD: Final = frozenset((0, 1, 2))


class Spawned(NamedTuple):
    """A process: the control channel to it, and its id where that is known already."""

    channel: JobChannel
    pid: int | None


class Spawner(Protocol):
    """Makes processes for jobs."""

    @property
    def generation(self) -> int:
        """Which import of the application the next process has; 0: there is none just now."""

    def renew(self) -> None:
        """Take it that the code is new; processes made before have the old one."""

    def spawn(self, call: Call, data: int) -> Spawned | None:
        """Start a process for *call* with the descriptor *data*; None if this cannot be now."""


class Fresh:
    """Starts a fresh interpreter for each."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Give each process *environment*."""
        self._environment = dict(environment)
        self._generation = 1

    @property
    def generation(self) -> int:
        """How often the code has been said to be new, plus one."""
        return self._generation

    def renew(self) -> None:
        """Take what runs from now on for new code."""
        self._generation += 1

    def spawn(self, call: Call, data: int) -> Spawned | None:
        """Start an interpreter that imports the function's module and calls it."""
        ours, theirs = JOBS.pair()
        control = theirs.fileno()
        pid = None
        try:
            pid = fork_into(lambda: _become(control, self._environment), _STANDARD | {control})
        except OSError as error:
            # The channel tells of a process that has ended before it began.
            logger.error("no process can be started for a job: %s", error.strerror)
        finally:
            theirs.close()
        ours.setblocking(False)
        ours.send(call, fds=(data,))
        return Spawned(ours, pid)


class FromNursery:
    """Forks the nursery's zygote; fresh interpreters where the application is not preloaded."""

    def __init__(self, nursery: Nursery, fresh: Fresh) -> None:
        self._nursery = nursery
        self._fresh = fresh

    @property
    def generation(self) -> int:
        """The zygote's process, or the fresh interpreters' generation."""
        if not self._nursery.preload:
            return self._fresh.generation
        return self._nursery.pid() or 0

    def renew(self) -> None:
        """Take it that the code is new: where there is a zygote, once there is another."""
        self._fresh.renew()

    def spawn(self, call: Call, data: int) -> Spawned | None:
        """Have a process made for *call*."""
        if not self._nursery.preload:
            return self._fresh.spawn(call, data)
        zygote = self._nursery.zygote
        channel = zygote.fork_job(call, data) if zygote is not None else None
        if channel is None:
            return None
        channel.setblocking(False)
        return Spawned(channel, None)


def _become(control: int, environment: dict[str, str]) -> NoReturn:
    os.set_inheritable(control, True)
    arguments = (sys.executable, "-m", "tonnage.jobs.child", str(control))
    os.execve(arguments[0], arguments, environment)
