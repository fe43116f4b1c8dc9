"""What a worker is told by its supervisor, and what it does about that.

    stop            finish what has begun, and end
    reclaim         give memory back
    trace           follow what is allocated for a while
    clear           empty caches
    connection      a client's connection, handed over
    job_...         what came of an isolated job
    (end of file)   the supervisor is gone: finish in the time that it would have given, and end

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

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.host.channel import Channel
    from tonnage.server.http import HttpServer
    from tonnage.server.upkeep import Upkeep

logger = logging.getLogger("tonnage.worker")


class Orders:
    """Carries out what comes over the channel.

    Args:
        channel: to the supervisor.
        upkeep: gives memory back, and follows allocations.
        server: takes connections over.
        stop: has the worker finish and end.
        stop_seconds: how long that may take once nobody else sees to it.
    """

    def __init__(
        self,
        channel: Channel,
        upkeep: Upkeep,
        server: HttpServer,
        *,
        stop: Callable[[], None],
        stop_seconds: float,
    ) -> None:
        self._channel = channel
        self._upkeep = upkeep
        self._server = server
        self._stop = stop
        self._stop_seconds = stop_seconds

    def read(self) -> None:
        """Carry out the next one: the channel has something."""
        try:
            received = self._channel.receive()
        except MemoryError:
            # It is read at the next turn of the loop: the poll tells of it again.
            self._upkeep.slacken()
            return
        except EOFError:
            self._on_supervisor_gone()
            return
        if received is None:
            return
        message, fds = received
        if message["kind"] == "stop":
            self._stop()
        elif message["kind"] == "reclaim":
            level = Level(message["level"])
            self._upkeep.reclaim(level, message["need_bytes"], message["why"])
        elif message["kind"] == "trace":
            self._upkeep.trace(message["seconds"], message["budget_bytes"])
        elif message["kind"] == "clear":
            clear(message["name"])
        elif message["kind"] == "connection":
            self._adopt(fds)
        elif message["kind"].startswith("job_"):
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
