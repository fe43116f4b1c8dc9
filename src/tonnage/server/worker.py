"""A worker: one process that serves the application, gated.

Runs from just after the fork to the end of the process. Covers the process's own set-up (signals,
random seeds, allocator, thread pools), the wiring of gate, meter and server, the heartbeat, and
giving memory back when told to or when idle. Decides nothing about other processes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tonnage.governor.admission import Desk, Request
from tonnage.governor.ledger import Holding, Ledger
from tonnage.governor.statistics import WorkerState
from tonnage.host.malloc import Heap
from tonnage.host.prctl import end_with_parent, use_huge_pages
from tonnage.host.processes import PAGE_BYTES, read_statm
from tonnage.ops.health import Health
from tonnage.server.crew import EXIT_NOT_STARTED
from tonnage.server.http import HttpServer, is_gone, loop_factory
from tonnage.server.loader import Loaded, load, load_or_tell
from tonnage.units import MIB
from tonnage.web.endpoints import Endpoints
from tonnage.web.gate import Gate
from tonnage.web.meter import Meter, task_factory
from tonnage.web.proxy import Proxied
from tonnage.web.routes import Routes
from tonnage.web.threads import AnyioThreads, MeteredExecutor, bound_stacks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.governor.page import Slot
    from tonnage.server.assignment import Assignment
    from tonnage.server.channel import Channel
    from tonnage.web.respond import ASGIApp

logger = logging.getLogger("tonnage.worker")

HEARTBEAT_SECONDS = 0.1
# A worker without work for so long hands back what its allocator keeps, if that is worth it.
IDLE_SECONDS = 1.0
WORTH_TRIMMING_BYTES = 4 * MIB

# Growth beyond this means that requests allocate blocks worth a huge page.
LARGE_BYTES = 6 * MIB

# Workers are the kernel's first choice, the supervisor its last: it must live to explain.
OOM_SCORE = 500


def run_worker(assignment: Assignment, channel: Channel, loaded: Loaded | None) -> int:
    """Serve until told to stop; return the exit status. *loaded* is None without preloading."""
    _settle_process(assignment)
    slot = assignment.page.slots[assignment.index]
    slot.started_nanoseconds = slot.heartbeat_nanoseconds = time.monotonic_ns()
    slot.pid = os.getpid()
    channel.send("hello", pid=os.getpid(), index=assignment.index)
    channel.setblocking(False)
    if loaded is None:
        settings = assignment.settings.app
        loaded = load_or_tell(settings, channel.send, lambda: load(settings))
        if loaded is None:
            return EXIT_NOT_STARTED
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_serve(assignment, channel, loaded))
    except SystemExit:
        # uvicorn's word for a lifespan that failed; it has logged why.
        channel.send("failed", usage=False, error="the application's startup failed")
        return EXIT_NOT_STARTED


async def _serve(assignment: Assignment, channel: Channel, loaded: Loaded) -> int:
    # Made inside the loop: anyio's thread limiter belongs to a running one.
    return await Worker(assignment, channel, loaded).serve()


def _settle_process(assignment: Assignment) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # Ctrl-C reaches the whole process group; the supervisor alone decides what follows.
        signal.signal(ignored, signal.SIG_IGN)
    _await_parent(assignment.supervisor_pid)
    end_with_parent(signal.SIGTERM)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    random.seed()
    if "numpy" in sys.modules and "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    bound_stacks()


def _await_parent(supervisor_pid: int) -> None:
    """Wait until the process in between has ended and the supervisor has become the parent."""
    deadline = time.monotonic() + 1.0
    while os.getppid() != supervisor_pid and time.monotonic() < deadline:
        time.sleep(0.0005)


class Worker:
    """The running parts of one worker, wired."""

    def __init__(self, assignment: Assignment, channel: Channel, loaded: Loaded) -> None:
        self._assignment = assignment
        self._channel = channel
        self._slot: Slot = assignment.page.slots[assignment.index]
        self._heap = Heap()
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._busy_until = time.monotonic()
        self._wants_huge_pages = assignment.huge_pages
        self._executor = MeteredExecutor(assignment.threads, self._on_thread_done, self._note)
        self._threads = AnyioThreads(assignment.threads, self._note)
        self._gate = self._make_gate(loaded)
        self._server = HttpServer(
            self._outermost(self._gate),
            assignment.settings,
            on_ready=self._on_ready,
            on_drain=self._on_drain,
        )

    async def serve(self) -> int:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(task_factory(self._meter))
        self._executor.install(loop)
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_reader(self._channel.fileno(), self._on_message)
        self._threads.bind()
        heartbeat = asyncio.create_task(self._beat())
        try:
            await self._server.serve(sockets=[self._assignment.listening])
        finally:
            heartbeat.cancel()
            loop.remove_reader(self._channel.fileno())
        self._channel.send("drained")
        return 0

    def _make_gate(self, loaded: Loaded) -> Gate:
        assignment, settings = self._assignment, self._assignment.settings.admission
        ledger = Ledger(assignment.page, self._slot, self._holding)
        self._meter = Meter(self._data_in_use, self._in_threads)
        return Gate(
            self._asgi(loaded),
            page=assignment.page,
            slot=self._slot,
            desk=Desk(
                ledger,
                queue_limit=assignment.queue_requests,
                wait_seconds=settings.queue_seconds,
            ),
            routes=Routes(assignment.page),
            meter=self._meter,
            threads=self._threads,
            retry_after_seconds=settings.retry_after_seconds,
            admission=settings.admission,
            is_gone=is_gone,
        )

    def _asgi(self, loaded: Loaded) -> ASGIApp:
        if loaded.interface == "asgi":
            app: ASGIApp = loaded.app
            return app
        from a2wsgi import WSGIMiddleware

        wrapped = WSGIMiddleware(loaded.app, workers=1)
        wrapped.executor = self._executor
        return wrapped  # type: ignore[return-value]  # the same interface in a2wsgi's own types

    def _outermost(self, gate: Gate) -> ASGIApp:
        settings = self._assignment.settings
        health = Health(
            self._assignment.page,
            path=settings.admission.health_path,
            worker_index=self._assignment.index,
        )
        app: ASGIApp = Endpoints(gate, health, settings.admission.admin_token)
        hops = settings.listen.proxy_hops
        return Proxied(app, hops) if hops else app

    # What the meter and the ledger read.

    def _holding(self) -> Holding:
        resident, shared, _ = read_statm(self._statm)
        return Holding((resident - shared) * PAGE_BYTES, self._heap.kept_bytes())

    def _data_in_use(self) -> int:
        return read_statm(self._statm)[2] * PAGE_BYTES - self._heap.kept_bytes()

    def _note(self) -> None:
        self._meter.note()

    def _in_threads(self) -> Iterable[Request]:
        return self._executor.busy.union(self._threads.busy())

    # What happens to the worker.

    def _on_ready(self) -> None:
        self._slot.state = WorkerState.READY
        self._channel.send("ready")

    def _on_drain(self) -> None:
        self._slot.state = WorkerState.DRAINING
        self._gate.draining = True

    def _on_thread_done(self, request: Request) -> None:
        self._gate.settle(request)

    def _stop(self) -> None:
        self._server.should_exit = True

    def _on_message(self) -> None:
        try:
            received = self._channel.receive()
        except EOFError:
            # The supervisor is gone: finish what has begun and end.
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._stop()
            return
        if received is None:
            return
        message, fds = received
        if message["kind"] == "stop":
            self._stop()
        elif message["kind"] == "reclaim":
            self._reclaim()
        elif message["kind"] == "connection":
            self._adopt(fds)

    def _adopt(self, fds: list[int]) -> None:
        import socket

        for fd in fds:
            connection = socket.socket(fileno=fd)
            connection.setblocking(False)
            task = asyncio.ensure_future(self._server.adopt(connection))
            task.add_done_callback(_log_failure)

    def _reclaim(self) -> None:
        before, begun = self._holding().private_bytes, time.perf_counter()
        gc.collect()
        self._heap.trim()
        freed, cost = before - self._holding().private_bytes, time.perf_counter() - begun
        self._gate.look()
        self._channel.send("reclaimed", freed_bytes=freed, cost_seconds=cost)

    async def _beat(self) -> None:
        slot = self._slot
        while True:
            now = time.monotonic_ns()
            slot.heartbeat_nanoseconds = now
            slot.connections = self._server.open_connections
            self._gate.beat()
            self._trim_when_idle(now / 1e9)
            self._allow_huge_pages()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _allow_huge_pages(self) -> None:
        """Allow huge pages once requests are seen to need large blocks.

        Before that they would only round the small heap of an idle worker up by 2 MB.
        """
        if self._wants_huge_pages and self._slot.held_bytes > LARGE_BYTES:
            self._wants_huge_pages = False
            use_huge_pages(enabled=True)

    def _trim_when_idle(self, now_seconds: float) -> None:
        if self._slot.in_flight or self._slot.waiting:
            self._busy_until = now_seconds
        elif (
            now_seconds - self._busy_until > IDLE_SECONDS
            and self._slot.kept_bytes > WORTH_TRIMMING_BYTES
        ):
            self._busy_until = now_seconds
            self._heap.trim()


def _log_failure(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.warning("a connection that was handed over was lost: %s", task.exception())
