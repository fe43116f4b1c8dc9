"""What a worker is told by its supervisor, and what it does about that.

What it is told is in :mod:`tonnage.server.messages`. The channel's end says that the supervisor is
gone: the worker finishes in the time that it would have been given, and ends.

Read in the worker's event loop, a message at a time; nothing here waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING

from tonnage.governor.levels import Level
from tonnage.host import reins
from tonnage.host.processes import descendants
from tonnage.jobs import caller as jobs
from tonnage.ops.caches import clear
from tonnage.server.messages import Adopt, Clear, Reclaim, Stop, Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.server.http import HttpServer
    from tonnage.server.messages import SupervisorChannel
    from tonnage.server.ownfuse import OwnFuse
    from tonnage.server.upkeep import Upkeep

logger = logging.getLogger("tonnage.worker")


class Orders:
    """Carries out what comes over the channel.

    Args:
        channel: to the supervisor.
        upkeep: gives memory back, and follows allocations.
        fuse: this process's.
        server: takes connections over.
        stop: has the worker finish and end.
        stop_seconds: how long that may take once nobody else sees to it.
    """

    def __init__(
        self,
        channel: SupervisorChannel,
        upkeep: Upkeep,
        fuse: OwnFuse,
        server: HttpServer,
        *,
        stop: Callable[[], None],
        stop_seconds: float,
    ) -> None:
        self._channel = channel
        self._upkeep = upkeep
        self._fuse = fuse
        self._server = server
        self._stop = stop
        self._stop_seconds = stop_seconds

    def read(self) -> None:
        """Carry out the next one: the channel has something."""
        try:
            received = self._channel.receive()
        except MemoryError:
            # It is read at the next turn of the loop: the poll tells of it again.
            self._fuse.slacken()
            return
        except EOFError:
            self._on_supervisor_gone()
            return
        if received is None:
            return
        message, fds = received
        match message:
            case Stop():
                self._stop()
            case Reclaim(level, need_bytes, why):
                self._upkeep.reclaim(Level(level), need_bytes, why)
            case Trace(seconds, budget_bytes):
                self._upkeep.trace(seconds, budget_bytes)
            case Clear(name):
                clear(name)
            case Adopt():
                self._adopt(fds)
            case _:
                jobs.on_message(message)

    def _on_supervisor_gone(self) -> None:
        """Finish what has begun and end, in the time that the supervisor would have given."""
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        # Their processes have ended with it.
        jobs.caller().lose("the server has ended")
        self._stop()
        # The kernel ends us then, whatever the application's threads still do.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # 0 would mean for ever.
        signal.setitimer(signal.ITIMER_REAL, max(self._stop_seconds, 0.001))
        for pid in descendants(os.getpid()):
            # One may have been stopped for its growth, and a request may be waiting for it.
            reins.resume(pid)

    def _adopt(self, fds: list[int]) -> None:
        import socket

        for fd in fds:
            connection = socket.socket(fileno=fd)
            connection.setblocking(False)
            task = asyncio.ensure_future(self._server.adopt(connection))
            task.add_done_callback(_log_failure)


def _log_failure(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.warning("a connection that was handed over was lost: %s", task.exception())
