"""Giving memory back, in a worker: caches shrink, garbage is collected, the allocator lets go.

Promises: the three in this order, each measured by what the process's own memory fell by, and one
record of it (:class:`~tonnage.governor.reclaim.Reclaimed`) that fits a message to the supervisor.
Runs in the event loop's thread and holds it up for as long as it takes.

Does not decide when the level calls for it (the supervisor, :mod:`tonnage.governor.reclaim`) nor
how far a cache shrinks (:mod:`tonnage.governor.consumers`), and sends nothing.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final, Protocol

from tonnage.governor.consumers import Registry, targets
from tonnage.governor.levels import Level
from tonnage.governor.reclaim import (
    ALLOCATOR,
    CACHE,
    COLLECTION,
    Reclaimed,
    is_regular_due,
    may_collect,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# So many caches are named in a record, those that brought most; the others are one figure. A name
# has at most 52 characters, of 12 bytes each as JSON, so that this is at most 11 KB of the 16 that
# a message holds.
NAMED_CACHES: Final = 16
OTHERS: Final = f"{CACHE}(others)"


class Trims(Protocol):
    """The C heap, as far as it matters here: :class:`tonnage.host.malloc.Heap`."""

    def trim(self) -> None:
        """Hand free pages back to the system."""


class Reclaimer:
    """Gives this worker's memory back, and remembers what that cost."""

    def __init__(
        self,
        heap: Trims,
        registry: Registry,
        own_bytes: Callable[[], int],
        requests: Callable[[], int],
        clock: Callable[[], float],
        *,
        interval_seconds: float = 0.0,
        collect: Callable[[], object] = gc.collect,
    ) -> None:
        """Begin; nothing is given back yet.

        Args:
            heap: the C heap.
            registry: the caches and whatever else can shrink.
            own_bytes: the worker's own memory; only its changes count, and its trend.
            requests: how many requests this worker has served since it started.
            clock: monotonic seconds.
            interval_seconds: how often to reclaim although nobody is short; 0: never.
            collect: a full garbage collection.
        """
        self._heap = heap
        self._registry = registry
        self._own_bytes = own_bytes
        self._requests = requests
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._collect = collect
        self._last_seconds = self._collected_seconds = clock()
        self._cost_seconds = self._collection_seconds = 0.0

    def used_bytes(self) -> int:
        """Return what the caches say they hold: for the shared page, every now and then."""
        return sum(use.used_bytes for use in self._registry.uses())

    def due(self, now_seconds: float, in_flight: int) -> bool:
        """Return whether to reclaim although nobody is short."""
        return is_regular_due(
            now_seconds,
            last_seconds=self._last_seconds,
            last_cost_seconds=self._cost_seconds,
            interval_seconds=self._interval_seconds,
            in_flight=in_flight,
        )

    def reclaim(self, level: Level, need_bytes: int, why: str) -> Reclaimed:
        """Give back what *level* calls for.

        Args:
            level: how far caches shrink (at OK not at all), and whether garbage is collected
                although that was done just now.
            need_bytes: at WARNING, what the caches are to come down by.
            why: a few words for the log.
        """
        begun = self._clock()
        tally = _Tally(self._own_bytes)
        for name, freed_bytes in self._shrink(level, need_bytes):
            tally.credit_cache(name, freed_bytes)
        if self._collect_garbage(level):
            tally.credit(COLLECTION)
        self._heap.trim()
        tally.credit(ALLOCATOR)
        self._last_seconds = self._clock()
        self._cost_seconds = self._last_seconds - begun
        return Reclaimed(
            freed_bytes=tally.freed_bytes,
            by=_shortened(tally.settled()),
            cost_seconds=self._cost_seconds,
            own_bytes=tally.own_bytes,
            requests=self._requests(),
            why=why,
        )

    def _shrink(self, level: Level, need_bytes: int) -> Iterator[tuple[str, int]]:
        """Shrink whom it takes; yield each one's name, and what it says it freed."""
        left = {use.name: use for use in self._registry.uses()}
        # One by one, since where one frees less than it should, the next must give more.
        while asked := targets(level, left.values(), need_bytes):
            name, target_bytes = asked[0]
            freed = min(self._registry.shrink(name, target_bytes), left.pop(name).used_bytes)
            need_bytes -= freed
            yield name, freed

    def _collect_garbage(self, level: Level) -> bool:
        begun = self._clock()
        if not may_collect(level, self._collection_seconds, begun - self._collected_seconds):
            return False
        self._collect()
        self._collected_seconds = self._clock()
        self._collection_seconds = self._collected_seconds - begun
        return True


class _Tally:
    """Who brought how much: what the process's memory fell by since the last entry."""

    def __init__(self, own_bytes: Callable[[], int]) -> None:
        self._read = own_bytes
        self._before_bytes = self.own_bytes = own_bytes()
        self._by: dict[str, int] = {}
        # What caches say they have freed and the process still held.
        self._owed_bytes: dict[str, int] = {}

    @property
    def freed_bytes(self) -> int:
        return self._before_bytes - self.own_bytes

    def credit_cache(self, name: str, freed_bytes: int) -> None:
        """Credit the cache *name*, which says that it has freed so much."""
        key = f"{CACHE}{name}"
        self.credit(key)
        self._owed_bytes[key] = max(0, freed_bytes - self._by[key])

    def credit(self, key: str) -> None:
        """Credit *key* with what the memory has fallen by."""
        last, self.own_bytes = self.own_bytes, self._read()
        self._by[key] = max(0, last - self.own_bytes)

    def settled(self) -> dict[str, int]:
        """Return who brought how much, once caches got what is theirs of the later steps.

        What is freed as it is dropped, which is the rule, comes out when the heap is trimmed; what
        is in cycles, when garbage is collected.
        """
        by = dict(self._by)
        for step in (ALLOCATOR, COLLECTION):
            for cache, owed in self._owed_bytes.items():
                paid = min(owed - (by[cache] - self._by[cache]), by.get(step, 0))
                by[cache] += paid
                if paid:
                    by[step] -= paid
        return by


def _shortened(by: dict[str, int]) -> dict[str, int]:
    """Return *by* without caches that brought nothing, and with few names."""
    caches = sorted(
        (name for name, count in by.items() if name.startswith(CACHE) and count),
        key=lambda name: -by[name],
    )
    named, rest = caches[:NAMED_CACHES], caches[NAMED_CACHES:]
    short = {name: by[name] for name in named}
    if rest:
        short[OTHERS] = sum(by[name] for name in rest)
    return short | {name: by[name] for name in (COLLECTION, ALLOCATOR) if name in by}
