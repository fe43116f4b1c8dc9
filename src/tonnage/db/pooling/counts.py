"""What one pool has counted: connections, who went without one, and what its server says.

Promises: numbers are those of this process, in threads too; the log has a line of what comes and
goes (:class:`~tonnage.db.pooling.upkeep.ConnectionLog`). Asks no server.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tonnage.db.pooling.upkeep import ConnectionLog


class Counts:
    """The counts of one pool.

    Args:
        log: says what connections come and go.
        count_every_seconds: how old what the server says may become.
    """

    def __init__(self, log: ConnectionLog, count_every_seconds: float) -> None:
        self._log = log
        self._count_every_seconds = count_every_seconds
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from 0; called in a forked child."""
        self._lock = threading.Lock()
        self.opened = self.closed = self.timed_out = 0
        #: Connections of everybody, as the server said last; None: it has not.
        self.server_connections: int | None = None
        self._asked_seconds = float("-inf")

    @property
    def open(self) -> int:
        """Connections that there are now."""
        return self.opened - self.closed

    @property
    def are_old(self) -> bool:
        """Whether it is time to ask the server again."""
        return time.monotonic() - self._asked_seconds >= self._count_every_seconds

    def came(self) -> None:
        """Count a connection that was opened."""
        with self._lock:
            self.opened += 1
        self._log.opened(self.open)

    def went(self) -> None:
        """Count one that was closed."""
        with self._lock:
            self.closed += 1
        self._log.closed(self.open)

    def gave_up(self) -> None:
        """Count somebody who has waited in vain, or was turned away."""
        with self._lock:
            self.timed_out += 1

    def asked(self, server_connections: int | None) -> None:
        """Note what the server has said; None: nothing, and what it said before stands."""
        if server_connections is not None:
            self.server_connections = server_connections
        self._asked_seconds = time.monotonic()
