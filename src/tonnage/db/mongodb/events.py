"""What is learnt from PyMongo's events: how many connections there are, and what was slow.

Promises: :class:`Books` counts connections, in all event loops, and has the log say when one is
opened or closed. :class:`Watcher` tells when a server answers. :class:`SlowCommands` notes what an
operation has sent last, in the operation's own context, so that nothing of it is left when it ends,
however that comes. Who waits is counted at the gate (:mod:`tonnage.db.mongodb.gate`): PyMongo does
not tell of a wait that is cancelled.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from pymongo.monitoring import (
    CommandListener,
    ConnectionPoolListener,
    ServerHeartbeatListener,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo import monitoring

    from tonnage.db.guard.slow import SlowQueries
    from tonnage.db.pooling.upkeep import ConnectionLog


#: What the operation that runs here has sent last: its collection, and the keys of its filter.
#: None: nothing yet. The gate takes it back when the operation ends.
under_way: Final[ContextVar[tuple[str, str] | None]] = ContextVar("under_way", default=None)


class Books(ConnectionPoolListener):
    """The books of one pool, over all event loops of this process.

    Args:
        log: says in the log what connections come and go.
        on_idle: called when one has been given back.
    """

    def __init__(self, log: ConnectionLog, on_idle: Callable[[], None]) -> None:
        self._log = log
        self._on_idle = on_idle
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from 0; called in a forked child, whose parent has the connections."""
        # Reentrant: a client that is collected meanwhile closes its connections.
        self._lock = threading.RLock()
        self.opened = self.closed = self.taken = self.timed_out = 0

    @property
    def open(self) -> int:
        """Connections that there are now."""
        return self.opened - self.closed

    def gave_up(self) -> None:
        """Somebody has waited in vain, or was not let in, since too many wait."""
        with self._lock:
            self.timed_out += 1

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        """A connection is being opened."""
        with self._lock:
            self.opened += 1

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """A connection is open."""
        self._log.opened(self.open)

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        """A connection was closed, or could not be opened."""
        with self._lock:
            self.closed += 1
        self._log.closed(self.open)

    def connection_check_out_started(
        self, event: monitoring.ConnectionCheckOutStartedEvent
    ) -> None:
        """Somebody waits for a connection."""

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """There was none for whoever waited; PyMongo may try once more."""

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """A connection was checked out."""
        with self._lock:
            self.taken += 1

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        """A connection was checked in."""
        with self._lock:
            self.taken -= 1
        self._on_idle()

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Nothing is open yet."""

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Its server was found."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Its server was lost; each connection is told of by itself."""

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Its client was closed."""


class Watcher(ServerHeartbeatListener):
    """Tells when a server answers; *answered* is called each time.

    One server's silence says little: others may answer.
    """

    def __init__(self, answered: Callable[[], None]) -> None:
        self._answered = answered

    def started(self, event: monitoring.ServerHeartbeatStartedEvent) -> None:
        """A server is asked."""

    def succeeded(self, event: monitoring.ServerHeartbeatSucceededEvent) -> None:
        """A server has answered."""
        self._answered()

    def failed(self, event: monitoring.ServerHeartbeatFailedEvent) -> None:
        """A server has not answered."""


class SlowCommands(CommandListener):
    """Has commands that took long logged by *slow*, without any value."""

    def __init__(self, slow: SlowQueries) -> None:
        self._slow = slow

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """A command was sent."""
        command: Any = event.command
        name = event.command_name
        which = command.get("collection") if name == "getMore" else command.get(name)
        where = which if isinstance(which, str) else ""
        under_way.set((where, keys(command.get("filter"))))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """A command was answered."""
        begun_seconds = self._slow.now() - event.duration_micros / 1_000_000
        if self._slow.is_slow(begun_seconds):
            which, wanted = under_way.get() or ("", "")
            where = f" {event.database_name}.{which}" if which else ""
            said = f"{event.command_name}{where} {wanted}".rstrip()
            self._slow.note(begun_seconds, said, _documents(event.reply))

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """A command was not answered; whoever sent it has the error."""


def keys(wanted: Any, most: int = 8) -> str:
    """Return the keys of a filter or a sort, without any value: ``{city, starts_at}``."""
    if not wanted or not hasattr(wanted, "keys"):
        return ""
    names = [str(name)[:60] for name in wanted]
    return "{" + ", ".join(names[:most]) + (", ..." if len(names) > most else "") + "}"


def _documents(reply: Any) -> int:
    """Return how many documents came, or were written; below 0: nobody knows."""
    cursor = reply.get("cursor")
    if cursor is None:
        return int(reply.get("n", -1))
    return len(cursor.get("firstBatch", cursor.get("nextBatch", ())))
