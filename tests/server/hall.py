"""A worker's connections without the worker: real sockets on loopback, a clock of our own.

async with Hall(app) as hall:
    client = await hall.connect()
    client.send(b"GET / HT")
    await hall.elapse(11.0)
    assert b"408" in await client.read()
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from types import SimpleNamespace
from typing import Any, Self, cast

import uvicorn
from tests.support.waiting import until
from uvicorn.server import ServerState

from tonnage.governor.page import Header
from tonnage.ops.figures.counting import Counting
from tonnage.server.connections import Limits
from tonnage.server.http import loop_factory
from tonnage.server.protocol import Connection
from tonnage.server.reading import Reader
from tonnage.server.sweeper import Sweeper
from tonnage.units import KIB
from tonnage.web.path.cors import Cors
from tonnage.web.respond import ASGIApp, Receive, Scope, Send

LIMITS = Limits(
    most_connections=1000,
    max_header_bytes=32 * KIB,
    max_headers=100,
    header_seconds=10.0,
    body_seconds=10.0,
    min_body_bytes_per_second=100,
    keep_alive_seconds=5.0,
)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def run(story: Any) -> None:
    """Run a test's coroutine on the loop that workers have."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(asyncio.wait_for(story, 20.0))


def memory(used_bytes: int, level: int = 0) -> Header:
    """Return a shared page's header with marks at 80, 90 and 98 of 100 bytes."""
    marks = {"warning_bytes": 80, "critical_bytes": 90, "exhausted_bytes": 98}
    words = SimpleNamespace(used_bytes=used_bytes, level=level, limit_bytes=100, **marks)
    return cast("Header", words)


class Hall:
    """A server's connections; an asynchronous context manager."""

    def __init__(
        self, app: ASGIApp, header: Header | None = None, cors: Cors | None = None, **limits: Any
    ) -> None:
        self._app = app
        self._now_seconds = 1000.0
        self.state = ServerState()
        self.sweeper = Sweeper(
            dataclasses.replace(LIMITS, **limits),
            cast("set[asyncio.Protocol]", self.state.connections),
            header=header or memory(0),
            health_path="/health",
            shape=None,
            cors=cors,
            counting=Counting(),
            clock=lambda: self._now_seconds,
        )
        self._clients: list[Client] = []

    async def __aenter__(self) -> Self:
        config = uvicorn.Config(self._app, log_config=None, lifespan="off", proxy_headers=False)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Reader(Connection(self.sweeper, config, self.state, {})), "127.0.0.1", 0
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for client in self._clients:
            client.abort()
        for task in self.state.tasks:
            task.cancel()
        await until(lambda: not self.state.connections and not self.state.tasks)

    async def connect(self, sent: bytes = b"") -> Client:
        """Return a client, once the server knows it and has read what is *sent*."""
        before = self.sweeper.welcomed
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        client = Client(reader, writer)
        self._clients.append(client)
        client.send(sent)
        await until(lambda: self.sweeper.welcomed > before)
        await settle()
        return client

    async def elapse(self, seconds: float) -> None:
        """Let *seconds* go by, with a sweep whenever it is due."""
        step = self.sweeper.limits.sweep_seconds
        for _ in range(math.ceil(seconds / step)):
            self._now_seconds += step
            self.sweeper.tick()
            await settle()

    async def stall(self, seconds: float) -> None:
        """Let *seconds* go by in which the loop does not turn."""
        self._now_seconds += seconds
        self.sweeper.tick()
        await settle()


class Client:
    """The other end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        """Send *data* as far as the server takes it, without waiting for that."""
        if data:
            self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the server has taken most of it."""
        await self._writer.drain()

    async def head(self) -> bytes:
        """Return the head of the next response."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def response(self) -> bytes:
        """Return the next response, which has a Content-Length."""
        head = await self.head()
        length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        return head + await self._reader.readexactly(int(length.split(b":")[1]))

    async def some(self) -> bytes:
        """Return a part of a response."""
        return await self._reader.read(256 * KIB)

    async def rest(self) -> bytes:
        """Return all that comes until the server closes; fails if it resets the connection."""
        return await self._reader.read()

    async def is_closed(self) -> bool:
        """Whether the server has closed, with nothing more to read."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            return await asyncio.wait_for(self._reader.read(1), 0.02) == b""
        return self._reader.at_eof() or self._reader.exception() is not None

    def abort(self) -> None:
        """Go."""
        self._writer.transport.abort()


async def settle() -> None:
    """Let what is on its way arrive; loopback delivers at once."""
    for _ in range(6):
        await asyncio.sleep(0)


class App:
    """An application that says hello, and remembers; *reads* has it read bodies first."""

    def __init__(self, *, reads: bool = False) -> None:
        self.reads = reads
        self.scopes: list[Scope] = []
        self.disconnects = 0
        self.release = asyncio.Event()
        self.release.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer once released; 413 at once where the path is /refuse."""
        self.scopes.append(scope)
        await self.release.wait()
        body, more = b"", self.reads
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            body += message["body"]
            more = message["more_body"]
        await answer(send, b"hello" + body)


async def answer(send: Send, body: bytes, status: int = 200, *headers: Any) -> None:
    """Send a whole response."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})
