"""What stores say of themselves: frozen records, the same for pages, metrics, logs and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
        misses: keys not found, or expired.
        sets: values offered.
        too_large: of these, larger than the whole cache.
        shared: callers that got what another had made at that moment.
        gone: entries that are gone, by why: evicted, expired, invalidated, deleted, cleared,
            pressure (memory was short), replaced (by a value that was not kept).
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

    @property
    def hit_ratio(self) -> float:
        """The share of lookups that found something; 0 before the first."""
        found = self.hits + self.stale_hits
        return found / (found + self.misses) if found + self.misses else 0.0
