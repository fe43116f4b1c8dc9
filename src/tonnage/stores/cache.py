"""A cache with a bound in bytes, that gives its memory back when that is short.

    events = Cache("events", max_entries=100, max_bytes="8M", ttl="5m")

    @events.cached(tags=lambda event_id: [f"event:{event_id}"])
    async def load_event(event_id): ...

    events.invalidate("event:7")        # after event 7 was changed

Promises: never holds more than its bounds, each entry counted with what the cache itself takes for
it; a thousand callers that miss one key at once have it made once; what was invalidated while it
was being made is not kept. Safe from any thread, and from any event loop.

Each worker has its own; what that holds, and for how long, is :mod:`tonnage.stores.shelf`'s. All
workers forget together (:mod:`tonnage.stores.forgetting`), and may have levels beyond their
memory in common (:mod:`tonnage.stores.beyond`). Under ``tonnage run`` it takes part in giving
memory back (:mod:`tonnage.governor.consumers`): trimmed at WARNING, cleared at CRITICAL.
"""

from __future__ import annotations

import logging
import math
import time
from enum import Enum
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from tonnage.errors import ConfigError
from tonnage.governor.consumers import DEFAULT_PRIORITY, register
from tonnage.stores.arguments import (
    checked_name,
    checked_size,
    is_async,
    is_known_by_name,
    keys_of,
    tags_of,
)
from tonnage.stores.beyond import levels_of
from tonnage.stores.forgetting import ForgettingShelf
from tonnage.stores.names import name_of
from tonnage.stores.settings import current
from tonnage.stores.shelf import ENTRY_BYTES, shortened
from tonnage.stores.statistics import CacheStatistics
from tonnage.units import MIB, parse_bytes, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable
    from typing import ParamSpec

    from tonnage.stores.beyond import Errand
    from tonnage.stores.flights import Flight
    from tonnage.stores.levels import Codec, Found

    P = ParamSpec("P")
    R = TypeVar("R")
    Tags = Iterable[str] | str

V = TypeVar("V")

logger = logging.getLogger("tonnage.stores")

DEFAULT_BYTES: Final = 16 * MIB


class Unsaid(Enum):
    """What an argument is that was left out, where None says something."""

    UNSAID = 0


UNSAID: Final = Unsaid.UNSAID


class Cache(ForgettingShelf[V]):
    """Values by their keys, within bounds.

    Args:
        name: what logs and pages call it. Caches of one name forget together, and share what they
            have beyond their memory.
        max_entries: how many there are at most; None: as many as fit.
        max_bytes: what they take at most, such as ``"8M"``.
        ttl: how long an entry is good for, such as ``"5m"``; None: for as long as it stays; by
            default as ``CACHE_TTL`` says, and that is 5 minutes in production.
        none_ttl: the same for None, where a function finds nothing; by default as *ttl*, and 0 does
            not keep it.
        shared: how much all workers of this machine keep together on disk, beside each one's
            memory, such as ``"64M"``; None: they share nothing.
        redis: whether to keep values in Redis too, for all instances; None: where ``REDIS_URL`` is
            set, and the cache has a name.
        codec: writes values for disk and Redis; by default pickle on disk, and JSON for Redis.
        stale: how long after its lifetime an entry is still given out while it is made anew; then
            whoever asks first has it made, and nobody waits.
        priority: caches of lower numbers give way first when memory is short.
        clock: monotonic seconds; another one for tests of what expires.

    Raises:
        ConfigError: a bound makes no sense, or what is asked for is not configured or installed.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        max_entries: int | None = None,
        max_bytes: int | str = DEFAULT_BYTES,
        ttl: float | str | Unsaid | None = UNSAID,
        shared: int | str | None = None,
        redis: bool | None = None,
        codec: Codec | None = None,
        none_ttl: float | str | None = None,
        stale: float | str = 0,
        priority: int = DEFAULT_PRIORITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        known_as = "cache" if name is None else checked_name(name)
        most_bytes = parse_bytes(max_bytes)
        if not isinstance(max_entries, int | None):
            raise ConfigError(f"cache {known_as!r}: max_entries={max_entries!r} is no whole number")
        if (max_entries is not None and max_entries < 1) or most_bytes <= ENTRY_BYTES:
            raise ConfigError(
                f"cache {known_as!r}: a bound of {max_entries} entries and {max_bytes} bytes holds"
                " nothing: give it one entry and some KB at least"
            )
        super().__init__(
            known_as,
            levels_of(name, shared, redis, codec),
            max_entries=max_entries,
            max_bytes=most_bytes,
            stale_seconds=parse_seconds(stale),
            clock=clock,
        )
        # None is for as long as an entry stays.
        if ttl is UNSAID:
            self._ttl_seconds: float | None = current().cache_ttl_seconds
        else:
            self._ttl_seconds = None if ttl is None else parse_seconds(ttl)
        self._none_ttl_seconds = self._ttl_seconds if none_ttl is None else parse_seconds(none_ttl)
        self._registration = register(self, priority)

    # Entries.

    @overload
    def get(self, key: Hashable) -> V | None: ...
    @overload
    def get(self, key: Hashable, default: V) -> V: ...

    def get(self, key: Hashable, default: V | None = None) -> V | None:
        """Return the value of *key*, if it is there and good."""
        # The hot path of all: nothing is called that need not be.
        if self._notices[0] != self._board.seen:
            self._board.catch_up()
        try:
            entry = self._entries[key]
        except KeyError:
            pass
        else:
            expires_seconds = entry.expires_seconds
            if expires_seconds is None or self._clock() < expires_seconds:
                try:
                    value: V = entry.value
                    entry.uses += 1
                    self._hits += 1
                    return value
                except AttributeError:
                    pass  # another thread has taken it out just now
            else:
                self._drop_expired(entry)
        self._misses += 1
        if self._beyond is not None and self._beyond.near is not None:
            found = self._ask_near(key)[1]
            if found is not None:
                return found.value  # type: ignore[no-any-return]
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
            size_bytes: what it takes; None: that is estimated.

        Raises:
            ConfigError: a time, a tag or a size makes no sense.
        """
        if size_bytes is not None:
            checked_size(size_bytes)
        kept = tags_of(tags) if tags else ()
        self._obey()
        if self._flights.open:
            self._flights.void(key)
        if ttl is not None:
            seconds: float | None = parse_seconds(ttl)
        else:
            seconds = self._ttl_seconds if value is not None else self._none_ttl_seconds
        if self._beyond is not None and (known := name_of(key)) is not None:
            self._beyond.set(known, value, self._lifetime(seconds), kept)
        if self._put(key, value, seconds, kept, size_bytes):
            return True
        # Or who has looked it up elsewhere just before would keep what was there.
        self._delete(key)
        return False

    def __contains__(self, key: Hashable) -> bool:
        self._obey()
        return super().__contains__(key) or self._ask_near(key)[1] is not None

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
            StoreError: *make* asks for this very key.
        """
        held = self._look(key)
        if held is not None and not held[1]:
            return held[0]
        tags = tags_of(tags)
        errand, found = self._ask_near(key, tags)
        if found is not None:
            return found.value  # type: ignore[no-any-return]
        wanted = make if errand is None else partial(errand.value_of, make)
        keep = partial(self._keep, ttl, errand, self._changes)
        if held is not None:
            self._flights.begin_in_thread(key, tags, wanted, keep)
            return held[0]
        return self._flights.make(key, tags, wanted, keep)

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
            StoreError: *make* asks for this very key.
        """
        held = self._look(key)
        if held is not None and not held[1]:
            return held[0]
        tags = tags_of(tags)
        errand, found = self._ask_near(key, tags)
        if found is not None:
            return found.value  # type: ignore[no-any-return]
        wanted = make if errand is None else partial(errand.value_of_async, make)
        keep = partial(self._keep, ttl, errand, self._changes)
        task = self._flights.task(key, tags, wanted, keep)
        if held is not None:
            return held[0]
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
                What has no name of its own, as lambdas and functions within functions have not, is
                told from others in its own process, and its results are not found in any other.
            tags: of each result; or a function that makes them of the arguments.

        Raises:
            ConfigError: it is a generator function, or cannot be called.
        """
        if function is None:
            return partial(self.cached, ttl=ttl, key=key, tags=tags)
        has_to_be_awaited = is_async(function)
        if key is None and self._beyond is not None and not is_known_by_name(function):
            logger.warning(
                "cache %r: %r cannot be told from others by its name, so what it returns stays with"
                " each worker; cached(key=...) makes keys that mean the same in all",
                self.name,
                function,
            )
        keyed = keys_of(function) if key is None else key

        def tagged(*given: Any, **named: Any) -> Tags:
            return tags(*given, **named) if callable(tags) else tags

        if has_to_be_awaited:

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

    # As a consumer of memory; used_bytes is the shelf's.

    def shrink(self, target_bytes: int) -> int:
        """Come down to *target_bytes*: what has expired goes first; return the bytes freed."""
        if target_bytes <= 0:
            self._flights.void_all()
        return super().shrink(target_bytes)

    def statistics(self) -> CacheStatistics:
        """Return what has become of it so far, and what it holds."""
        beyond = self._beyond
        near = None if beyond is None else beyond.near
        shared_used_bytes = 0 if near is None else near.used_bytes()
        with self._changing:
            return CacheStatistics(
                name=self.name,
                entries=len(self),
                max_entries=self.max_entries,
                used_bytes=self.used_bytes,
                max_bytes=self.max_bytes,
                hits=self._hits,
                stale_hits=self._stale_hits,
                misses=self._misses,
                sets=self._sets,
                too_large=self._too_large,
                shared=self._flights.shared,
                gone=dict(self._gone),
                shared_hits=0 if beyond is None else beyond.near_hits,
                redis_hits=0 if beyond is None else beyond.far_hits,
                shared_used_bytes=shared_used_bytes,
                shared_max_bytes=0 if near is None else near.size_bytes,
            )

    def _look(self, key: Hashable) -> tuple[V, bool] | None:
        self._obey()
        return super()._look(key)

    def _ask_near(
        self, key: Hashable, tags: tuple[str, ...] = ()
    ) -> tuple[Errand | None, Found | None]:
        """Return the errand to look for *key* beyond memory, and what there is on this machine."""
        name = None if self._beyond is None else name_of(key)
        if self._beyond is None or name is None:
            return None, None
        changes = self._changes
        errand = self._beyond.errand(name, tags)
        found = errand.look_near()
        if found is not None:
            self._keep_found(key, found, changes)
        return errand, found

    def _keep_found(self, key: Hashable, found: Found, changes: int) -> None:
        """Keep what was found elsewhere, unless anything was forgotten since, or *key* was set."""
        with self._changing:
            if self._changes == changes and not super().__contains__(key):
                self._put(key, found.value, found.left_seconds, found.tags)

    def _keep(
        self,
        ttl: float | str | None,
        errand: Errand | None,
        changes: int,
        flight: Flight[V],
        value: V,
    ) -> None:
        self._obey()
        found = None if errand is None else errand.found
        seconds = self._lasts_seconds(value) if ttl is None else parse_seconds(ttl)
        # Whoever declares it void waits, and then takes out what is kept here.
        with self._changing:
            if flight.is_void:
                return
            if found is None:
                self._put(flight.key, value, seconds, flight.tags)
            else:
                self._keep_found(flight.key, found, changes)
        if errand is not None:
            lasts_seconds = self._lifetime(seconds) if found is None else found.left_seconds
            errand.keep(value, lasts_seconds)

    def _lifetime(self, seconds: float | None) -> float:
        """Return how long a level is to keep what is good for *seconds*."""
        if seconds is None:
            return math.inf
        return shortened(seconds)

    def _lasts_seconds(self, value: V) -> float | None:
        """Return how long *value* is good for where nobody says so; None: for as long as it is."""
        return self._ttl_seconds if value is not None else self._none_ttl_seconds
