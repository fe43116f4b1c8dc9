"""Jobs that are done on other machines: handed to a task queue, as ``TONNAGE_JOBS`` says.

    way = transport()                     # None: jobs are done on this machine
    result = await way.run(call, args, kwargs)

The queue is SAQ's, in Redis (:mod:`tonnage.jobs.queue.saqueue`): of those that are kept well it
costs a web worker least. ``tonnage jobs`` takes them from there. All of it is loaded when it is
first needed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tonnage.jobs.settings import current

if TYPE_CHECKING:
    from tonnage.jobs.queue.figures import QueueStatistics
    from tonnage.jobs.queue.producer import QueueTransport

# In the environment of a worker of the queue, for the processes of its jobs.
_SERVES: Final = "_TONNAGE_SERVES_QUEUE"

_transport: QueueTransport | None = None


def transport() -> QueueTransport | None:
    """Return this process's way to the task queue; None: its jobs are done on this machine.

    Raises:
        ConfigError: TONNAGE_JOBS makes no sense, or a package is missing.
    """
    global _transport  # one for a process
    if _transport is None:
        if _SERVES in os.environ:
            return None
        settings = current()
        if settings.jobs is None:
            return None
        from tonnage.jobs.queue.producer import QueueTransport

        _transport = QueueTransport(settings)
    return _transport


def serve_queue() -> None:
    """Note that this process and those that it starts do jobs of the queue themselves."""
    os.environ[_SERVES] = "1"


def statistics() -> QueueStatistics | None:
    """Return what this process has handed to the task queue; None: nothing yet."""
    return _transport.statistics() if _transport is not None else None


def _after_fork() -> None:
    global _transport  # its connections are the parent's
    _transport = None


os.register_at_fork(after_in_child=_after_fork)
