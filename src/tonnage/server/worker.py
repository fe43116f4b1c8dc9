"""A worker: one process that serves the application, gated.

Runs from just after the fork to the end of the process. Covers the wiring of gate, meter and
server, the heartbeat, and how it begins and ends; what the supervisor tells it is carried out in
:mod:`tonnage.server.orders`. Decides nothing about other processes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from tonnage.budget.connections import connections_per_worker
from tonnage.budget.sizes import guard_bytes
from tonnage.db.settings import use_share
from tonnage.errors import WorkerError
from tonnage.governor import reservations
from tonnage.governor.admission import Desk, Request
from tonnage.governor.flight import Flight
from tonnage.governor.ledger import Ledger
from tonnage.governor.levels import Level
from tonnage.governor.statistics import WorkerState
from tonnage.host.malloc import Heap
from tonnage.host.prctl import end_with_parent, use_huge_pages
from tonnage.host.stacks import Stacks
from tonnage.jobs import caller as jobs
from tonnage.logs import alarm
from tonnage.ops.figures.counting import Counting
from tonnage.ops.figures.telling import Telling
from tonnage.ops.health import Health
from tonnage.ops.places import places_for
from tonnage.ops.trust import ALIASES
from tonnage.server.crew import EXIT_NOT_STARTED
from tonnage.server.http import HttpServer, loop_factory
from tonnage.server.loader import Loaded, load_all, load_or_tell
from tonnage.server.messages import Alarm, Ask, Failed, Hello, Ready
from tonnage.server.orders import Orders
from tonnage.server.ownfuse import OwnFuse
from tonnage.server.ownmemory import OwnMemory
from tonnage.server.ownstores import OwnStores
from tonnage.server.settling import leave_in_child, settle_process
from tonnage.server.steadily import steadily
from tonnage.server.upkeep import Upkeep
from tonnage.units import MIB
from tonnage.web.awaited import is_gone
from tonnage.web.endpoints import Endpoints
from tonnage.web.gate import Gate
from tonnage.web.guard import Guard
from tonnage.web.meter import Meter, Tasks
from tonnage.web.ownpaths import has_path
from tonnage.web.path.fromsettings import cors_from, load_shape, with_path
from tonnage.web.proxy import Proxied
from tonnage.web.reserving import Reserving
from tonnage.web.routes import Routes
from tonnage.web.strays import Strays
from tonnage.web.threads import AnyioThreads, MeteredExecutor
from tonnage.web.threadstart import make_room_for_threads
from tonnage.web.witness import heard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.governor.page import Slot
    from tonnage.server.assignment import Assignment
    from tonnage.server.messages import SupervisorChannel
    from tonnage.web.respond import ASGIApp

logger = logging.getLogger("tonnage.worker")

HEARTBEAT_SECONDS = 0.1
# However little time is left, stores are told to close.
LEAST_CLOSE_SECONDS = 0.2
# A supervisor that is busy hears what was counted last so late.
LAST_WORD_SECONDS = 0.2
# Growth beyond this means that requests allocate blocks worth a huge page.
LARGE_BYTES = 6 * MIB


def run_worker(assignment: Assignment, channel: SupervisorChannel, loaded: Loaded | None) -> int:
    """Serve until told to stop; return the exit status. *loaded* is None without preloading."""
    settle_process(assignment)
    slot = assignment.page.slots[assignment.index]
    slot.started_nanoseconds = slot.heartbeat_nanoseconds = time.monotonic_ns()
    slot.pid = os.getpid()
    channel.send(Hello(os.getpid()))
    alarm.use(lambda text, fields: channel.send(Alarm(text, fields)))
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
    except WorkerError as error:
        channel.send(Failed(str(error)))
        return EXIT_NOT_STARTED


async def _serve(assignment: Assignment, channel: SupervisorChannel, loaded: Loaded) -> int:
    # Made inside the loop: anyio's thread limiter belongs to a running one.
    return await Worker(assignment, channel, loaded).serve()


def _share_connections(assignment: Assignment) -> None:
    """Tell pools how many connections are this worker's; before the application can open one."""
    header = assignment.page.header
    wished = assignment.settings.databases.database_connections
    workers = max(1, header.planned_workers)
    use_share(connections_per_worker(header.limit_bytes, workers, wished), workers)


class Worker:
    """The running parts of one worker, wired."""

    def __init__(self, assignment: Assignment, channel: SupervisorChannel, loaded: Loaded) -> None:
        self._assignment = assignment
        self._channel = channel
        self._slot: Slot = assignment.page.slots[assignment.index]
        self._heap = Heap()
        stacks = Stacks()
        self._memory = OwnMemory(self._slot, self._heap, stacks)
        self._wants_huge_pages = assignment.huge_pages
        self._executor = MeteredExecutor(
            assignment.threads, lambda request: self._gate.settle(request), self._note
        )
        self._threads = AnyioThreads(assignment.threads, self._note)
        self._fuse = OwnFuse(self._slot, stacks.reserved_bytes)
        make_room_for_threads(self._memory.sample, self._fuse.follow_stacks)
        self._stores = OwnStores(time.monotonic())
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
            self._outermost(self._gate, loaded),
            assignment.settings,
            on_ready=self._on_ready,
            on_drain=self._on_drain,
            header=assignment.page.header,
            shape=self._shape,
            cors=cors_from(assignment.settings.path),
            counting=self._counting,
        )
        self._orders = Orders(
            channel,
            self._upkeep,
            self._fuse,
            self._server,
            stop=self._stop,
            stop_seconds=assignment.settings.process.stop_seconds,
        )

    async def serve(self) -> int:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        self._strays.install(loop)
        self._executor.install(loop)
        if self._assignment.settings.admission.admission:
            reservations.use(Reserving(self._desk, self._meter, self._gate.look))
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_reader(self._channel.fileno(), self._orders.read)
        jobs.attach(self._channel.send)
        # From here on the closed channel tells of the supervisor's end. Who is stopped just then
        # does not hear of it, nor of any signal but two, and nobody else would let it go on.
        end_with_parent(signal.SIGCONT)
        self._threads.bind()
        os.register_at_fork(after_in_child=lambda: leave_in_child(self._assignment, self._channel))
        heartbeat = asyncio.create_task(steadily(self._beat, HEARTBEAT_SECONDS))
        try:
            await self._server.serve(sockets=[self._assignment.listening])
        finally:
            heartbeat.cancel()
            end_with_parent(signal.SIGKILL)
            self._fuse.lift()
            await self._finish()
        return 0

    async def _finish(self) -> None:
        """Have stores store what they hold, however serving has ended, and tell the last."""
        self._gate.look()
        # Before stores close, which may take all the time that is left, and after.
        self._telling.tell(LAST_WORD_SECONDS)
        # Stores may wait for jobs meanwhile: what becomes of these comes over the channel.
        left_seconds = self._stop_by_seconds - time.monotonic() - 0.5
        await self._stores.close(max(LEAST_CLOSE_SECONDS, left_seconds))
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._telling.tell(LAST_WORD_SECONDS)

    def _make_gate(self, loaded: Loaded) -> Gate:
        assignment, settings = self._assignment, self._assignment.settings.admission
        ledger = Ledger(
            assignment.page,
            self._slot,
            self._memory.holding,
            most_bytes=self._assignment.settings.memory.worker_memory_bytes,
            on_grant=self._fuse.keep_above_grants,
        )
        self._desk = Desk(
            ledger, queue_limit=assignment.queue_requests, wait_seconds=settings.queue_seconds
        )
        flight = Flight(self._slot)
        self._strays = Strays(self._slot, self._upkeep.check)
        self._meter = Meter(self._memory.data_in_use, self._in_threads, flight)
        guard = Guard(
            self._asgi(loaded),
            page=assignment.page,
            slot=self._slot,
            flight=flight,
            read=self._memory.sample,
            on_memory_error=self._upkeep.on_memory_error,
            shape=self._shape,
            retry_after_seconds=settings.retry_after_seconds,
        )
        routes = Routes(assignment.page)
        self._counting = Counting(routes.seen)
        self._telling = Telling(self._counting, self._channel.send)
        return Gate(
            guard,
            page=assignment.page,
            slot=self._slot,
            desk=self._desk,
            routes=routes,
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

    def _outermost(self, gate: Gate, loaded: Loaded) -> ASGIApp:
        settings = self._assignment.settings
        health = Health(
            self._assignment.page,
            path=settings.admission.health_path,
            also_below=ALIASES if settings.admission.api_aliases else "",
            worker_index=self._assignment.index,
        )
        limited = with_path(gate, settings.path, may_compress=self._may_compress, shape=self._shape)
        self._endpoints = Endpoints(
            limited,
            health,
            settings.admission.admin_token,
            also_below=ALIASES if settings.admission.api_aliases else "",
            places=places_for(settings.admission, lambda path: has_path(loaded.app, path)),
            send=lambda fd: self._channel.send(Ask(), fds=(fd,)),
        )
        app: ASGIApp = self._endpoints
        hops = settings.listen.proxy_hops
        return Proxied(app, hops) if hops else app

    def _may_compress(self) -> bool:
        return self._assignment.page.header.level < Level.CRITICAL

    # What meter and upkeep ask.

    def _own_bytes(self) -> int:
        """Return what this worker holds of its own, less what its running requests do."""
        return self._memory.besides(self._desk.in_flight)

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
            self._fuse.set_first(free // max(1, header.desired_workers))
        self._stores.begin()
        self._slot.state = WorkerState.READY
        self._channel.send(Ready())

    def _on_drain(self) -> None:
        self._slot.state = WorkerState.DRAINING
        self._stop_by_seconds = time.monotonic() + self._assignment.settings.process.stop_seconds
        self._gate.drain()
        self._endpoints.drain()
        self._upkeep.end_trace()

    def _stop(self) -> None:
        self._server.should_exit = True

    async def _beat(self) -> bool:
        """Do what is due ten times a second; it never ends by itself."""
        slot, now = self._slot, time.monotonic_ns()
        slot.heartbeat_nanoseconds = now
        slot.connections = self._server.open_connections
        try:
            self._gate.beat()
            self._stores.beat(now / 1e9)
            self._upkeep.beat(now / 1e9)
            self._allow_huge_pages()
            self._telling.beat(now / 1e9)
        except MemoryError:
            # A thread of a request has just taken the last of it.
            self._fuse.slacken()
        return False

    def _allow_huge_pages(self) -> None:
        """Allow huge pages once requests are seen to need large blocks.

        Before that they would only round the small heap of an idle worker up by 2 MB.
        """
        if self._wants_huge_pages and self._slot.held_bytes > LARGE_BYTES:
            self._wants_huge_pages = False
            use_huge_pages(enabled=True)
