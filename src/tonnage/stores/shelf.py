"""What a cache holds in this process: entries by their keys, within bounds, each for its time.

Promises: never more than its bounds, once a set has returned. Safe from any thread: whatever
changes something holds one lock, for microseconds; looking up holds none.

Which entries stay is :mod:`tonnage.stores.s3fifo`'s to say, how large values are
:mod:`tonnage.stores.sizes`'. Makes no values and knows no other process: that is
:mod:`tonnage.stores.cache`.

Why looking up needs no lock: it is one lookup in a dict, which is atomic. What is found there may
be taken out or replaced at that moment by another thread; then it was found just before. An entry
that is replaced gets its new value first and its new time last, and is read the other way round, so
nobody gets an old value by a new time. Two threads that count one hit each may count one together.
"""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from tonnage.stores.entries import Entry
from tonnage.stores.s3fifo import S3Fifo
from tonnage.stores.sizes import size_bytes as estimated_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

V = TypeVar("V")

#: What an entry takes beside its key and its value: 96 itself, 32 each for its weight and its time,
#: 8 in a queue, and 44 to 88 in a dict, which grows in steps.
ENTRY_BYTES: Final = 256
#: The same for each tag of an entry: 365 were measured where each has its own, 70 where all share.
TAG_BYTES: Final = 320
#: What values leave unused between them in the allocator's heap: of small ones a sixteenth, of
#: larger ones, which seldom fit into the place of another, a seventh.
SMALL_HOLES, LARGE_HOLES = 16, 7
#: Where larger begins.
LARGE_BYTES: Final = 4096

#: Lifetimes are shortened at random by up to this share, so that what was filled together does not
#: expire together.
JITTER: Final = 0.1


class Shelf(Generic[V]):
    """Entries within bounds; :class:`tonnage.stores.cache.Cache` is one.

    Args:
        max_entries: how many there are at most.
        max_bytes: what they take at most.
        stale_seconds: how long an expired one is still of use.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        max_entries: int | None,
        max_bytes: int,
        stale_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self._most_entries = max_entries or sys.maxsize
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._policy = S3Fifo()
        self._entries = self._policy.entries
        # Keys by their tags; entries only, so bounded as they are.
        self._tagged: dict[str, set[Hashable]] = {}
        # Reentrant, since dropping a value may run code that uses the cache.
        self._changing = threading.RLock()
        self._hits = self._stale_hits = self._misses = self._sets = self._too_large = 0
        self._gone: Counter[str] = Counter()

    def __contains__(self, key: Hashable) -> bool:
        entry = self._entries.get(key)
        if entry is None:
            return False
        return entry.expires_seconds is None or self._clock() < entry.expires_seconds

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def used_bytes(self) -> int:
        """What all entries take, with what the cache needs for them."""
        return self._policy.weight

    def shrink(self, target_bytes: int) -> int:
        """Come down to *target_bytes*: what has expired goes first; return the bytes freed."""
        with self._changing:
            before = self._policy.weight
            if target_bytes <= 0:
                self._take_all_out("pressure")
                return before
            now = self._clock() - self._stale_seconds
            expired = [
                entry
                for entry in self._policy.held()
                if entry.expires_seconds is not None and entry.expires_seconds <= now
            ]
            for entry in expired:
                self._take_out(entry.key, "expired")
            self._evict_down_to(target_bytes, "pressure")
            return before - self._policy.weight

    def _look(self, key: Hashable) -> tuple[V, bool] | None:
        """Return the value of *key*, and whether it is stale; None: there is none to give out."""
        try:
            entry = self._entries[key]
        except KeyError:
            pass
        else:
            expires_seconds = entry.expires_seconds
            late_seconds = -1.0 if expires_seconds is None else self._clock() - expires_seconds
            is_stale = late_seconds >= 0
            if late_seconds < self._stale_seconds:
                try:
                    value: V = entry.value
                except AttributeError:
                    pass  # another thread has taken it out just now
                else:
                    entry.uses += 1
                    if is_stale:
                        self._stale_hits += 1
                    else:
                        self._hits += 1
                    return value, is_stale
            else:
                self._drop_expired(entry)
        self._misses += 1
        return None

    def _put(
        self,
        key: Hashable,
        value: V,
        seconds: float | None,
        tags: tuple[str, ...] = (),
        size_bytes: int | None = None,
    ) -> bool:
        """Keep *value* for *seconds*; return whether there was room for it, and time.

        Args:
            key: what it is found by.
            value: anything.
            seconds: how long it is good for; None: for as long as it stays.
            tags: what it may be invalidated by.
            size_bytes: what it takes; None: as it is estimated.
        """
        # As sizes.size_bytes says; most keys are strings and many values are bytes, and a call
        # would take longer than what it does.
        weight = ENTRY_BYTES
        weight += (key.__sizeof__() + 15) & -16 if type(key) is str else estimated_bytes(key)
        if size_bytes is not None:
            weight += size_bytes
        elif type(value) is bytes:
            weight += (len(value) + 48) & -16  # type: ignore[arg-type]
        else:
            weight += estimated_bytes(value)
        if tags:
            weight += TAG_BYTES * len(tags)
        weight += weight // (SMALL_HOLES if weight < LARGE_BYTES else LARGE_HOLES)
        expires_seconds = None
        if seconds is not None:
            expires_seconds = self._clock() + shortened(seconds)
        policy = self._policy
        # Not "with", which takes as long as much of the rest.
        self._changing.acquire()
        try:
            self._sets += 1
            entry = self._entries.get(key)
            if weight > self.max_bytes or (seconds is not None and seconds <= 0):
                self._too_large += weight > self.max_bytes
                self._take_out(key, "replaced")
                return False
            if entry is None:
                entry = Entry()
                entry.key = key
                entry.value = value
                entry.weight = weight
                entry.uses = 0
                entry.expires_seconds = expires_seconds
                entry.tags = tags
                policy.put(entry)
            else:
                # In this order: see above.
                entry.value = value
                entry.expires_seconds = expires_seconds
                policy.reweigh(entry, weight)
                if entry.tags:
                    self._untag(entry)
                entry.tags = tags
            for tag in tags:
                self._tagged.setdefault(tag, set()).add(key)
            if policy.weight > self.max_bytes or len(self._entries) > self._most_entries:
                self._evict_down_to(self.max_bytes, "evicted")
            return True
        finally:
            self._changing.release()

    # What changes anything is called with the lock held.

    def _evict_down_to(self, most_bytes: int, why: str) -> None:
        policy, most_entries, count = self._policy, self._most_entries, 0
        while policy.weight > most_bytes or len(self._entries) > most_entries:
            entry = policy.evict()
            count += 1
            if entry.tags:
                self._untag(entry)
        if count:
            self._gone[why] += count

    def _drop_expired(self, entry: Entry) -> None:
        with self._changing:
            # It may have been replaced meanwhile.
            expires_seconds = entry.expires_seconds
            if (
                self._entries.get(entry.key) is entry
                and expires_seconds is not None
                and expires_seconds + self._stale_seconds <= self._clock()
            ):
                self._take_out(entry.key, "expired")

    def _take_out(self, key: Hashable, why: str) -> bool:
        entry = self._entries.get(key)
        if entry is None:
            return False
        self._policy.remove(entry)
        if entry.tags:
            self._untag(entry)
        self._gone[why] += 1
        return True

    def _take_all_out(self, why: str) -> int:
        count = len(self._entries)
        self._policy.clear()
        self._tagged.clear()
        self._gone[why] += count
        return count

    def _untag(self, entry: Entry) -> None:
        for tag in entry.tags:
            keys = self._tagged.get(tag)
            if keys is not None:
                keys.discard(entry.key)
                if not keys:
                    del self._tagged[tag]


def shortened(seconds: float) -> float:
    """Return the lifetime *seconds*, less a random part of up to :data:`JITTER`."""
    return seconds * (1 - JITTER * random.random())
