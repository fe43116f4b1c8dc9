"""A worker on the simulated machine: an event loop's part is played, the rest is Tonnage's own.

Its own code are the desk, the ledger, the learned costs and the reclaimer. Simulated is what drives
them: the gate (who is let in begins his first step at once), the requests, the heart's beat.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tests.governor.simulated import Clockwork, Kind, Process

from tonnage.governor.admission import Desk, Request, Verdict
from tonnage.governor.consumers import Registry
from tonnage.governor.costs import RouteCost
from tonnage.governor.flight import Flight
from tonnage.governor.fuse import LEAST_SLACK_BYTES
from tonnage.governor.ledger import Ledger
from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage, Slot
from tonnage.governor.reclaim import Reclaimed
from tonnage.governor.statistics import NANOSECONDS, WorkerState
from tonnage.server.reclaimer import Reclaimer
from tonnage.server.upkeep import IDLE_SECONDS, WORTH_TRIMMING_BYTES
from tonnage.units import MIB

BEAT_SECONDS = 0.1
RETRY_SECONDS = 0.02
ANSWER_SECONDS = 0.005
# What a request takes after its first step comes in so many parts.
PARTS = 4
BURST_PART_MB = 2.0


@dataclass
class Tally:
    """What became of the requests; *burnt* are bursts that met their fuse."""

    served: int = 0
    refused: int = 0
    expired: int = 0
    failed: int = 0
    lost: int = 0
    burnt: int = 0


class Around(Protocol):
    """What a worker needs of the server."""

    clock: Clockwork
    page: SharedPage
    tally: Tally
    draw: random.Random
    routes: dict[Kind, RouteCost]
    queue_requests: int

    def heard_reclaimed(self, worker: Worker, reclaimed: Reclaimed) -> None:
        """Take what came of a reclaim."""

    def end(self, worker: Worker) -> None:
        """Note that the worker's process has ended."""


@dataclass(eq=False)
class Pages:
    """A cache that can shrink."""

    process: Process
    name: str = "pages"

    @property
    def used_bytes(self) -> int:
        """What it holds."""
        return self.process.cached_bytes

    def shrink(self, target_bytes: int) -> int:
        """Hold less."""
        freed = max(0, self.used_bytes - target_bytes)
        self.process.uncache(freed)
        return freed


@dataclass(eq=False)
class Job:
    """A request on its way."""

    kind: Kind
    request: Request
    answered: Callable[[], None]
    held_bytes: int = 0


class Worker:
    """One worker's event loop, around the real desk and reclaimer."""

    def __init__(self, server: Around, slot: Slot, process: Process, cached_mb: int) -> None:
        self.server, self.slot, self.process = server, slot, process
        self.clock, self.is_alive, self.is_draining = server.clock, True, False
        self._cached_bytes = cached_mb * MIB
        slot.pid = process.pid
        slot.started_nanoseconds = slot.heartbeat_nanoseconds = int(self.clock.now * NANOSECONDS)
        ledger = Ledger(
            server.page, slot, process.holding, self.clock, on_grant=self._keep_fuse_above
        )
        self.desk = Desk(ledger, queue_limit=server.queue_requests, wait_seconds=10.0)
        self.flight = Flight(slot)
        self.jobs: dict[Request, Job] = {}
        registry = Registry(self.clock)
        self.pages = Pages(process)
        registry.register(self.pages)
        self.reclaimer = Reclaimer(
            process,
            registry,
            self._own_bytes,
            lambda: slot.requests,
            self.clock,
            interval_seconds=60.0,
            collect=process.collect,
        )
        self.busy_until = self.clock.now
        self._retrying = False

    @property
    def is_serving(self) -> bool:
        """Whether it takes requests."""
        return self.is_alive and not self.is_draining and self.slot.state == WorkerState.READY

    def become_ready(self) -> None:
        """Begin to serve."""
        if self.is_alive:
            self.slot.state = WorkerState.READY
            self.process.cache(self._cached_bytes)
            self._beat()

    def take(self, kind: Kind, answered: Callable[[], None]) -> None:
        """Take a request."""
        tally, route = self.server.tally, self.server.routes[kind]
        self.slot.requests += 1
        request = Request(route, self.clock.now, is_small=route.is_small)
        request.when_started = lambda: self.clock.after(0.0, self.look)
        job = self.jobs[request] = Job(kind, request, answered)
        verdict = self.desk.ask(request)
        if verdict is Verdict.ADMITTED:
            self.slot.in_flight = len(self.desk.in_flight)
            self.clock.after(0.0, partial(self._begin, job))
        elif verdict is Verdict.WAIT:
            self.clock.after(self.desk.wait_seconds, partial(self._expire, job))
            self._retry_soon()
        else:
            tally.refused += 1
            self._forget(job, 1.0)

    def look(self) -> None:
        """Measure, publish, and let in who now fits."""
        if not self.is_alive:
            return
        desk, slot = self.desk, self.slot
        desk.ledger.update(desk.in_flight)
        for request in desk.ready():
            job = self.jobs[request]
            self.clock.after(0.0, partial(self._begin, job))
        slot.in_flight, slot.waiting = len(desk.in_flight), desk.waiting
        if self.is_draining and not self.jobs:
            self.server.end(self)

    def reclaim(self, level: Level, need_bytes: int, why: str) -> None:
        """Give memory back, and tell the supervisor."""
        if not self.is_alive:
            return
        self.look()
        done = self.reclaimer.reclaim(level, need_bytes, why)
        self.look()
        self.clock.after(ANSWER_SECONDS, lambda: self.server.heard_reclaimed(self, done))

    def drain(self) -> None:
        """Take no more, and end when all is answered."""
        self.is_draining = True
        self.slot.state = WorkerState.DRAINING
        self.clock.after(0.0, self.look)

    def die(self) -> None:
        """End with everything that was in flight."""
        self.is_alive = False
        for job in list(self.jobs.values()):
            if not job.kind.burst_mb_per_second:
                self.server.tally.lost += 1
            self._forget(job, 0.01)

    def _begin(self, job: Job) -> None:
        if not self.is_alive:
            return
        request, kind = job.request, job.kind
        request.started_seconds = self.clock.now
        request.entry = self.flight.begin(request.route.row, "", int(self.clock.now * NANOSECONDS))
        draw = self.server.draw
        if not self._grow(job, draw.uniform(*kind.first_mb)):
            return
        request.end_first_step()
        if kind.burst_mb_per_second:
            self._burst(job)
            return
        later = draw.uniform(*kind.later_mb) / PARTS
        for part in range(PARTS if later else 0):
            seconds = kind.hold_seconds * (part + 1) / (PARTS + 1)
            self.clock.after(seconds, partial(self._grow, job, later))
        self.clock.after(kind.hold_seconds, partial(self._end, job))

    def _burst(self, job: Job) -> None:
        """Allocate at full speed, up to what it wants."""
        if job.held_bytes >= job.kind.most_bytes:
            self._end(job)
        elif self._grow(job, BURST_PART_MB):
            # One event loop runs one thing at a time, so that bursts together are no faster.
            bursts = sum(
                each.kind.burst_mb_per_second > 0 and each.held_bytes > 0
                for each in self.jobs.values()
            )
            seconds = BURST_PART_MB / job.kind.burst_mb_per_second * bursts
            self.clock.after(seconds, partial(self._burst, job))

    def _grow(self, job: Job, mb: float) -> bool:
        """Allocate for *job*; return whether it still goes on."""
        if not self.is_alive or job.request not in self.jobs:
            return False
        size = int(mb * MIB)
        try:
            self.process.allocate(size)
        except MemoryError:
            self._fail(job, size)
            return False
        if job.request not in self.jobs:
            return False  # this allocation was one too many: the kernel has killed us
        job.held_bytes += size
        job.request.grow(size)
        self.flight.grow(job.request.entry, job.request.grown_bytes)
        return True

    def _fail(self, job: Job, size_bytes: int) -> None:
        # As tonnage.web.guard does.
        request, now = job.request, self.clock.now
        if job.kind.burst_mb_per_second:
            self.server.tally.burnt += 1
        else:
            self.server.tally.failed += 1
        request.route.note_out_of_memory(
            now - request.started_seconds,
            job.held_bytes + size_bytes,
            self.desk.ledger.room_bytes,
            now,
        )
        request.is_observed = True
        self._leave(job)

    def _end(self, job: Job) -> None:
        if self.is_alive and job.request in self.jobs:
            self.server.tally.served += 1
            self._leave(job)

    def _leave(self, job: Job) -> None:
        request = job.request
        self.process.free(job.held_bytes, min(job.kind.leak_kb * 1024, job.held_bytes))
        self.desk.observe(request, request.route, self.clock.now)
        request.has_ended = True
        self.flight.end(request.entry)
        self.desk.leave(request)
        self._forget(job, self.server.draw.uniform(0.0, 0.02))
        self.look()

    def _expire(self, job: Job) -> None:
        if self.is_alive and job.request in self.jobs and job.request not in self.desk.in_flight:
            self.desk.abandon(job.request)
            self.server.tally.expired += 1
            self._forget(job, 1.0)

    def _forget(self, job: Job, pause_seconds: float) -> None:
        self.jobs.pop(job.request, None)
        self.clock.after(pause_seconds, job.answered)

    def _retry_soon(self) -> None:
        if not self._retrying:
            self._retrying = True
            self.clock.after(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        self.look()
        if self.is_alive and self.desk.waiting:
            self._retry_soon()

    def _beat(self) -> None:
        if not self.is_alive:
            return
        now, slot = self.clock.now, self.slot
        slot.heartbeat_nanoseconds = int(now * NANOSECONDS)
        slot.connections = len(self.jobs)
        self.desk.observe_lasting(now)
        self.look()
        slot.consumers_bytes = self.reclaimer.used_bytes()
        if self.reclaimer.due(now, slot.in_flight):
            self.reclaim(Level.OK, 0, "regular")
        # As tonnage.server.upkeep does.
        if slot.in_flight or slot.waiting:
            self.busy_until = now
        elif now - self.busy_until > IDLE_SECONDS and slot.kept_bytes > WORTH_TRIMMING_BYTES:
            self.busy_until = now
            self.process.trim()
        self.clock.after(BEAT_SECONDS, self._beat)

    def _keep_fuse_above(self) -> None:
        # As tonnage.server.upkeep does.
        needed = self.slot.data_bytes + self.slot.granted_bytes + LEAST_SLACK_BYTES
        if 0 < self.slot.data_limit_bytes < needed:
            self.slot.data_limit_bytes = self.process.data_limit_bytes = needed

    def _own_bytes(self) -> int:
        explained = sum(request.grown_bytes for request in self.desk.in_flight)
        return self.process.private_bytes - self.slot.baseline_bytes - explained
