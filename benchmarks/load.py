"""A closed-loop HTTP/1.1 load generator, cheap enough to share two cores with the server.

Each of N clients keeps one connection, sends a request, waits for the whole answer and sends the
next. It is written on ``asyncio.Protocol`` without a task or a parser per request: enough HTTP for
answers with ``Content-Length`` or chunked bodies, no more. What happens to every request is
counted, once, in a ``Tally``:

- ok (2xx), refused (429 or 503), other (any other status)
- reset: the connection was lost with the request under way
- unreachable: no connection could be made
- timed out: no whole answer within the time limit; the client hangs up

A refused client and one whose connection broke come back after ``PAUSE_SECONDS``. A connection
closed after an answer that said ``Connection: close`` is no failure.
"""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

PAUSE_SECONDS = 0.05
"""How long a client waits before it tries again after a refusal or a broken connection."""

BEHIND_SECONDS = 1.0
"""How far a load with a rate may fall behind it and still make up for that."""

SWEEP_SECONDS = 0.25
"""How often clients are checked for the time limit: one timer for all, not one a request."""

_REFUSED = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request: *weight* is its share, *hold_seconds* the time it takes when alone."""

    name: str
    path: str
    weight: float = 1.0
    hold_seconds: float = 0.0

    def encode(self) -> bytes:
        """Return the request as it goes on the wire."""
        return f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode()


@dataclass(slots=True)
class Tally:
    """What became of the requests of one kind.

    ``ok`` counts answers within the run; those that came after it, while the last requests were
    awaited, are in ``late``: a rate is not flattered by time that is not in its divisor.
    """

    ok: int = 0
    late: int = 0
    refused: int = 0
    other: int = 0
    reset: int = 0
    unreachable: int = 0
    timed_out: int = 0
    # One double per ok answer: bounded by the length of the run (240 KB a minute at 500/s).
    latencies_seconds: array[float] = field(default_factory=lambda: array("d"))

    @property
    def broken(self) -> int:
        """Requests that got no answer at all."""
        return self.reset + self.unreachable + self.timed_out


class Load:
    """*clients* closed-loop clients against ``127.0.0.1:port`` choosing among *kinds*.

    The choice follows a seeded generator: two servers get the same sequence of requests. With
    *per_second* the clients send no more than that together, as long as they are answered in time.
    """

    def __init__(
        self,
        port: int,
        kinds: Sequence[Kind],
        *,
        clients: int,
        timeout_seconds: float = 30.0,
        seed: int = 1,
        per_second: float | None = None,
    ) -> None:
        self.port = port
        self.timeout_seconds = timeout_seconds
        self.tallies = {kind.name: Tally() for kind in kinds}
        self.reset_sent_at = array("d")
        """When each request whose connection was lost had been sent, by the monotonic clock."""
        self.ending = False
        self._kinds = [(kind, kind.encode()) for kind in kinds]
        self._weights = [kind.weight for kind in kinds]
        self._random = random.Random(seed)
        self._between_seconds = 1 / per_second if per_second else 0.0
        self._next_at = 0.0
        self._clients = [_Client(self) for _ in range(clients)]

    def start(self) -> None:
        """Let every client send its first request."""
        for client in self._clients:
            client.connect()

    async def keep_going(self, seconds: float) -> None:
        """Let the clients work for *seconds*; those that wait too long for an answer give up."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(SWEEP_SECONDS, left))
            self._sweep()

    async def stop(self, drain_seconds: float = 10.0) -> None:
        """Send no new request; wait at most *drain_seconds* for the answers under way."""
        self.ending = True
        deadline = time.monotonic() + drain_seconds
        while any(client.busy for client in self._clients) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            self._sweep()
        for client in self._clients:
            if client.busy:
                client.time_out()
            client.hang_up()

    @property
    def under_way(self) -> int:
        """Requests that were sent and are not answered."""
        return sum(client.connection is not None and client.busy for client in self._clients)

    def under_way_at(self, worker: str) -> int:
        """Those of them on connections that process *worker* answered before."""
        return sum(client.busy and client.worker == worker for client in self._clients)

    def workers(self) -> Counter[str]:
        """How many connections each process has (by its ``X-Worker``)."""
        return Counter(client.worker for client in self._clients if client.worker)

    def choose(self) -> tuple[Kind, bytes]:
        """Return the next request to send."""
        if len(self._kinds) == 1:
            return self._kinds[0]
        return self._random.choices(self._kinds, self._weights)[0]

    def turn_seconds(self) -> float:
        """Return how long the next request must wait for its turn."""
        if not self._between_seconds:
            return 0.0
        now = time.monotonic()
        before = self._next_at or now
        self._next_at = max(before + self._between_seconds, now - BEHIND_SECONDS)
        return max(0.0, self._next_at - now)

    def _sweep(self) -> None:
        expired = time.monotonic() - self.timeout_seconds
        for client in self._clients:
            if client.busy and client.sent_at < expired:
                client.time_out()


class _Client:
    """One user: at most one connection, at most one request under way."""

    __slots__ = ("_load", "_task", "busy", "connection", "kind", "request", "sent_at", "worker")

    def __init__(self, load: Load) -> None:
        self._load = load
        self.connection: _Connection | None = None
        self.busy = False
        self.sent_at = 0.0
        self.worker = ""
        self.kind, self.request = load.choose()
        self._task: asyncio.Task[None] | None = None

    def connect(self) -> None:
        """Open a connection and send the next request on it."""
        if self._load.ending:
            return
        self._begin()
        self._task = asyncio.get_running_loop().create_task(self._connect())

    def answered(self, status: int, keep: bool, worker: bytes) -> None:
        """Count the answer to the request under way, then go on."""
        self._count_answer(status)
        self.busy = False
        if worker:
            self.worker = worker.decode()
        if not keep or self._load.ending:
            self.hang_up()
        if self._load.ending:
            return
        pause = PAUSE_SECONDS if status in _REFUSED else self._load.turn_seconds()
        if pause:
            asyncio.get_running_loop().call_later(pause, self._resume)
        else:
            self._resume()

    def lost(self, connection: _Connection) -> None:
        """Count a connection that broke with a request under way; one of an idle client is fine."""
        if connection is not self.connection:
            return  # we hung up ourselves
        self.connection = None
        if self.busy:
            self._tally.reset += 1
            self._load.reset_sent_at.append(self.sent_at)
            self._pause()

    def time_out(self) -> None:
        """Give the request under way up."""
        self._tally.timed_out += 1
        self.hang_up()
        self._pause()

    def hang_up(self) -> None:
        """Close the connection; whatever it still brings belongs to nobody."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.transport.close()

    @property
    def _tally(self) -> Tally:
        return self._load.tallies[self.kind.name]

    def _begin(self) -> None:
        self.kind, self.request = self._load.choose()
        self.busy = True
        self.sent_at = time.monotonic()

    def _resume(self) -> None:
        if self._load.ending:
            self.hang_up()
        elif self.connection is None:
            self.connect()
        else:
            self._begin()
            self.connection.transport.write(self.request)

    def _pause(self) -> None:
        self.busy = False
        self.worker = ""
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._resume)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._load.port)
        except OSError:
            self._tally.unreachable += 1
            self._pause()

    def _count_answer(self, status: int) -> None:
        tally = self._tally
        if 200 <= status < 300:
            if self._load.ending:
                tally.late += 1
            else:
                tally.ok += 1
            tally.latencies_seconds.append(time.monotonic() - self.sent_at)
        elif status in _REFUSED:
            tally.refused += 1
        else:
            tally.other += 1


class _Connection(asyncio.Protocol):
    """One TCP connection: finds where an answer ends, and knows nothing of what it means."""

    __slots__ = ("_buffer", "_client", "transport")

    transport: asyncio.Transport

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._buffer = b""  # at most one answer: the next request is not sent before its end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's, hence no isinstance check.
        self.transport = cast(asyncio.Transport, transport)
        self._client.connection = self
        self.transport.write(self._client.request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._client.connection is not self:
            return
        head = self._buffer[:end].lower()
        if not _whole(head, self._buffer, end + 4):
            return
        self._buffer = b""
        keep = b"connection: close" not in head
        self._client.answered(int(head[9:12]), keep, field_of(head, b"x-worker"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.lost(self)


def _whole(head: bytes, buffer: bytes, body_start: int) -> bool:
    length = field_of(head, b"content-length")
    if length:
        return len(buffer) >= body_start + int(length)
    if b"transfer-encoding: chunked" in head:
        return buffer.endswith(b"0\r\n\r\n")
    return True  # an answer without a body


def field_of(head: bytes, name: bytes) -> bytes:
    """Return the value of header *name* in *head* (both in lower case), empty if it is absent."""
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()
