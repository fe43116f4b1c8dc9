"""A cache with a bound in bytes, that gives its memory back when that is short.

    events = Cache("events", max_entries=100, max_bytes="8M", ttl="5m")

    @events.cached(tags=lambda event_id: [f"event:{event_id}"])
    async def load_event(event_id): ...

    events.invalidate("event:7")        # after event 7 was changed

Promises: never holds more than its bounds, each entry counted with what the cache itself takes for
it; a thousand callers that miss one key at once have it made once; what was invalidated while it
was being made is not kept. Safe from any thread, and from any event loop.

It lives in one process: each worker has its own. Under ``tonnage run`` it takes part in giving
memory back (:mod:`tonnage.governor.consumers`): trimmed at WARNING, cleared at CRITICAL. Which
entries stay is :mod:`tonnage.stores.s3fifo`'s, how large they are :mod:`tonnage.stores.sizes`'.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from tonnage.errors import ConfigError
from tonnage.governor.consumers import DEFAULT_PRIORITY, register
from tonnage.stores.flights import Flight, Flights
from tonnage.stores.s3fifo import S3Fifo
from tonnage.stores.sizes import size_bytes as estimated_bytes
from tonnage.stores.statistics import CacheStatistics
from tonnage.units import MIB, parse_bytes, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable
    from typing import ParamSpec

    P = ParamSpec("P")
    R = TypeVar("R")
    Tags = Iterable[str]

V = TypeVar("V")

#: What an entry takes beside its key and its value: the entry itself, its weight and time, its
#: places in a dict and in a queue. As ``python -m benchmarks stores`` has measured it.
ENTRY_BYTES: Final = 300
#: The same for each tag of an entry.
TAG_BYTES: Final = 120
DEFAULT_BYTES: Final = 16 * MIB
#: Lifetimes differ by up to this share, so that what was filled together does not expire together.
JITTER: Final = 0.1

_FOREVER: Final = float("inf")


class _Entry:
    """One value, with all that the cache knows of it."""

    __slots__ = ("expires_seconds", "tags", "uses", "value", "weight")

    def __init__(
        self, value: object, weight: int, expires_seconds: float, tags: tuple[str, ...]
    ) -> None:
        self.value: Any = value
        self.weight = weight
        self.uses = 0
        self.expires_seconds = expires_seconds
        self.tags = tags


class Cache(Generic[V]):
    """Values by their keys, within bounds.

    Args:
        name: what logs and pages call it.
        max_entries: how many there are at most; None: as many as fit.
        max_bytes: what they take at most, such as ``"8M"``.
        ttl: how long an entry is good for, such as ``"5m"``; None: for as long as it stays.
        none_ttl: the same for None, where a function finds nothing; by default as *ttl*, and 0 does
            not keep it.
        stale: how long after that it is still given out once more while it is made anew; then
            whoever asks first has it made, and nobody waits.
        priority: caches of lower numbers give way first when memory is short.
        clock: monotonic seconds.
        jitter: the part of a lifetime by which it is shortened at random.

    Raises:
        ConfigError: a bound makes no sense.
    """

    def __init__(
        self,
        name: str = "cache",
        *,
        max_entries: int | None = None,
        max_bytes: int | str = DEFAULT_BYTES,
        ttl: float | str | None = None,
        none_ttl: float | str | None = None,
        stale: float | str = 0,
        priority: int = DEFAULT_PRIORITY,
        clock: Callable[[], float] = time.monotonic,
        jitter: float = JITTER,
    ) -> None:
        self.name = name
        self.max_bytes = parse_bytes(max_bytes)
        self.max_entries = max_entries
        self._most_entries = max_entries or sys.maxsize
        if (max_entries is not None and max_entries < 1) or self.max_bytes <= ENTRY_BYTES:
            raise ConfigError(
                f"cache {name!r}: a bound of {max_entries} entries and {max_bytes} bytes holds"
                " nothing: give it one entry and some KB at least"
            )
        if not 0 <= jitter < 1:
            raise ConfigError(f"cache {name!r}: a jitter of {jitter} is no part of a lifetime")
        self._ttl_seconds = _FOREVER if ttl is None else parse_seconds(ttl)
        self._none_ttl_seconds = self._ttl_seconds if none_ttl is None else parse_seconds(none_ttl)
        self._stale_seconds = parse_seconds(stale)
        self._jitter = jitter
        self._clock = clock
        self._queue: S3Fifo[_Entry] = S3Fifo(self.max_bytes)
        # Keys by their tags; entries only, so bounded as they are.
        self._tagged: dict[str, set[Hashable]] = {}
        self._flights = Flights[V]()
        # Held for microseconds, never while a value is made. Looking up needs no lock.
        self._changing = threading.RLock()
        self._hits = self._stale_hits = self._misses = self._sets = self._too_large = 0
        self._gone: Counter[str] = Counter()
        self._registration = register(self, priority)

    # Entries.

    @overload
    def get(self, key: Hashable) -> V | None: ...
    @overload
    def get(self, key: Hashable, default: V) -> V: ...

    def get(self, key: Hashable, default: V | None = None) -> V | None:
        """Return the value of *key*, if it is there and good."""
        entry = self._queue.find(key)
        if entry is not None:
            if entry.expires_seconds == _FOREVER or self._clock() < entry.expires_seconds:
                self._hits += 1
                return entry.value  # type: ignore[no-any-return]
            if not self._stale_seconds:
                self._drop_expired(key, entry)
        self._misses += 1
        return default

    def set(
        self,
        key: Hashable,
        value: V,
        *,
        ttl: float | str | None = None,
        tags: Tags = (),
        size_bytes: int | None = None,
    ) -> bool:
        """Keep *value* for *key*; return whether there was room for it.

        Args:
            key: what it is found by.
            value: anything. It is not copied: whoever changes it changes what others get.
            ttl: how long it is good for; by default as the cache says.
            tags: what it may be invalidated by.
            size_bytes: what it takes, where it knows better than an estimate would.
        """
        kept = tuple(tags) if tags else ()
        weight = ENTRY_BYTES + estimated_bytes(key) + TAG_BYTES * len(kept)
        weight += estimated_bytes(value) if size_bytes is None else size_bytes
        expires_seconds = self._expiry(value, ttl)
        with self._changing:
            if self._flights.open:
                self._flights.void(key)
            self._sets += 1
            if weight > self.max_bytes or expires_seconds is None:
                self._too_large += weight > self.max_bytes
                self._take_out(key, "replaced")
                return False
            queue = self._queue
            before = queue.put(key, _Entry(value, weight, expires_seconds, kept))
            if before is not None and before.tags:
                self._untag(key, before)
            for tag in kept:
                self._tagged.setdefault(tag, set()).add(key)
            while queue.weight > self.max_bytes or queue.count > self._most_entries:
                self._evict("evicted")
            return True

    def delete(self, key: Hashable) -> bool:
        """Take *key* out; return whether it was there."""
        with self._changing:
            if self._flights.open:
                self._flights.void(key)
            return self._take_out(key, "deleted")

    def invalidate(self, *tags: str) -> int:
        """Take out what has any of *tags*; return how many entries that were.

        What is being made just now with such a tag reaches whoever waits for it, and is not kept.
        """
        with self._changing:
            self._flights.void_tagged(tags)
            keys = {key for tag in tags for key in self._tagged.get(tag, ())}
            return sum(self._take_out(key, "invalidated") for key in keys)

    def clear(self) -> int:
        """Take everything out; return how many entries that were."""
        with self._changing:
            return self._clear("cleared")

    def __contains__(self, key: Hashable) -> bool:
        entry = self._queue.peek(key)
        return entry is not None and self._clock() < entry.expires_seconds

    def __len__(self) -> int:
        return self._queue.count

    # Values that are made when they are missing.

    def get_or_make(
        self,
        key: Hashable,
        make: Callable[[], V],
        *,
        ttl: float | str | None = None,
        tags: Tags = (),
    ) -> V:
        """Return the value of *key*; *make* makes it if it is missing, in one thread for all.

        Raises:
            Exception: what *make* has raised; everybody who waits for it gets it, nobody keeps it.
        """
        found = self._find(key)
        if found is not None:
            value, is_stale = found
            if not is_stale:
                return value
            self._flights.begin_in_thread(key, tags, make, partial(self._keep, ttl))
            return value
        return self._flights.make(key, tags, make, partial(self._keep, ttl))

    async def get_or_await(
        self,
        key: Hashable,
        make: Callable[[], Awaitable[V]],
        *,
        ttl: float | str | None = None,
        tags: Tags = (),
    ) -> V:
        """Return the value of *key*; *make* makes it if it is missing, in one task for all.

        Whoever stops waiting does not stop it for the others.

        Raises:
            Exception: what *make* has raised; everybody who waits for it gets it, nobody keeps it.
        """
        found = self._find(key)
        if found is not None and not found[1]:
            return found[0]
        task = self._flights.task(key, tags, make, partial(self._keep, ttl))
        if found is not None:
            return found[0]
        from asyncio import shield

        # Who is cancelled while waiting does not cancel it.
        return await shield(task)

    @overload
    def cached(self, function: Callable[P, R]) -> Callable[P, R]: ...
    @overload
    def cached(
        self,
        *,
        ttl: float | str | None = None,
        key: Callable[..., Hashable] | None = None,
        tags: Tags | Callable[..., Tags] = (),
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def cached(
        self,
        function: Callable[..., Any] | None = None,
        *,
        ttl: float | str | None = None,
        key: Callable[..., Hashable] | None = None,
        tags: Tags | Callable[..., Tags] = (),
    ) -> Any:
        """Have what a function returns kept here: ``@cache.cached`` or ``@cache.cached(ttl=...)``.

        Args:
            function: a plain function, or a coroutine function.
            ttl: how long its results are good for.
            key: makes the key of its arguments; by default the function's name and all of them.
            tags: of each result; or a function that makes them of the arguments.
        """
        if function is None:
            return partial(self.cached, ttl=ttl, key=key, tags=tags)
        from inspect import iscoroutinefunction

        name = f"{function.__module__}.{function.__qualname__}"
        keyed = partial(_key_of, name) if key is None else key

        def tagged(*given: Any, **named: Any) -> Tags:
            return tags(*given, **named) if callable(tags) else tags

        if iscoroutinefunction(function):

            async def ask_async(*given: Any, **named: Any) -> Any:
                return await self.get_or_await(
                    keyed(*given, **named),
                    partial(function, *given, **named),
                    ttl=ttl,
                    tags=tagged(*given, **named),
                )

            return update_wrapper(ask_async, function)

        def ask(*given: Any, **named: Any) -> Any:
            return self.get_or_make(
                keyed(*given, **named),
                partial(function, *given, **named),
                ttl=ttl,
                tags=tagged(*given, **named),
            )

        return update_wrapper(ask, function)

    # As a consumer of memory.

    @property
    def used_bytes(self) -> int:
        """What all entries take, with what the cache needs for them."""
        return self._queue.weight

    def shrink(self, target_bytes: int) -> int:
        """Come down to *target_bytes*: what has expired goes first; return the bytes freed."""
        with self._changing:
            before = self._queue.weight
            if target_bytes <= 0:
                self._clear("pressure")
                return before
            now = self._clock() - self._stale_seconds
            expired = [key for key, each in self._queue.items() if each.expires_seconds <= now]
            for key in expired:
                self._take_out(key, "expired")
            while self._queue.weight > target_bytes:
                self._evict("pressure")
            return before - self._queue.weight

    def statistics(self) -> CacheStatistics:
        """Return what has become of it so far, and what it holds."""
        with self._changing:
            return CacheStatistics(
                name=self.name,
                entries=self._queue.count,
                max_entries=self.max_entries,
                used_bytes=self._queue.weight,
                max_bytes=self.max_bytes,
                hits=self._hits,
                stale_hits=self._stale_hits,
                misses=self._misses,
                sets=self._sets,
                too_large=self._too_large,
                shared=self._flights.shared,
                gone=dict(self._gone),
            )

    # Inside; what changes anything is called with the lock held.

    def _find(self, key: Hashable) -> tuple[V, bool] | None:
        """Return the value of *key*, and whether it is stale; None: there is none to give out."""
        entry = self._queue.find(key)
        if entry is not None:
            late_seconds = self._clock() - entry.expires_seconds
            if late_seconds < 0:
                self._hits += 1
                return entry.value, False
            if late_seconds < self._stale_seconds:
                self._stale_hits += 1
                return entry.value, True
            self._drop_expired(key, entry)
        self._misses += 1
        return None

    def _keep(self, ttl: float | str | None, flight: Flight[V], value: V) -> None:
        with self._changing:
            if not flight.is_void:
                self.set(flight.key, value, ttl=ttl, tags=flight.tags)

    def _expiry(self, value: object, ttl: float | str | None) -> float | None:
        """Return until when *value* is good; None: it is not to be kept."""
        if ttl is not None:
            seconds = parse_seconds(ttl)
        else:
            seconds = self._ttl_seconds if value is not None else self._none_ttl_seconds
            if seconds == _FOREVER:
                return _FOREVER
        if seconds <= 0:
            return None
        return self._clock() + seconds * (1 - self._jitter * random.random())

    def _evict(self, why: str) -> None:
        key, entry = self._queue.evict()
        self._untag(key, entry)
        self._gone[why] += 1

    def _drop_expired(self, key: Hashable, entry: _Entry) -> None:
        with self._changing:
            if self._queue.peek(key) is entry:
                self._take_out(key, "expired")

    def _take_out(self, key: Hashable, why: str) -> bool:
        entry = self._queue.pop(key)
        if entry is None:
            return False
        self._untag(key, entry)
        self._gone[why] += 1
        return True

    def _untag(self, key: Hashable, entry: _Entry) -> None:
        for tag in entry.tags:
            keys = self._tagged.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._tagged[tag]

    def _clear(self, why: str) -> int:
        self._flights.void_all()
        count = self._queue.count
        self._queue.clear()
        self._tagged.clear()
        self._gone[why] += count
        return count


def _key_of(name: str, *given: Any, **named: Any) -> Hashable:
    return (name, given, tuple(sorted(named.items()))) if named else (name, given)
