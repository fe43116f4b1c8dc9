"""All connections of a worker: looked at from time to time, and counted.

Promises that a connection is ended soon after its time is up and never before; that there are no
more connections, and no more bytes of unfinished heads, than the limits allow; that cutting a
thousand clients is one line in the log.

Does not: know what a connection is in the middle of (:mod:`tonnage.server.protocol`), nor what the
limits are (:mod:`tonnage.server.connections`).

A sweep takes 0.3 us a connection, twice a second. A timer that is set and cancelled with every
request, as uvicorn has it, takes more than that for each request.
"""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from tonnage.server.connections import HEADS_BYTES, MOST_EXTRA, Cut, idle_seconds
from tonnage.server.protocol import Connection
from tonnage.web.path.heads import Head

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from tonnage.governor.page import Header
    from tonnage.ops.figures.counting import Counting
    from tonnage.problem import Shape
    from tonnage.server.connections import Limits
    from tonnage.web.path.cors import Cors
    from tonnage.web.respond import Scope

logger = logging.getLogger("tonnage.worker")

LOG_SECONDS: Final = 10.0
# Looking for who goes costs a walk over all, so room is made for several at a time.
_ROOM_SHARE: Final = 1 / 16
# Nothing that is refused here has permitted anything by itself.
_BARE: Final = Head(())


class Sweeper:
    """Looks after the connections of one worker."""

    def __init__(
        self,
        limits: Limits,
        connections: set[asyncio.Protocol],
        *,
        header: Header,
        health_path: str,
        shape: Shape | None,
        cors: Cors | None,
        counting: Counting,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            limits: what clients are held to.
            connections: the server's set of open connections; those of WebSockets are in it too,
                count, and are left alone.
            header: of the shared page, which tells how short memory is.
            health_path: what is served even beyond the limit on connections.
            shape: the application's own shape of refusals; None: it has none.
            cors: which pages of other sites may read refusals; None: that is nobody's affair here.
            counting: counts the requests.
            clock: monotonic seconds.
        """
        self.limits = limits
        self.counting = counting
        self.shape = shape
        #: The time as clients have it: it stands still while this process does not get to read.
        self.now_seconds = 0.0
        #: What unfinished heads hold, all together.
        self.heads_bytes = 0
        #: Connections ended that did not ask for it, by reason, since the start.
        self.cuts: Counter[Cut] = Counter()
        self._connections = connections
        self._header = header
        self._health_path = health_path
        self._cors = cors
        self._clock = clock
        self._swept_at_seconds = clock()
        self._logged_at_seconds = -math.inf
        self._logged: Counter[Cut] = Counter()
        #: Connections since the start.
        self.welcomed = 0

    def tick(self) -> None:
        """Sweep if it is time; to be called ten times a second or so."""
        now = self._clock()
        elapsed, every = now - self._swept_at_seconds, self.limits.sweep_seconds
        if elapsed < every:
            return
        self._swept_at_seconds = now
        # A loop that was stuck, or a process that was stopped, has not made its clients slow.
        self.now_seconds += min(elapsed, 2 * every)
        self._sweep()
        if now - self._logged_at_seconds >= LOG_SECONDS and self.cuts != self._logged:
            self._logged_at_seconds = now
            self._log()

    def welcome(self, connection: Connection) -> None:
        """Serve a new connection, or make room for it, or turn it away."""
        self.welcomed += 1
        connection.serial = self.welcomed
        over = len(self._connections) - self.limits.most_connections
        if over <= 0:
            return
        over -= self._make_room(connection)
        if over > MOST_EXTRA:
            self.count(Cut.CROWD)
            self._connections.discard(connection)
            connection.turn_away()
        elif over > 0:
            connection.serve_only(self._health_path)

    def bound_heads(self) -> None:
        """Cut those that have been at their heads longest, if heads hold too much."""
        if self.heads_bytes <= HEADS_BYTES:
            return
        unfinished = [each for each in self._ours() if each.is_in_head]
        for connection in sorted(unfinished, key=_age):
            if self.heads_bytes <= HEADS_BYTES * 3 // 4:
                break
            self._cut(connection, Cut.CROWD)

    def count(self, why: Cut) -> None:
        """Count a connection that ends for *why*."""
        self.cuts[why] += 1

    def permitting(self, scope: Scope | None) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that let the page that asked read a refusal.

        *scope* is its request, as far as it was read; None: not at all.
        """
        return () if self._cors is None else self._cors.due(scope or {"headers": ()}, _BARE)

    def _sweep(self) -> None:
        idle = idle_seconds(self.limits.keep_alive_seconds, self._header)
        # What began since the last sweep is taken to have begun with it.
        until = self.now_seconds - self.limits.sweep_seconds
        for connection in self._ours():
            connection.release_head()
            verdict = connection.judge(until - connection.since_seconds, idle)
            if verdict == "idle":
                connection.transport.close()
            elif verdict == "over":
                connection.transport.abort()
            elif verdict != "keep":
                self._cut(connection, verdict)

    def _make_room(self, newcomer: Connection) -> int:
        """Close those that have waited longest for their next request; return how many."""
        # Whoever has yet to read its answer would stay, and nobody would look after it any more.
        waiting = [
            each
            for each in self._ours()
            if not (each.is_busy or each is newcomer or each.transport.get_write_buffer_size())
        ]
        room = max(1, int(self.limits.most_connections * _ROOM_SHARE))
        leaving = heapq.nsmallest(room, waiting, key=_age)
        for connection in leaving:
            self._cut(connection, Cut.CROWD)
            # It is lost with the next turn of the loop only.
            self._connections.discard(connection)
        return len(leaving)

    def _cut(self, connection: Connection, why: Cut) -> None:
        self.count(why)
        connection.cut(why)

    def _ours(self) -> Iterator[Connection]:
        return (each for each in list(self._connections) if isinstance(each, Connection))

    def _log(self) -> None:
        new = self.cuts - self._logged
        self._logged = self.cuts.copy()
        reasons = ", ".join(f"{count} {why.value}" for why, count in new.most_common())
        logger.warning("%d connection(s) were ended: %s", new.total(), reasons)


def _age(connection: Connection) -> tuple[float, int]:
    return connection.since_seconds, connection.serial
