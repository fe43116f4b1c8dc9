"""A worker without a process: the real gate, desk, ledger, routes and meter around a fake app.

Memory is a number that the app's handlers change; the page is the real one, so that two worlds on
one page are two workers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.web.virtual import now

from tonnage.governor.admission import Desk
from tonnage.governor.costs import RouteCost
from tonnage.governor.flight import Flight
from tonnage.governor.ledger import Holding, Ledger
from tonnage.governor.page import MAX_ROUTES, SharedPage
from tonnage.host.processes import StatmSample
from tonnage.units import MIB
from tonnage.web.gate import Gate
from tonnage.web.guard import Guard
from tonnage.web.meter import Meter, Tasks
from tonnage.web.outofmemory import MemoryFailure
from tonnage.web.respond import Message, Receive, Scope, Send
from tonnage.web.routes import Routes
from tonnage.web.strays import Strays
from tonnage.web.threads import AnyioThreads, MeteredExecutor

Handler = Callable[["World", Scope], Awaitable[None]]


def costs_in(page: SharedPage) -> dict[str, RouteCost]:
    """Return what is learned of each route, of whichever worker, by name."""
    names = [page.cost_name(row) for row in range(MAX_ROUTES)]
    return {
        name: RouteCost(name, page.cost_numbers(row), row) for row, name in enumerate(names) if name
    }


@dataclass
class Memory:
    """What the process would hold, in MB, and of that what its allocator kept; the most it held."""

    private_mb: float = 0.0
    kept_mb: float = 0.0
    most_mb: float = 0.0

    def take(self, mb: float) -> None:
        """Allocate, or free where *mb* is negative."""
        self.private_mb += mb
        self.most_mb = max(self.most_mb, self.private_mb)

    def holding(self) -> Holding:
        """Return what the ledger reads."""
        return Holding(int(self.private_mb * MIB), int(self.kept_mb * MIB))

    def data_bytes(self) -> int:
        """Return what the meter reads."""
        return int((self.private_mb - self.kept_mb) * MIB)

    def sample(self) -> StatmSample:
        """Return what the guard reads."""
        held = int(self.private_mb * MIB)
        return StatmSample(resident_bytes=held, shared_bytes=0, data_bytes=held)


@dataclass(frozen=True)
class Response:
    """What a client got."""

    messages: tuple[Message, ...]

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as sent."""
        return list(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def http(path: str, method: str = "GET", **headers: str) -> Scope:
    """Return the scope of an HTTP request; underscores in header names stand for hyphens."""
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": given, "scheme": "http"}


async def call(app: Any, scope: Scope) -> Response:
    """Send one request to *app* and return all that it sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        kind = "websocket.connect" if scope["type"] == "websocket" else "http.request"
        return {"type": kind, "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return Response(tuple(sent))


@dataclass
class World:
    """One worker. Times are the running loop's."""

    ceiling_mb: int = 100
    queue_limit: int = 100
    wait_seconds: float = 10.0
    retry_after_seconds: float | None = None
    page: SharedPage = field(default_factory=SharedPage)
    index: int = 0
    is_gone: Callable[[Receive], bool] = lambda receive: False

    def __post_init__(self) -> None:
        header = self.page.header
        header.workers_ceiling_bytes = header.ceiling_bytes = self.ceiling_mb * MIB
        header.limit_bytes = 2 * self.ceiling_mb * MIB
        self.slot = self.page.slots[self.index]
        self.slot.pid = 1000 + self.index
        self.memory = Memory()
        self.handlers: dict[str, Handler] = {}
        self.started: list[str] = []
        self.finished: list[str] = []
        self.ledger = Ledger(self.page, self.slot, self.memory.holding, now)
        self.desk = Desk(self.ledger, queue_limit=self.queue_limit, wait_seconds=self.wait_seconds)
        self.routes = Routes(self.page)
        self.executor = MeteredExecutor(
            2, lambda request: self.gate.settle(request), lambda: self.meter.note()
        )
        self.flight = Flight(self.slot)
        self.threads = AnyioThreads(2, lambda: self.meter.note())
        self.meter = Meter(
            self.memory.data_bytes,
            lambda: self.executor.busy.union(self.threads.busy()),
            self.flight,
        )
        self.failures: list[MemoryFailure] = []
        self.checks = 0
        self.guard = Guard(
            self._app,
            page=self.page,
            slot=self.slot,
            flight=self.flight,
            read=self.memory.sample,
            on_memory_error=self.failures.append,
            retry_after_seconds=self.retry_after_seconds,
        )
        self.strays = Strays(self.slot, self.check)
        self.gate = Gate(
            self.guard,
            page=self.page,
            slot=self.slot,
            desk=self.desk,
            routes=self.routes,
            meter=self.meter,
            tasks=Tasks(self.meter, self.strays.follow),
            threads=self.threads,
            retry_after_seconds=self.retry_after_seconds,
            is_gone=self.is_gone,
            clock=now,
        )

    def install(self) -> None:
        """Put task factory and thread pool into the running loop, as a worker does."""
        loop = asyncio.get_running_loop()
        self.strays.install(loop)
        self.executor.install(loop)
        self.threads.bind()

    def check(self) -> None:
        """Count that the worker would be checked."""
        self.checks += 1

    async def get(self, path: str, method: str = "GET", **headers: str) -> Response:
        """Send one request through the gate."""
        return await call(self.gate, http(path, method, **headers))

    def start(self, *paths: str) -> list[asyncio.Task[Response]]:
        """Send requests at once, each in a task of its own."""
        return [asyncio.ensure_future(self.get(path)) for path in paths]

    def cost(self, path: str) -> RouteCost:
        """Return what was learned of *path*."""
        return self.routes.find(http(path))

    async def teach(self, path: str, times: int = 6) -> RouteCost:
        """Make the route of *path* known."""
        for _ in range(times):
            await self.get(path)
        self.started.clear()
        self.finished.clear()
        return self.cost(path)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.started.append(path)
        if path in self.handlers:
            await self.handlers[path](self, scope)
        self.finished.append(path)
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"done"})


def holding(mb: float, seconds: float = 1.0) -> Handler:
    """Return a handler that takes *mb* in its first step and holds them for *seconds*."""

    async def handle(world: World, scope: Scope) -> None:
        world.memory.take(mb)
        await asyncio.sleep(seconds)
        world.memory.take(-mb)

    return handle


def growing(mb: float, seconds: float = 1.0) -> Handler:
    """Return a handler that takes *mb* in a later step and holds them for *seconds*."""

    async def handle(world: World, scope: Scope) -> None:
        await asyncio.sleep(0)
        world.memory.take(mb)
        await asyncio.sleep(seconds)
        world.memory.take(-mb)

    return handle


def each(costs_mb: Iterable[float], seconds: float = 1.0) -> Handler:
    """Return a handler that takes the next of *costs_mb* in each request."""
    coming = iter(costs_mb)

    async def handle(world: World, scope: Scope) -> None:
        await holding(next(coming), seconds)(world, scope)

    return handle


async def turns(count: int = 5) -> None:
    """Let the loop turn, without time passing."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until *condition* holds: for what another thread is about to do.

    Raises:
        AssertionError: it did not, in so much real time.
    """
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline, "what another thread was to do is not done"
        await asyncio.sleep(0)
