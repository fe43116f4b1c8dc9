"""A worker: one process that serves the application, gated.

Runs from just after the fork to the end of the process. Covers the process's own set-up (signals,
random seeds, allocator, thread pools), the wiring of gate, meter and server, the heartbeat, and
giving memory back when told to or when idle. Decides nothing about other processes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tonnage.budget.connections import connections_per_worker
from tonnage.budget.sizes import guard_bytes
from tonnage.db.settings import use_share
from tonnage.governor import reservations
from tonnage.governor.admission import Desk, Request
from tonnage.governor.flight import Flight
from tonnage.governor.ledger import Holding, Ledger
from tonnage.governor.levels import Level
from tonnage.governor.statistics import WorkerState
from tonnage.host import reins
from tonnage.host.descriptors import close_served
from tonnage.host.malloc import Heap
from tonnage.host.prctl import end_with_parent, name_process, use_huge_pages
from tonnage.host.processes import PAGE_BYTES, StatmSample, descendants, read_statm
from tonnage.ops import alarm
from tonnage.ops.caches import clear
from tonnage.ops.health import Health
from tonnage.ops.trust import ALIASES
from tonnage.server.crew import EXIT_NOT_STARTED
from tonnage.server.http import HttpServer, is_gone, loop_factory
from tonnage.server.loader import Loaded, load_all, load_or_tell
from tonnage.server.upkeep import Upkeep, as_level
from tonnage.units import MIB
from tonnage.web.endpoints import Endpoints
from tonnage.web.gate import Gate
from tonnage.web.guard import Guard
from tonnage.web.meter import Meter, Tasks
from tonnage.web.path.fromsettings import cors_from, load_shape, with_path
from tonnage.web.proxy import Proxied
from tonnage.web.reserving import Reserving
from tonnage.web.routes import Routes
from tonnage.web.strays import Strays
from tonnage.web.threads import AnyioThreads, MeteredExecutor, bound_stacks
from tonnage.web.threadstart import make_room_for_threads
from tonnage.web.witness import heard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.governor.page import Slot
    from tonnage.server.assignment import Assignment
    from tonnage.server.channel import Channel
    from tonnage.web.respond import ASGIApp

logger = logging.getLogger("tonnage.worker")

HEARTBEAT_SECONDS = 0.1
# However little time is left, stores are told to close.
LEAST_CLOSE_SECONDS = 0.2
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
    alarm.use(lambda text, fields: channel.send("alarm", text=text, fields=fields))
    channel.setblocking(False)
    _share_connections(assignment)
    if loaded is None:
        settings = assignment.settings
        loaded = load_or_tell(settings.app, channel.send, lambda: load_all(settings))
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
    name_process(f"tonnage-w{assignment.index}")
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # Ctrl-C reaches the whole process group; the supervisor alone decides what follows.
        signal.signal(ignored, signal.SIG_IGN)
    _await_parent(assignment.supervisor_pid)
    end_with_parent(signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    random.seed()
    if "numpy" in sys.modules and "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    bound_stacks()


def _share_connections(assignment: Assignment) -> None:
    """Tell pools how many connections are this worker's; before the application can open one."""
    header = assignment.page.header
    wished = assignment.settings.databases.database_connections
    workers = max(1, header.planned_workers)
    use_share(connections_per_worker(header.limit_bytes, workers, wished), workers)


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
        self._wants_huge_pages = assignment.huge_pages
        self._executor = MeteredExecutor(assignment.threads, self._on_thread_done, self._note)
        self._threads = AnyioThreads(assignment.threads, self._note)
        self._upkeep = Upkeep(
            self._slot,
            self._heap,
            channel,
            own_bytes=self._own_bytes,
            look=lambda: self._gate.look(),
            gc_interval_seconds=assignment.settings.memory.gc_interval_seconds,
        )
        self._stop_by_seconds = 0.0
        self._shape = load_shape(assignment.settings.path)
        self._gate = self._make_gate(loaded)
        self._server = HttpServer(
            self._outermost(self._gate),
            assignment.settings,
            on_ready=self._on_ready,
            on_drain=self._on_drain,
            header=assignment.page.header,
            shape=self._shape,
            cors=cors_from(assignment.settings.path),
        )

    async def serve(self) -> int:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        self._strays.install(loop)
        self._executor.install(loop)
        if self._assignment.settings.admission.admission:
            reservations.use(Reserving(self._desk, self._meter, self._gate.look))
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_reader(self._channel.fileno(), self._on_message)
        # From here on the closed channel tells of the supervisor's end. Who is stopped just then
        # does not hear of it, nor of any signal but two, and nobody else would let it go on.
        end_with_parent(signal.SIGCONT)
        self._threads.bind()
        os.register_at_fork(after_in_child=self._leave_in_child)
        heartbeat = asyncio.create_task(self._beat())
        try:
            await self._server.serve(sockets=[self._assignment.listening])
        finally:
            heartbeat.cancel()
            loop.remove_reader(self._channel.fileno())
            end_with_parent(signal.SIGKILL)
            self._upkeep.lift_fuse()
        await self._close_stores()
        self._channel.send("drained")
        return 0

    def _make_gate(self, loaded: Loaded) -> Gate:
        assignment, settings = self._assignment, self._assignment.settings.admission
        ledger = Ledger(
            assignment.page,
            self._slot,
            self._holding,
            most_bytes=self._assignment.settings.memory.worker_memory_bytes,
            on_grant=self._upkeep.keep_fuse_above,
        )
        self._desk = Desk(
            ledger, queue_limit=assignment.queue_requests, wait_seconds=settings.queue_seconds
        )
        flight = Flight(self._slot)
        self._strays = Strays(self._slot, self._upkeep.check)
        self._meter = Meter(self._data_in_use, self._in_threads, flight)
        guard = Guard(
            self._asgi(loaded),
            page=assignment.page,
            slot=self._slot,
            flight=flight,
            read=self._sample,
            on_memory_error=self._upkeep.on_memory_error,
            shape=self._shape,
            retry_after_seconds=settings.retry_after_seconds,
        )
        make_room_for_threads(self._sample)
        return Gate(
            guard,
            page=assignment.page,
            slot=self._slot,
            desk=self._desk,
            routes=Routes(assignment.page),
            meter=self._meter,
            tasks=Tasks(self._meter, self._strays.follow),
            threads=self._threads,
            retry_after_seconds=settings.retry_after_seconds,
            shape=self._shape,
            admission=settings.admission,
            is_gone=is_gone,
        )

    def _asgi(self, loaded: Loaded) -> ASGIApp:
        if loaded.interface == "asgi":
            app: ASGIApp = loaded.app
            return app
        from tonnage.web.wsgi import Wsgi

        return Wsgi(heard(loaded.app), self._executor)

    def _outermost(self, gate: Gate) -> ASGIApp:
        settings = self._assignment.settings
        health = Health(
            self._assignment.page,
            path=settings.admission.health_path,
            also_below=ALIASES if settings.admission.api_aliases else "",
            worker_index=self._assignment.index,
        )
        limited = with_path(gate, settings.path, may_compress=self._may_compress, shape=self._shape)
        app: ASGIApp = Endpoints(
            limited,
            health,
            settings.admission.admin_token,
            also_below=ALIASES if settings.admission.api_aliases else "",
        )
        hops = settings.listen.proxy_hops
        return Proxied(app, hops) if hops else app

    def _may_compress(self) -> bool:
        return self._assignment.page.header.level < Level.CRITICAL

    # What the meter and the ledger read.

    def _holding(self) -> Holding:
        resident, shared, data = read_statm(self._statm)
        private_bytes = (resident - shared) * PAGE_BYTES
        return Holding(private_bytes, self._heap.kept_bytes(), data * PAGE_BYTES)

    def _sample(self) -> StatmSample:
        resident, shared, data = read_statm(self._statm)
        return StatmSample(resident * PAGE_BYTES, shared * PAGE_BYTES, data * PAGE_BYTES)

    def _own_bytes(self) -> int:
        """Return what this worker holds of its own, less what its running requests do."""
        explained = sum(request.grown_bytes for request in self._desk.in_flight)
        return self._holding().private_bytes - self._slot.baseline_bytes - explained

    def _data_in_use(self) -> int:
        return read_statm(self._statm)[2] * PAGE_BYTES - self._heap.kept_bytes()

    def _note(self) -> None:
        self._meter.note()

    def _in_threads(self) -> Iterable[Request]:
        return self._executor.busy.union(self._threads.busy())

    # What happens to the worker.

    def _on_ready(self) -> None:
        if self._assignment.settings.memory.fuse:
            self._gate.look()
            header = self._assignment.page.header
            free = header.limit_bytes - header.used_bytes - guard_bytes(header.limit_bytes)
            self._upkeep.set_first_fuse(free // max(1, header.desired_workers))
        self._begin_stores()
        self._slot.state = WorkerState.READY
        self._channel.send("ready")

    def _on_drain(self) -> None:
        self._slot.state = WorkerState.DRAINING
        self._stop_by_seconds = time.monotonic() + self._assignment.settings.process.stop_seconds
        self._gate.drain()
        self._upkeep.end_trace()

    def _begin_stores(self) -> None:
        """Let writers begin that may have something to do from a process before."""
        if "tonnage.stores.background" in sys.modules:
            from tonnage.stores.background import begin

            begin()

    async def _close_stores(self) -> None:
        """Let writers and their like finish, in the time that is left; no request runs now.

        In a thread of its own: what they have in this event loop is closed there.
        """
        if "tonnage.stores.background" in sys.modules:
            from tonnage.stores.background import close

            seconds = max(LEAST_CLOSE_SECONDS, self._stop_by_seconds - time.monotonic() - 0.5)
            with ThreadPoolExecutor(1) as closing:
                await asyncio.get_running_loop().run_in_executor(closing, close, seconds)

    def _on_thread_done(self, request: Request) -> None:
        self._gate.settle(request)

    def _leave_in_child(self) -> None:
        """Let go of port, clients and signals in a process that the application has forked.

        Its signals would reach our event loop through the pipe that both have; and what the fuse
        keeps for this worker is not meant for it: the brake looks after programs.
        """
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        reins.limit_data(0, reins.UNLIMITED)
        close_served(self._assignment.listening, self._channel.fileno())

    def _stop(self) -> None:
        self._server.should_exit = True

    def _on_message(self) -> None:
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
            self._upkeep.reclaim(as_level(message), message["need_bytes"], message["why"])
        elif message["kind"] == "trace":
            self._upkeep.trace(message["seconds"], message["budget_bytes"])
        elif message["kind"] == "clear":
            clear(message["name"])
        elif message["kind"] == "connection":
            self._adopt(fds)

    def _on_supervisor_gone(self) -> None:
        """Finish what has begun and end, in the time that the supervisor would have given."""
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._stop()
        # The kernel ends us then, whatever the application's threads still do.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        seconds = self._assignment.settings.process.stop_seconds
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))  # 0 would mean for ever
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

    async def _beat(self) -> None:
        slot = self._slot
        while True:
            now = time.monotonic_ns()
            slot.heartbeat_nanoseconds = now
            slot.connections = self._server.open_connections
            try:
                self._gate.beat()
                self._upkeep.beat(now / 1e9)
                self._allow_huge_pages()
            except MemoryError:
                # A thread of a request has just taken the last of it; the heart must go on.
                self._upkeep.slacken()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _allow_huge_pages(self) -> None:
        """Allow huge pages once requests are seen to need large blocks.

        Before that they would only round the small heap of an idle worker up by 2 MB.
        """
        if self._wants_huge_pages and self._slot.held_bytes > LARGE_BYTES:
            self._wants_huge_pages = False
            use_huge_pages(enabled=True)


def _log_failure(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.warning("a connection that was handed over was lost: %s", task.exception())
