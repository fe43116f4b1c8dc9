"""The HTTP server inside a worker: uvicorn, embedded, with a drain that loses nothing.

This module, :mod:`tonnage.server.protocol` with its other half, :mod:`tonnage.server.websocket` and
:mod:`tonnage.server.noise` are the only ones that know uvicorn; another server can be put behind
the same few names.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import logging
import resource
import select
import sys
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.lifespan.on import LifespanOn

from tonnage.errors import WorkerError
from tonnage.server.connections import limits_from
from tonnage.server.noise import flood, hush
from tonnage.server.protocol import Connection
from tonnage.server.reading import Reader
from tonnage.server.steadily import steadily
from tonnage.server.sweeper import Sweeper

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tonnage.governor.page import Header
    from tonnage.ops.figures.counting import Counting
    from tonnage.problem import Shape
    from tonnage.settings import Settings
    from tonnage.web.path.cors import Cors
    from tonnage.web.respond import ASGIApp

logger = logging.getLogger("tonnage.worker")

# Idle keep-alive connections stay open for so long after the drain began: a client that was just
# about to send its next request gets an answer with "Connection: close" instead of a reset.
_DRAIN_IDLE_SECONDS = 0.5
_STEP_SECONDS = 0.02
# uvicorn's own; with every tenth it writes the date anew.
_TICK_SECONDS = 0.1
# Characters of why a startup failed that go to the supervisor; the log has all.
_LONGEST_MESSAGE = 1000
# Of the time to stop, so much is kept for the application's own shutdown, a quarter at most.
_SHUTDOWN_SECONDS = 2.0


def preload() -> None:
    """Import and run once, in the zygote, what every worker would: it is then shared by all.

    Measured with a FastAPI app: a worker that has served holds 8.5 MB of its own instead of 12.
    """
    import uvicorn.lifespan.on
    import uvicorn.protocols.http.httptools_impl  # noqa: F401

    # And what few ask for: imported later, it would be 1.2 MB of each worker's own.
    import tonnage.web.doorman
    import tonnage.web.relay  # noqa: F401

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_warm_up())


async def _warm_up() -> None:
    await asyncio.sleep(0)
    # Starlette imports anyio's asyncio half with the first request.
    if "starlette" in sys.modules or "anyio" in sys.modules:
        from anyio import to_thread

        to_thread.current_default_thread_limiter()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the event loop: uvloop's if it is installed, else asyncio's."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


def _websockets(counting: Counting) -> Any:
    """Return what makes a WebSocket's protocol, or "none" where no library for it is installed.

    The library is imported with the first WebSocket: it is 2.5 MB, and few applications need it.
    """
    if not any(importlib.util.find_spec(name) for name in ("websockets", "wsproto")):
        return "none"

    def make(**parts: Any) -> asyncio.Protocol:
        from tonnage.server.websocket import WebSocket

        return WebSocket(counting, **parts)

    return make


class _Lifespan(LifespanOn):
    """uvicorn's, which logs why a startup failed; this keeps it, too."""

    why = ""

    async def send(self, message: Any) -> None:
        if message["type"] == "lifespan.startup.failed":
            # Frameworks send the traceback, whose last line is the exception.
            self.why = message.get("message", "").strip().rpartition("\n")[2][:_LONGEST_MESSAGE]
        await super().send(message)


class HttpServer(uvicorn.Server):
    """uvicorn's server, without its signal handlers, and with our way of stopping."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        on_ready: Callable[[], None],
        on_drain: Callable[[], None],
        header: Header,
        shape: Shape | None,
        cors: Cors | None,
        counting: Counting,
    ) -> None:
        """Prepare.

        Args:
            app: the outermost layer.
            settings: of the server.
            on_ready: told once connections are accepted.
            on_drain: told before the last are.
            header: of the shared page: how much memory there is, and how short it is.
            shape: the application's own shape of refusals; None: it has none.
            cors: which pages of other sites may read them; None: the application's affair.
            counting: counts the requests.
        """
        removed = {name.strip().lower() for name in settings.path.remove_headers or ()}
        super().__init__(
            uvicorn.Config(
                app=app,
                ws=_websockets(counting),
                interface="asgi3",
                lifespan="auto",
                log_config=None,
                access_log=settings.logging.access_log,
                proxy_headers=False,
                # What the server is made of is nobody's affair.
                server_header=False,
                # It writes this itself, behind all layers.
                date_header="date" not in removed,
                backlog=settings.listen.backlog,
            )
        )
        hush()
        limits = limits_from(settings.listen, header, _descriptors())
        wished = settings.listen.max_connections
        if wished is not None and limits.most_connections < wished:
            logger.warning(
                "max_connections is %d, not %d: there are no more descriptors (see ulimit -n)",
                limits.most_connections,
                wished,
            )
        self._sweeper = Sweeper(
            limits,
            self.server_state.connections,  # type: ignore[arg-type]  # a set is invariant
            header=header,
            health_path=settings.admission.health_path,
            shape=shape,
            cors=cors,
            counting=counting,
        )
        self.config.http = self._connection  # type: ignore[assignment]
        self._on_ready = on_ready
        self._on_drain = on_drain
        self._stop_seconds = settings.process.stop_seconds

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return len(self.server_state.connections)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: they are the worker's."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Run the application's startup, then accept.

        Raises:
            WorkerError: the startup failed, with the application's reason.
        """
        self.lifespan = lifespan = _Lifespan(self.config)
        try:
            await super().startup(sockets)
        except SystemExit:
            why = f": {lifespan.why}" if lifespan.why else ""
            raise WorkerError(f"the application's startup failed{why}") from None
        self._on_ready()

    async def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that somebody else has accepted."""
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._protocol, connection)

    def _connection(self, **parts: Any) -> asyncio.BaseProtocol:
        return Reader(Connection(self._sweeper, **parts))

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(
            config=self.config,  # type: ignore[call-arg]
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    async def main_loop(self) -> None:
        """Tick until it is time to stop; a moment without memory is no reason."""
        ticks = itertools.count()
        await steadily(lambda: self.on_tick(next(ticks)), _TICK_SECONDS)

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections; called ten times a second."""
        self._sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, finish what has begun, end idle connections, run the app's shutdown."""
        # The supervisor ends us at the time given; the app's own shutdown comes before that.
        reserve = min(_SHUTDOWN_SECONDS, self._stop_seconds / 4)
        deadline = time.monotonic() + self._stop_seconds - reserve
        self._on_drain()
        await asyncio.sleep(_STEP_SECONDS)
        # With each turn of the loop uvloop takes one connection of the accept queue. What is left
        # there is reset when the port is closed; until then others may go on filling it.
        queue_deadline = time.monotonic() + _DRAIN_IDLE_SECONDS
        await self._until(lambda: not _has_queue(sockets or []), min(queue_deadline, deadline))
        for server in self.servers:
            server.close()
        await self._until(lambda: not self.open_connections, time.monotonic() + _DRAIN_IDLE_SECONDS)
        for connection in list(self.server_state.connections):
            # Idle ones are closed; on busy ones the present response is the last.
            connection.shutdown()
        done = await self._until(self._is_quiet, deadline)
        if not done:
            tasks = list(self.server_state.tasks)
            logger.warning("the time to stop is up: cancelling %d request(s)", len(tasks))
            for task in tasks:
                task.cancel(msg="the time to stop is up")
            await self._until(lambda: not self.server_state.tasks, time.monotonic() + reserve / 2)
        await self.lifespan.shutdown()

    def _is_quiet(self) -> bool:
        return not self.server_state.connections and not self.server_state.tasks

    async def _until(self, condition: Callable[[], Any], deadline_seconds: float) -> bool:
        while not condition() and not self.force_exit:
            if time.monotonic() >= deadline_seconds:
                return False
            self._sweep()
            await asyncio.sleep(_STEP_SECONDS)
        return True

    def _sweep(self) -> None:
        # Without memory now, there is some when a request has ended: it is called again soon.
        with contextlib.suppress(MemoryError):
            self._sweeper.tick()
            flood.tick()


def _has_queue(sockets: list[socket.socket]) -> bool:
    """Return whether a connection waits to be accepted."""
    poll = select.poll()
    for each in sockets:
        poll.register(each, select.POLLIN)
    return bool(poll.poll(0))


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
