"""A server on the simulated machine: Tonnage's own parts, wired as the real processes wire them.

Its own code are the plan, the watch and its levels, the crew, the keeper (reclaim and its
back-off), the recycler and the leak watch; of each worker, see
:mod:`tests.governor.simulated_worker`. Simulated are the processes and the channels to them.

The fuses are on where a scenario says so. The brake looks and decides, but stops nobody: there is
no process to stop.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from tests.budget.wishes import NO_WISHES
from tests.governor.simulated import FIRST_PID, Clockwork, Host, Kind, Process
from tests.governor.simulated_worker import ANSWER_SECONDS, Tally, Worker

from tonnage.budget.plan import make_plan
from tonnage.budget.sizes import AppSize, Wishes
from tonnage.governor.costs import RouteCost
from tonnage.governor.levels import Level, marks_for
from tonnage.governor.page import SharedPage, Slot
from tonnage.governor.reclaim import Reclaimed
from tonnage.governor.statistics import NANOSECONDS
from tonnage.server.asking import Asking
from tonnage.server.braking import Brake
from tonnage.server.crew import Crew
from tonnage.server.fuses import Fuses
from tonnage.server.hold import Hold
from tonnage.server.keeper import Keeper
from tonnage.server.leaks.following import Leaking
from tonnage.server.messages import Hello, Ready, Reclaim, Stop, ToWorker, WorkerChannel
from tonnage.server.recycling import Recycler
from tonnage.server.rounds import Rounds
from tonnage.server.watch import Reading, Watch
from tonnage.settings import RecyclingSettings
from tonnage.units import MIB, Threshold

START_SECONDS = 0.05

APP = AppSize(40 * MIB, 24 * MIB, None, "measured", 0.5)


@dataclass(frozen=True)
class Scenario:
    """What a trace is made of.

    Attributes:
        limit_mb: the limit.
        workers: how many there are.
        kinds: the routes.
        clients: how many send, each the next request once the last is answered.
        load_seconds: for how long.
        known: whether each route's cost is known from the start, as where it is declared.
        keep_share, garbage_share: see Process.
        cached_mb: what each worker keeps in a cache that can shrink.
        file_mb: page cache, which is nobody's.
        fuse: whether workers have fuses.
        seed: of all that is drawn.
    """

    limit_mb: int = 512
    workers: int = 1
    kinds: tuple[Kind, ...] = (Kind(),)
    clients: int = 8
    load_seconds: float = 3.0
    known: bool = True
    keep_share: float = 0.0
    garbage_share: float = 0.0
    cached_mb: int = 0
    file_mb: int = 0
    fuse: bool = False
    seed: int = 0


class Line:
    """The channel to a worker."""

    def __init__(self, act: Callable[[ToWorker], None]) -> None:
        self._act = act

    def send(self, message: ToWorker) -> bool:
        """Have the worker act on a message."""
        self._act(message)
        return True

    def setblocking(self, blocking: bool) -> None:
        """It never waits."""


class SimulatedWatch(Watch):
    """The watch, with readings of simulated processes."""

    def __init__(self, host: Host, *parts: Any, **named: Any) -> None:
        self._host = host
        super().__init__(*parts, **named)

    def _private_bytes(self, slot: Slot) -> int:
        process = self._host.processes.get(slot.pid)
        if process is None:
            self._readings.pop(slot.index, None)
            return slot.baseline_bytes
        reading = Reading(
            pid=process.pid,
            private_bytes=process.private_bytes,
            shared_bytes=0,
            data_bytes=process.data_bytes,
        )
        self._readings[slot.index] = reading
        return reading.private_bytes


class SimulatedFuses(Fuses):
    """The fuses, set in simulated processes."""

    def __init__(self, host: Host, page: SharedPage, *, enabled: bool) -> None:
        super().__init__(page, worker_memory_bytes=None, enabled=enabled)
        self._host = host

    def _set(self, slot: Slot, strand: Any, fuse_bytes: int) -> None:
        process = self._host.processes.get(slot.pid)
        if process is not None:
            process.data_limit_bytes = slot.data_limit_bytes = fuse_bytes


@dataclass
class Server:
    """The supervisor's loop, around the real watch and keeper."""

    scenario: Scenario
    clock: Clockwork = field(default_factory=Clockwork)
    tally: Tally = field(default_factory=Tally)
    levels: list[tuple[float, Level]] = field(default_factory=list)
    recycled: int = 0

    def __post_init__(self) -> None:
        scenario = self.scenario
        limit_bytes = scenario.limit_mb * MIB
        self.draw = random.Random(scenario.seed)
        self.page = SharedPage(scenario.workers + 1)
        self.host = Host(limit_bytes, 52 * MIB, scenario.file_mb * MIB)
        self.plan = make_plan(limit_bytes, "simulated", 4, APP, _wishes(scenario, limit_bytes))
        self.queue_requests = self.plan.queue_requests
        self.routes = {
            kind: RouteCost(f"GET /{row}", self.page.cost_numbers(row), row)
            for row, kind in enumerate(scenario.kinds)
        }
        self.page.header.started_nanoseconds = int(self.clock.now * NANOSECONDS)
        self.watch = SimulatedWatch(
            self.host,
            self.page,
            self.host,
            marks_for(
                limit_bytes,
                warning=Threshold(percent=80),
                critical=Threshold(percent=90),
                exhausted=Threshold(percent=98),
            ),
            self.plan.ceiling_bytes,
            clock=self.clock,
        )
        self.crew = Crew(self.page, scenario.workers, spawn=self._spawn, clock=self.clock)
        self.hold = self._make_hold()
        self.keeper = self._make_keeper()
        self._pids = itertools.count(FIRST_PID)
        self.workers: dict[int, Worker] = {}
        self._roll_up_at = 0.0
        if scenario.known:
            self._learn()

    @property
    def level(self) -> Level:
        """The level that is published."""
        return Level(self.page.header.level)

    def run(self, rest_seconds: float) -> Server:
        """Start, let the clients send, then let *rest_seconds* pass without them."""
        self._tick()
        self.clock.run(self.clock.now + 1.0)
        until = self.clock.now + self.scenario.load_seconds
        for number in range(self.scenario.clients):
            self.clock.after(0.001 * number, lambda: self._send(until))
        self.clock.run(until)
        self.clock.run(self.clock.now + 60.0, lambda: not any(w.jobs for w in self._living()))
        self.idle_since = self.clock.now
        self.clock.run(self.clock.now + rest_seconds)
        return self

    def heard_reclaimed(self, worker: Worker, reclaimed: Reclaimed) -> None:
        """Take a worker's answer to the keeper."""
        member = self.crew.find(worker.process.pid)
        if member is not None:
            self.keeper.on_reclaimed(member, reclaimed)

    def end(self, worker: Worker) -> None:
        """Note that a worker has ended, however it did."""
        if not worker.is_alive:
            return
        worker.die()
        self.host.end(worker.process.pid)
        self.clock.after(0.001, lambda: self._bury(worker))

    def _learn(self) -> None:
        """Have each route seen 64 times, its most expensive request among them."""
        for kind, route in self.routes.items():
            for number in range(64):
                first, later = (
                    high if number == 63 else self.draw.uniform(low, high)
                    for low, high in (kind.first_mb, kind.later_mb)
                )
                route.observe(first * MIB, later * MIB, kind.hold_seconds)

    def _living(self) -> Sequence[Worker]:
        return [worker for worker in self.workers.values() if worker.is_alive]

    def _send(self, until_seconds: float) -> None:
        if self.clock.now >= until_seconds:
            return
        serving = [worker for worker in self._living() if worker.is_serving]
        if not serving:
            # The listening socket keeps it until somebody accepts.
            self.clock.after(0.01, lambda: self._send(until_seconds))
            return
        kind = self.draw.choice(self.scenario.kinds)
        self.draw.choice(serving).take(kind, lambda: self._send(until_seconds))

    def _tick(self) -> None:
        self._end_who_is_to_end()
        self.crew.fill()
        self._roll_up()
        look = self.hold.look(spared=self.keeper.leaking.tracing.traced)
        assert look is not None
        if not self.levels or look.level is not self.levels[-1][1]:
            self.levels.append((self.clock.now, look.level))
        self.keeper.act(look)
        self.clock.after(self.hold.next_look_seconds(), self._tick)

    def _spawn(self, index: int) -> WorkerChannel:
        scenario, pid = self.scenario, next(self._pids)
        process = Process(self.host, pid, scenario.keep_share, scenario.garbage_share)
        self.host.processes[pid] = process
        worker = Worker(self, self.page.slots[index], process, scenario.cached_mb)
        process.when_killed = lambda: self._killed(worker)
        self.workers[pid] = worker
        self.clock.after(0.0, lambda: self._hear(worker, Hello(pid)))
        self.clock.after(START_SECONDS, lambda: self._hear(worker, Ready()))
        return cast(WorkerChannel, Line(lambda message: self._told(worker, message)))

    def _hear(self, worker: Worker, message: Hello | Ready) -> None:
        member = self.crew.members.get(worker.slot.index)
        if member is None or not worker.is_alive:
            return
        if isinstance(message, Ready):
            worker.become_ready()
        self.crew.heard(member, message)
        if isinstance(message, Ready):
            self.keeper.recycler.heard_ready(member)

    def _told(self, worker: Worker, message: ToWorker) -> None:
        if not worker.is_alive:
            return
        if isinstance(message, Stop):
            worker.drain()
        elif isinstance(message, Reclaim):
            level = Level(message.level)
            reclaim = partial(worker.reclaim, level, message.need_bytes, message.why)
            self.clock.after(ANSWER_SECONDS, reclaim)

    def _killed(self, worker: Worker) -> None:
        worker.die()
        self.clock.after(0.001, lambda: self._bury(worker))

    def _bury(self, worker: Worker) -> None:
        member = self.crew.find(worker.process.pid)
        self.workers.pop(worker.process.pid, None)
        if member is None:
            return
        self.crew.lost(member, 9)
        self.watch.forget(member.index)
        self.keeper.forget(member)

    def _end_who_is_to_end(self) -> None:
        for member in list(self.crew.members.values()):
            worker = self.workers.get(member.pid or 0)
            if member.killed is not None and worker is not None:
                self.end(worker)

    def _roll_up(self) -> None:
        if self.clock.now < self._roll_up_at:
            return
        self._roll_up_at = self.clock.now + 1.0
        for worker in self._living():
            slot = worker.slot
            slot.pss_bytes = slot.uss_bytes = worker.process.private_bytes
            slot.rolled_up_private_bytes = worker.process.private_bytes

    def _make_hold(self) -> Hold:
        fuses = SimulatedFuses(self.host, self.page, enabled=self.scenario.fuse)
        brake = Brake(
            self.page,
            self.watch,
            fuses,
            others=list,
            shrink=lambda spare: self.keeper.rounds.begin(Level.CRITICAL, "brake", spare=spare),
            clock=self.clock,
        )
        return Hold(self.watch, fuses, brake)

    def _make_keeper(self) -> Keeper:
        clock = self.clock

        def quiet(*_: object) -> None:
            """Alerts and reports go nowhere."""

        class Nowhere:
            note = staticmethod(quiet)

        asking = Asking(clock)
        return Keeper(
            page=self.page,
            crew=self.crew,
            watch=self.watch,
            recycler=Recycler(
                self.page,
                self.crew,
                RecyclingSettings(
                    recycle=True,
                    recycle_above_bytes=None,
                    max_requests=0,
                    max_lifetime_seconds=0.0,
                ),
                drain_seconds=10.0,
                start_seconds=30.0,
                alert=quiet,
                clock=clock,
                draw=lambda most: 0.0,
            ),
            leaking=Leaking(
                self.page,
                self.crew,
                asking=asking,
                report=False,
                alert=quiet,
                loosen=quiet,
                clock=clock,
            ),
            rounds=Rounds(self.page, self.crew, self.watch, asking, clock=clock),
            asking=asking,
            box=cast(Any, Nowhere()),
            recycle_above_bytes=None,
            alert=quiet,
            clock=clock,
        )


def _wishes(scenario: Scenario, limit_bytes: int) -> Wishes:
    exhausted_bytes = limit_bytes * 98 // 100
    return replace(NO_WISHES, workers=scenario.workers, threads=4, exhausted_bytes=exhausted_bytes)
