"""What stores say of themselves: frozen records, the same for pages, metrics, logs and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """A cache at one moment; counts are since it was made, in this process.

    Attributes:
        name: the cache's.
        entries: how many there are.
        max_entries: how many there may be; None: as many as fit.
        used_bytes: what they take, with what the cache needs for them.
        max_bytes: what they may take.
        hits: values found and good.
        stale_hits: values given out while they were made anew.
        misses: keys not found in this process, or expired.
        shared_hits: of these, found in what workers share.
        redis_hits: of these, found in Redis.
        sets: values offered.
        too_large: of these, larger than the whole cache.
        shared: callers that got what another had made at that moment.
        gone: entries that are gone, by why: evicted, expired, invalidated, deleted, cleared,
            pressure (memory was short), replaced (by a value that was not kept).
        shared_used_bytes: what workers share takes, on disk and in file cache, for all of them.
        shared_max_bytes: what it may take; 0: they share nothing.
    """

    name: str
    entries: int
    max_entries: int | None
    used_bytes: int
    max_bytes: int
    hits: int
    stale_hits: int
    misses: int
    sets: int
    too_large: int
    shared: int
    gone: Mapping[str, int]
    shared_hits: int = 0
    redis_hits: int = 0
    shared_used_bytes: int = 0
    shared_max_bytes: int = 0

    @property
    def hit_ratio(self) -> float:
        """The share of lookups that found something, wherever; 0 before the first."""
        found = self.hits + self.stale_hits
        asked = found + self.misses
        return (found + self.shared_hits + self.redis_hits) / asked if asked else 0.0


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """A writer at one moment; counts are since it was first used, in this process.

    What was added is somewhere: ``total_added`` is the sum of ``total_flushed``, ``total_failed``,
    ``total_dropped``, ``buffer_size`` and ``spooled``, unless records of an earlier process were
    found in the spool.

    Attributes:
        name: the writer's.
        buffer_size: records in memory, those on their way to the sink included.
        max_records: how many there may be.
        used_bytes: what they take.
        max_bytes: what they may take.
        total_added: records offered, whether they were taken or dropped.
        total_flushed: records that the sink has stored.
        total_failed: records that it has rejected; they were set aside.
        total_dropped: records lost for want of room, or since the process ended.
        spooled: records on disk that are not stored yet.
        spooled_bytes: what they take there.
        waiting: callers that wait for room.
        lag_seconds: for how long the oldest record in memory has waited.
        is_failing: whether the sink takes nothing just now.
    """

    name: str
    buffer_size: int
    max_records: int
    used_bytes: int
    max_bytes: int
    total_added: int
    total_flushed: int
    total_failed: int
    total_dropped: int
    spooled: int
    spooled_bytes: int
    waiting: int
    lag_seconds: float
    is_failing: bool

    def as_json(self) -> dict[str, object]:
        """Return it with names as JSON has them: ``bufferSize``, ``totalFlushed`` and so on."""
        return {_camel_case(each.name): getattr(self, each.name) for each in fields(self)}


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
