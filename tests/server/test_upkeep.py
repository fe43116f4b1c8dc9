"""What a worker does for its own memory: when asked, at intervals, when idle, after a failure."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.process import data_limit
from tests.web.virtual import run

from tonnage import Cache
from tonnage.governor.consumers import registry
from tonnage.governor.fuse import LEAST_SLACK_BYTES, SLACK_BYTES
from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage, Slot
from tonnage.host import commons
from tonnage.host.channel import Channel
from tonnage.host.malloc import Heap
from tonnage.host.reins import limit_data
from tonnage.server.upkeep import IDLE_SECONDS, WORTH_TRIMMING_BYTES, Upkeep
from tonnage.stores import bulletin
from tonnage.stores.security.events import RING_BYTES
from tonnage.stores.security.monitor import SecurityMonitor
from tonnage.units import MIB
from tonnage.web.outofmemory import MemoryFailure


class Trimmed(Heap):
    """The heap of a worker that holds what its slot says; it counts how often it is trimmed."""

    def __init__(self) -> None:
        super().__init__()
        self.trims = 0
        self.when_trimmed: Callable[[], object] = lambda: None

    def trim(self) -> None:
        """Give back what is set."""
        self.trims += 1
        self.when_trimmed()


@dataclass
class Home:
    """One worker, its end of the channel, and a clock to set; sizes are in MB."""

    gc_interval_seconds: float = 0.0
    now_seconds: float = 100.0
    own_mb: float = 20.0
    looks: int = 0
    heap: Trimmed = field(default_factory=Trimmed)
    page: SharedPage = field(default_factory=SharedPage)

    def __post_init__(self) -> None:
        ours, self.supervisor = Channel.pair()
        self.supervisor.setblocking(False)
        self.channel = ours
        self.slot: Slot = self.page.slots[0]
        self.slot.held_bytes = int(self.own_mb * MIB)
        self.upkeep = Upkeep(
            self.slot,
            self.heap,
            ours,
            own_bytes=lambda: int(self.own_mb * MIB),
            look=self.look,
            gc_interval_seconds=self.gc_interval_seconds,
            clock=lambda: self.now_seconds,
        )

    def look(self) -> None:
        """Count that the worker was measured, and publish what it holds."""
        self.looks += 1
        self.slot.held_bytes = int(self.own_mb * MIB)

    def beat(self, seconds: float = 0.1) -> None:
        """Let so much time pass, with one beat of the heart at the end."""
        self.now_seconds += seconds
        self.look()
        self.upkeep.beat(self.now_seconds)

    def told(self) -> list[dict[str, Any]]:
        """Return what the supervisor was told since this was last asked."""
        found = []
        while (received := self.supervisor.receive()) is not None:
            found.append(received[0])
        return found


Build = Callable[..., Home]


@pytest.fixture
def build() -> Iterator[Build]:
    """Yield what makes a home."""
    made: list[Home] = []

    def make(**settings: Any) -> Home:
        made.append(Home(**settings))
        return made[-1]

    yield make
    for home in made:
        home.channel.close()
        home.supervisor.close()


def failure(status: int = 503) -> MemoryFailure:
    """Return what is known of a request that ran out of memory."""
    return MemoryFailure(
        route="GET /export",
        line="app.py:12 in export",
        grown_bytes=200 * MIB,
        body_bytes=0,
        left_bytes=200 * MIB,
        status=status,
    )


def test_a_reclaim_is_carried_out_and_told(build: Build) -> None:
    """With what came back; measured anew before and after, so that room is known at once."""
    home = build(own_mb=100.0)
    home.slot.requests = 77
    home.heap.when_trimmed = lambda: setattr(home, "own_mb", 60.0)

    home.upkeep.reclaim(Level.WARNING, 0, "WARNING")

    (message,) = home.told()
    assert message["kind"] == "reclaimed"
    assert (message["freed_bytes"], message["own_bytes"]) == (40 * MIB, 60 * MIB)
    assert (message["requests"], message["why"]) == (77, "WARNING")
    assert home.looks == 2
    assert home.slot.held_bytes == 60 * MIB


def test_garbage_is_collected_at_intervals(build: Build) -> None:
    """Once in each, without being asked; the supervisor learns what is left."""
    home = build(gc_interval_seconds=60.0)
    found = []
    for _ in range(130):
        home.beat(1.0)
        found += [(home.now_seconds, message["why"]) for message in home.told()]

    assert found == [(160.0, "regular"), (220.0, "regular")]


def test_it_waits_for_a_quiet_moment_but_not_for_ever(build: Build) -> None:
    """A tenth of the interval."""
    home = build(gc_interval_seconds=60.0)
    home.slot.in_flight = 3
    home.beat(60.0)
    assert home.told() == []

    home.beat(6.1)
    assert len(home.told()) == 1


def test_without_an_interval_nothing_is_collected(build: Build) -> None:
    """Python's own collector goes on as ever."""
    home = build()
    before = [generation["collections"] for generation in gc.get_stats()][2]
    for _ in range(10):
        home.beat(1000.0)

    assert home.told() == []
    assert [generation["collections"] for generation in gc.get_stats()][2] == before


def test_an_idle_worker_hands_back_what_its_allocator_keeps(build: Build) -> None:
    """Once; again only if more has been kept since."""
    home = build()
    home.slot.kept_bytes = WORTH_TRIMMING_BYTES + 1
    home.beat(IDLE_SECONDS)
    assert home.heap.trims == 0

    home.beat(0.1)
    assert home.heap.trims == 1
    home.slot.kept_bytes = 0
    for _ in range(30):
        home.beat()
    assert home.heap.trims == 1


@pytest.mark.parametrize("busy", ["in_flight", "waiting"])
def test_a_busy_worker_keeps_it(build: Build, busy: str) -> None:
    """It will be spent again at once, and a trim takes 20 ms for 100 MB."""
    home = build()
    home.slot.kept_bytes = 100 * MIB
    setattr(home.slot, busy, 1)
    for _ in range(30):
        home.beat()
    assert home.heap.trims == 0

    setattr(home.slot, busy, 0)
    home.beat(IDLE_SECONDS)
    home.beat()
    assert home.heap.trims == 1


def test_little_is_not_worth_a_trim(build: Build) -> None:
    """Holes are left everywhere."""
    home = build()
    home.slot.kept_bytes = WORTH_TRIMMING_BYTES
    for _ in range(30):
        home.beat()

    assert home.heap.trims == 0


@pytest.mark.parametrize(("status", "answered"), [(503, 503), (413, 413), (0, None)])
def test_a_request_that_ran_out_of_memory_is_told_at_once(
    build: Build, status: int, answered: int | None
) -> None:
    """The report names route and line, and the status, if the client got one of ours."""
    home = build()

    async def story() -> None:
        home.upkeep.on_memory_error(failure(status))

    run(story())

    assert home.told() == [
        {
            "kind": "memory_error",
            "route": "GET /export",
            "line": "app.py:12 in export",
            "grown_bytes": 200 * MIB,
            "left_bytes": 200 * MIB,
            "was_freed": False,
            "answered": answered,
        }
    ]


@pytest.mark.parametrize(
    ("left_mb", "kinds"),
    [
        # Back where it was, or nearly: a cache has been filled meanwhile.
        (44, []),
        # Collecting did not help: the supervisor is to replace it.
        (45, ["reclaimed", "kept"]),
    ],
)
def test_then_the_worker_is_checked(build: Build, left_mb: float, kinds: list[str]) -> None:
    """Half a second later, against what it held before the request; it held 20 MB then."""
    home = build()
    for _ in range(3):
        home.beat()

    async def story() -> None:
        home.own_mb = 220
        home.beat()
        home.upkeep.on_memory_error(failure())
        home.own_mb = left_mb
        home.told()
        await asyncio.sleep(0.6)

    run(story())

    assert [message["kind"] for message in home.told()] == kinds


def test_what_no_request_waited_for_is_checked_in_the_same_way(build: Build) -> None:
    """There is no request to tell the supervisor of."""
    home = build()

    async def story() -> None:
        home.upkeep.check()
        home.own_mb = 45
        await asyncio.sleep(0.6)

    run(story())

    assert [message["kind"] for message in home.told()] == ["reclaimed", "kept"]


def test_what_a_collection_brings_back_is_not_kept(build: Build) -> None:
    """The frames of the failed request hang in a cycle."""
    home = build()
    home.beat()
    home.own_mb = 200
    home.heap.when_trimmed = lambda: setattr(home, "own_mb", 30.0)

    async def story() -> None:
        home.upkeep.on_memory_error(failure())
        home.told()
        await asyncio.sleep(0.6)

    run(story())

    assert [message["kind"] for message in home.told()] == ["reclaimed"]


def test_many_failures_at_once_are_checked_once(build: Build) -> None:
    """Each is told of."""
    home = build()
    home.beat()

    async def story() -> None:
        for _ in range(5):
            home.upkeep.on_memory_error(failure())
        home.own_mb = 100
        await asyncio.sleep(1.2)

    run(story())

    kinds = [message["kind"] for message in home.told()]
    assert kinds == ["memory_error"] * 5 + ["reclaimed", "kept"]


def test_a_trace_is_reported_before_its_worker_ends(build: Build) -> None:
    """With what it has seen; where none runs, nothing is said."""
    home = build()
    home.upkeep.end_trace()
    assert home.told() == []
    home.upkeep.trace(60.0, 64 * MIB)
    home.beat(20)

    home.upkeep.end_trace()

    (message,) = home.told()
    assert message["kind"] == "traced"
    assert message["report"]["ended"] == "early"
    assert not tracemalloc.is_tracing()


def test_a_trace_runs_with_the_heartbeat_and_is_reported(build: Build) -> None:
    """Meanwhile there is no regular collection: it would change what is compared."""
    home = build(gc_interval_seconds=1.0)
    home.upkeep.trace(2.0, 64 * MIB)
    home.upkeep.trace(2.0, 64 * MIB)
    messages: list[dict[str, Any]] = []
    for _ in range(40):
        home.beat()
        messages += home.told()
        if messages:
            break

    (message,) = messages
    assert message["kind"] == "traced"
    assert message["report"]["ended"] == "time"
    assert home.heap.trims == 1


def test_the_caches_are_published(build: Build) -> None:
    """With each beat."""
    home = build()
    home.slot.consumers_bytes = 5
    home.beat()

    # Other tests of this process may have left a map behind.
    assert home.slot.consumers_bytes == sum(use.used_bytes for use in registry.uses())


@pytest.fixture
def unlimited() -> Iterator[None]:
    """Give this process back the limit that it had."""
    before = data_limit(0)
    yield
    limit_data(0, before)


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize(("left_mb", "room_mb"), [(500, 500), (0, SLACK_BYTES // MIB)])
def test_a_worker_sets_its_first_fuse_itself(build: Build, left_mb: int, room_mb: int) -> None:
    """The first request can come before the supervisor's first look."""
    home = build()
    home.slot.data_bytes = 9000 * MIB

    home.upkeep.set_first_fuse(left_mb * MIB)

    assert home.slot.data_limit_bytes == data_limit(0) == (9000 + room_mb) * MIB


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize(
    ("granted_mb", "fuse_mb"),
    # What it was granted, and a little more.
    [(100, 9500), (600, 9600 + LEAST_SLACK_BYTES // MIB)],
)
def test_a_grant_raises_the_fuse_at_once(build: Build, granted_mb: int, fuse_mb: int) -> None:
    """It is never lowered here: that is for the supervisor, who sees the other workers."""
    home = build()
    home.slot.data_bytes = 9000 * MIB
    home.upkeep.set_first_fuse(500 * MIB)
    home.slot.promised_bytes = home.slot.granted_bytes = granted_mb * MIB

    home.upkeep.keep_fuse_above()

    assert home.slot.data_limit_bytes == data_limit(0) == fuse_mb * MIB


@pytest.mark.usefixtures("unlimited")
def test_a_worker_without_a_fuse_is_given_none_by_a_grant(build: Build) -> None:
    """Fuses are off, or it is being traced."""
    home = build()
    before = data_limit(0)
    home.slot.promised_bytes = home.slot.granted_bytes = 600 * MIB

    home.upkeep.keep_fuse_above()

    assert home.slot.data_limit_bytes == 0
    assert data_limit(0) == before


@pytest.mark.usefixtures("own_commons")
def test_beats_erase_security_events_that_are_too_old(build: Build) -> None:
    """Once a minute, though nothing else is noted."""
    home = build()
    past = SecurityMonitor(keep_seconds=1, wall_clock=lambda: time.time() - 10)
    past.attempt("203.0.113.7", user="ann", succeeded=False)

    def is_there() -> bool:
        return b"203.0.113.7" in bytes(commons.share("security events", RING_BYTES).bytes)

    assert is_there()
    home.beat(60.0)
    assert not is_there()
    past.attempt("203.0.113.7", user="ann", succeeded=False)
    home.beat(59.0)
    assert is_there()
    home.beat(1.0)
    assert not is_there()


def test_a_beat_obeys_what_other_workers_say_to_caches(build: Build) -> None:
    """An idle worker looks nothing up, and is to give the memory back."""
    home = build()
    cache: Cache[str] = Cache("beaten", redis=False)
    cache.set("a", "x")
    pid = os.fork()
    if pid == 0:
        try:
            bulletin.clear("beaten")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert cache.used_bytes > 0
    home.upkeep.beat(home.now_seconds)
    assert cache.used_bytes == 0
