"""What a worker does to give memory back, in order, and who is credited with what."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import pytest

from tonnage.governor.consumers import Registry
from tonnage.governor.levels import Level
from tonnage.server.messages import WORKERS
from tonnage.server.reclaimer import NAMED_CACHES, OTHERS, Reclaimer


@dataclass
class Process:
    """A process of so many bytes, and what would come back at each step."""

    own_bytes: int = 1000
    garbage_bytes: int = 0
    kept_bytes: int = 0
    now: float = 0.0
    collect_seconds: float = 0.0
    did: list[str] = field(default_factory=list)
    registry: Registry = field(default_factory=Registry)

    def clock(self) -> float:
        """Return the time."""
        return self.now

    def collect(self) -> None:
        """Give garbage back."""
        self.did.append("collect")
        self.now += self.collect_seconds
        self.own_bytes -= self.garbage_bytes
        self.garbage_bytes = 0

    def trim(self) -> None:
        """Give back what the allocator kept."""
        self.did.append("trim")
        self.own_bytes -= self.kept_bytes
        self.kept_bytes = 0

    def reclaimer(self, interval_seconds: float = 0.0) -> Reclaimer:
        """Return a reclaimer of this process."""
        return Reclaimer(
            self,
            self.registry,
            lambda: self.own_bytes,
            lambda: 77,
            self.clock,
            interval_seconds=interval_seconds,
            collect=self.collect,
        )


@dataclass(eq=False)
class Cache:
    """A cache in a process; of what it frees, the allocator keeps or cycles hold a part."""

    process: Process
    name: str
    used_bytes: int
    kept_share: float = 0.0
    cyclic_share: float = 0.0
    stubborn: bool = False
    priority: int = 100

    def __post_init__(self) -> None:
        self.process.registry.register(self, self.priority)

    def shrink(self, target_bytes: int) -> int:
        """Let go of entries."""
        self.process.did.append(f"{self.name} to {target_bytes}")
        if self.stubborn:
            return 0
        freed = max(0, self.used_bytes - target_bytes)
        self.used_bytes -= freed
        kept, cyclic = int(freed * self.kept_share), int(freed * self.cyclic_share)
        self.process.kept_bytes += kept
        self.process.garbage_bytes += cyclic
        self.process.own_bytes -= freed - kept - cyclic
        return freed


def test_caches_shrink_then_garbage_is_collected_then_the_heap_is_trimmed() -> None:
    """And each step is credited with what the process fell by."""
    process = Process(garbage_bytes=20, kept_bytes=51, collect_seconds=0.04)
    pages = Cache(process, "pages", 300)

    done = process.reclaimer().reclaim(Level.CRITICAL, 0, "level CRITICAL")

    assert process.did == ["pages to 0", "collect", "trim"]
    assert pages.used_bytes == 0
    assert asdict(done) == {
        "freed_bytes": 371,
        "by": {"cache:pages": 300, "collection": 20, "allocator": 51},
        "cost_seconds": pytest.approx(0.04),
        "own_bytes": 629,
        "requests": 77,
        "why": "level CRITICAL",
    }


@pytest.mark.parametrize(
    ("kept", "cyclic", "collection", "allocator"),
    [(1.0, 0.0, 20, 50), (0.0, 1.0, 70, 0), (0.5, 0.2, 70, 0)],
)
def test_what_a_cache_freed_is_the_caches_wherever_it_came_out(
    kept: float, cyclic: float, collection: int, allocator: int
) -> None:
    """Freed small blocks leave the process only when the heap is trimmed, cycles before that."""
    process = Process(garbage_bytes=20, kept_bytes=50)
    caches = [Cache(process, "pages", 300, kept, cyclic), Cache(process, "sessions", 100)]

    done = process.reclaimer().reclaim(Level.CRITICAL, 0, "")

    assert [cache.used_bytes for cache in caches] == [0, 0]
    assert done.by == {
        "cache:pages": 300,
        "cache:sessions": 100,
        "collection": collection,
        "allocator": allocator,
    }
    assert done.freed_bytes == sum(done.by.values()) == 470


def test_a_cache_that_claims_too_much_is_credited_with_what_came() -> None:
    """The sum of the parts is the whole."""
    process = Process(garbage_bytes=20, kept_bytes=50)
    liar = Cache(process, "liar", 300, kept_share=1.0)
    process.kept_bytes -= 200  # of what it frees, 200 bytes belong to others as well

    done = process.reclaimer().reclaim(Level.CRITICAL, 0, "")

    assert liar.used_bytes == 0
    assert done.freed_bytes == sum(done.by.values()) == 170


def test_at_warning_caches_come_down_by_what_is_needed() -> None:
    """By half at most, low priority numbers first."""
    process = Process()
    first, last = Cache(process, "first", 300, priority=1), Cache(process, "last", 300, priority=2)

    process.reclaimer().reclaim(Level.WARNING, 200, "")

    assert (first.used_bytes, last.used_bytes) == (150, 250)


def test_where_one_does_not_give_way_the_next_is_asked() -> None:
    """A cache that cannot shrink would shield all others until CRITICAL."""
    process = Process()
    stubborn = Cache(process, "stubborn", 300, stubborn=True, priority=1)
    soft = Cache(process, "soft", 300, priority=2)

    process.reclaimer().reclaim(Level.WARNING, 100, "")

    assert (stubborn.used_bytes, soft.used_bytes) == (300, 200)
    assert process.did[:2] == ["stubborn to 200", "soft to 200"]


def test_a_cache_that_claims_more_than_there_is_does_not_shield_the_others() -> None:
    """It counts by what it says it freed, never more than it said it held."""
    process = Process(own_bytes=200)
    boastful = Cache(process, "boastful", 1 << 49, stubborn=True, priority=1)
    soft = Cache(process, "soft", 100, priority=2)

    process.reclaimer().reclaim(Level.WARNING, 140, "")

    assert process.did[:2] == [f"boastful to {(1 << 49) - 140}", "soft to 50"]
    assert (boastful.used_bytes, soft.used_bytes) == (1 << 49, 50)


def test_at_ok_no_cache_shrinks() -> None:
    """Caches are of use; garbage and what the allocator keeps are not."""
    process = Process(garbage_bytes=5)
    cache = Cache(process, "pages", 300)

    done = process.reclaimer().reclaim(Level.OK, 1000, "asked")

    assert (cache.used_bytes, done.freed_bytes) == (300, 5)


@pytest.mark.parametrize(
    ("level", "since", "collects"),
    [
        (Level.WARNING, 19.0, False),
        (Level.WARNING, 21.0, True),
        (Level.CRITICAL, 0.0, True),
        (Level.EXHAUSTED, 0.0, True),
    ],
)
def test_collecting_is_held_to_a_share_of_the_time(
    level: Level, since: float, collects: bool
) -> None:
    """A collection of 1 s is not repeated within 20 s, unless memory is really short."""
    process = Process(collect_seconds=1.0)
    reclaimer = process.reclaimer()
    process.now += 100.0
    reclaimer.reclaim(Level.WARNING, 0, "")
    process.did.clear()
    process.now += since

    done = reclaimer.reclaim(level, 0, "")

    assert process.did == ["collect", "trim"] if collects else ["trim"]
    assert ("collection" in done.by) is collects


def test_memory_that_grew_meanwhile_shows() -> None:
    """Threads go on allocating."""
    process = Process(garbage_bytes=-50)

    done = process.reclaimer().reclaim(Level.WARNING, 0, "")

    assert done.freed_bytes == -50
    assert done.by == {"collection": 0, "allocator": 0}


def test_many_caches_fit_into_one_message() -> None:
    """Those that brought most are named."""
    process = Process(own_bytes=10**6)
    caches = [Cache(process, f"\U0001f4be{n}" + "\U0001f4be" * 90, n) for n in range(1, 200)]

    done = process.reclaimer().reclaim(Level.CRITICAL, 0, "x" * 200)
    ours, theirs = WORKERS.pair()

    assert theirs.send(done)
    received = ours.receive()
    ours.close()
    theirs.close()
    assert received is not None
    # As it was: nothing had to be cut.
    assert received[0] == done
    by = done.by
    assert len(by) == NAMED_CACHES + 3
    assert by[OTHERS] == sum(range(1, 200 - NAMED_CACHES))
    assert sum(by.values()) == done.freed_bytes == sum(range(1, 200))
    assert not any(cache.used_bytes for cache in caches)


def test_what_the_caches_hold_is_summed() -> None:
    """For the page."""
    process = Process()
    caches = [Cache(process, "a", 30), Cache(process, "b", 12)]

    assert process.reclaimer().used_bytes() == 42
    del caches[1:]
    assert process.reclaimer().used_bytes() == 30


@pytest.mark.parametrize(
    ("now", "in_flight", "due"),
    [(59.9, 0, False), (60.0, 0, True), (60.0, 3, False), (65.9, 3, False), (66.0, 3, True)],
)
def test_a_worker_reclaims_regularly(now: float, in_flight: int, due: bool) -> None:
    """Between requests if it can, a tenth of the interval late at most."""
    assert Process().reclaimer(60.0).due(now, in_flight) is due


def test_without_an_interval_nothing_is_regular() -> None:
    """``--gc-interval 0``."""
    assert not Process().reclaimer(0.0).due(1e9, 0)


def test_a_regular_reclaim_that_is_dear_becomes_rare() -> None:
    """It may take a hundredth of the time: after 2 s, the next is 200 s later."""
    process = Process(collect_seconds=2.0)
    reclaimer = process.reclaimer(60.0)
    process.now = 60.0
    reclaimer.reclaim(Level.OK, 0, "regular")

    assert process.now == 62.0
    assert [reclaimer.due(now, 0) for now in (122.0, 261.9, 262.1)] == [False, False, True]
