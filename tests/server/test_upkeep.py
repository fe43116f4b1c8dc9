"""What a worker does for its own memory: when asked, at intervals, when idle, after a failure."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.web.virtual import run

from tonnage.governor.consumers import registry
from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage, Slot
from tonnage.governor.reclaim import Reclaimed
from tonnage.host.malloc import Heap
from tonnage.server.messages import WORKERS, RanOut, Traced
from tonnage.server.upkeep import IDLE_SECONDS, WORTH_TRIMMING_BYTES, Upkeep
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
        self.supervisor, ours = WORKERS.pair()
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

    def told(self) -> list[Any]:
        """Return what the supervisor was told since this was last asked."""
        return list(self.supervisor.messages())

    def kinds(self) -> list[str]:
        """Return what kinds of messages these are."""
        return [type(message).__name__ for message in self.told()]


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
    assert isinstance(message, Reclaimed)
    assert (message.freed_bytes, message.own_bytes) == (40 * MIB, 60 * MIB)
    assert (message.requests, message.why) == (77, "WARNING")
    assert home.looks == 2
    assert home.slot.held_bytes == 60 * MIB


def test_garbage_is_collected_at_intervals(build: Build) -> None:
    """Once in each, without being asked; the supervisor learns what is left."""
    home = build(gc_interval_seconds=60.0)
    found = []
    for _ in range(130):
        home.beat(1.0)
        found += [(home.now_seconds, message.why) for message in home.told()]

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


def test_nothing_is_handed_back_among_small_requests(build: Build) -> None:
    """They pass the desk, so that none is in flight there: that they come is what tells of them."""
    home = build(gc_interval_seconds=60.0)
    home.slot.kept_bytes = 100 * MIB
    for _ in range(65):
        home.slot.requests += 500
        home.beat(1.0)
    assert (home.heap.trims, home.told()) == (0, [])

    home.beat(0.1)
    assert [message.why for message in home.told()] == ["regular"]


def test_between_small_requests_it_is(build: Build) -> None:
    """Some always come; what large ones have left goes back in the first moment without any."""
    home = build()
    home.slot.in_flight, home.slot.kept_bytes = 1, 100 * MIB
    home.beat()
    home.slot.in_flight = 0
    trims = []
    for beat in range(14):
        home.slot.requests += beat % 3 != 2
        home.beat()
        trims.append(home.heap.trims)

    assert trims == [0] * 11 + [1] * 3


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
        RanOut(
            route="GET /export",
            line="app.py:12 in export",
            grown_bytes=200 * MIB,
            left_bytes=200 * MIB,
            was_freed=False,
            answered=answered,
        )
    ]


@pytest.mark.parametrize(
    ("left_mb", "kinds"),
    [
        # Back where it was, or nearly: a cache has been filled meanwhile.
        (44, []),
        # Collecting did not help: the supervisor is to replace it.
        (45, ["Reclaimed", "Kept"]),
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

    assert home.kinds() == kinds


def test_what_no_request_waited_for_is_checked_in_the_same_way(build: Build) -> None:
    """There is no request to tell the supervisor of."""
    home = build()

    async def story() -> None:
        home.upkeep.check()
        home.own_mb = 45
        await asyncio.sleep(0.6)

    run(story())

    assert home.kinds() == ["Reclaimed", "Kept"]


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

    assert home.kinds() == ["Reclaimed"]


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

    assert home.kinds() == ["RanOut"] * 5 + ["Reclaimed", "Kept"]


def test_a_trace_is_reported_before_its_worker_ends(build: Build) -> None:
    """With what it has seen; where none runs, nothing is said."""
    home = build()
    home.upkeep.end_trace()
    assert home.told() == []
    home.upkeep.trace(60.0, 64 * MIB)
    home.beat(20)

    home.upkeep.end_trace()

    (message,) = home.told()
    assert isinstance(message, Traced)
    assert message.report["ended"] == "early"
    assert not tracemalloc.is_tracing()


def test_a_trace_runs_with_the_heartbeat_and_is_reported(build: Build) -> None:
    """Meanwhile there is no regular collection: it would change what is compared."""
    home = build(gc_interval_seconds=1.0)
    home.upkeep.trace(2.0, 64 * MIB)
    home.upkeep.trace(2.0, 64 * MIB)
    messages: list[Any] = []
    for _ in range(40):
        home.beat()
        messages += home.told()
        if messages:
            break

    (message,) = messages
    assert isinstance(message, Traced)
    assert message.report["ended"] == "time"
    assert home.heap.trims == 1


def test_the_caches_are_published(build: Build) -> None:
    """With each beat."""
    home = build()
    home.slot.consumers_bytes = 5
    home.beat()

    # Other tests of this process may have left a map behind.
    assert home.slot.consumers_bytes == sum(use.used_bytes for use in registry.uses())
