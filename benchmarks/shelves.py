"""The caches that are compared, each behind the same two methods; and the traces they are given.

    python -m benchmarks.shelves NAME MEASURE        # prints one JSON object

Run as a process of its own for each measurement, so that one cache's memory is not another's.
A cache that cannot be bounded in bytes is not given the trace that needs it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import random
import sys
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

MIB = 2**20
SPEED_ENTRIES = 50_000
EVICTING_ENTRIES = 10_000
KEYS = 100_000
ASKED = 1_000_000
SCAN_EVERY, SCAN = 50_000, 10_000
NOMINAL_BYTES = 32 * MIB
VALUE = b"v" * 1024


class Shelf(Protocol):
    """A cache under test."""

    #: Returns the value of a key, or None.
    get: Any
    #: Keeps a value for a key.
    set: Any


class _Own:
    """Ours."""

    ttl: int | None = None

    def __init__(self, entries: int | None, size_bytes: int | None) -> None:
        from tonnage import Cache

        self.cache: Any = Cache(
            "shelf",
            max_entries=entries,
            max_bytes=size_bytes or 2**40,
            ttl=self.ttl,
        )
        self.get, self.set = self.cache.get, self.cache.set


class _OwnTimed(_Own):
    """Ours, where entries expire."""

    ttl = 300


class _Mapping:
    """One that is a mapping."""

    def __init__(self, mapping: Any) -> None:
        self.get, self.set = mapping.get, mapping.__setitem__


def _cachetools(kind: str) -> Callable[[int | None, int | None], Shelf]:
    def make(entries: int | None, size_bytes: int | None) -> Shelf:
        import cachetools

        maker = getattr(cachetools, kind)
        if size_bytes is not None:
            return _Mapping(maker(size_bytes, getsizeof=len))
        return _Mapping(maker(entries))

    return make


def _cachebox(kind: str) -> Callable[[int | None, int | None], Shelf]:
    def make(entries: int | None, size_bytes: int | None) -> Shelf:
        import cachebox

        maker = getattr(cachebox, kind)
        if size_bytes is not None:
            return _Mapping(maker(size_bytes, getsizeof=lambda key, value: len(value)))
        return _Mapping(maker(entries))

    return make


class _Moka:
    def __init__(self, entries: int | None, size_bytes: int | None) -> None:
        import moka_py

        maker: Any = moka_py.Moka
        if size_bytes is not None:
            cache = maker(size_bytes, weigher=lambda key, value: len(value))
        else:
            cache = maker(entries)
        self.get, self.set = cache.get, cache.set


class _Theine:
    def __init__(self, entries: int | None, size_bytes: int | None) -> None:
        import theine

        if size_bytes is not None:
            raise NotImplementedError
        maker: Any = theine.Cache
        cache = maker(entries)

        def get(key: int) -> object:
            value, found = cache.get(key)
            return value if found else None

        self.get, self.set = get, cache.set


def _driven(coroutine: Any) -> Any:
    """Return what *coroutine* returns, which waits for nothing: so no event loop is timed."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise RuntimeError("it waits")


class _Aiocache:
    """Bounds nothing by itself."""

    def __init__(self, entries: int | None, size_bytes: int | None) -> None:
        import aiocache

        if size_bytes is not None:
            raise NotImplementedError
        cache = aiocache.SimpleMemoryCache(timeout=None)
        self.get = lambda key: _driven(cache.get(key))
        self.set = lambda key, value: _driven(cache.set(key, value))


class _Cashews:
    def __init__(self, entries: int | None, size_bytes: int | None) -> None:
        import cashews

        if size_bytes is not None:
            raise NotImplementedError
        cache = cashews.Cache()
        cache.setup(f"mem://?size={entries}&check_interval=0")
        _driven(cache.init())
        self.get = lambda key: _driven(cache.get(f"{key}"))
        self.set = lambda key, value: _driven(cache.set(f"{key}", value))


SHELVES: dict[str, Callable[[int | None, int | None], Shelf]] = {
    "tonnage": _Own,
    "tonnage, ttl": _OwnTimed,
    "cachetools.LRU": _cachetools("LRUCache"),
    "cachetools.LFU": _cachetools("LFUCache"),
    "cachebox.LRU": _cachebox("LRUCache"),
    "cachebox.LFU": _cachebox("LFUCache"),
    "theine": _Theine,
    "moka-py": _Moka,
    "aiocache": _Aiocache,
    "cashews": _Cashews,
}


def zipf(seed: int = 1) -> Sequence[int]:
    """Return keys of which few are asked for often, with a scan now and then."""
    rng = random.Random(seed)
    names = rng.sample(range(KEYS), KEYS)
    scanned = 10 * KEYS
    # All at once and compact, so that it changes no memory while a cache is measured.
    found = array("l")
    for at, rank in enumerate(_ranks(rng, KEYS, ASKED)):
        found.append(names[rank])
        if at % SCAN_EVERY == SCAN_EVERY - 1:
            found.extend(range(scanned, scanned + SCAN))
            scanned += SCAN
    return found


def loop(length: int = 12_000) -> Sequence[int]:
    """Return the same keys in the same order, again and again; a few more than fit into 10,000."""
    return array("l", range(length)) * (ASKED // length // 4)


def _ranks(rng: random.Random, keys: int, count: int) -> Iterator[int]:
    """Yield *count* ranks of so many *keys*, as often asked for as Zipf's law says."""
    bounds = list(accumulate(1 / (at + 1) ** 0.99 for at in range(keys)))
    for _ in range(count):
        yield bisect_left(bounds, rng.random() * bounds[-1])


def sizes(seed: int = 2) -> Sequence[int]:
    """Return how large values are: between 64 B and 256 KB, most of them small."""
    rng = random.Random(seed)
    drawn = (rng.lognormvariate(8, 1.6) for _ in range(2 * KEYS + 3))
    return array("l", (int(min(262_144.0, max(64.0, size))) for size in drawn))


def hit_ratio(shelf: Shelf, trace: Sequence[int], weigh: Sequence[int] | None = None) -> float:
    """Return the share of *trace* that was there."""
    hits = asked = 0
    for key in trace:
        asked += 1
        if shelf.get(key) is not None:
            hits += 1
        else:
            shelf.set(key, VALUE if weigh is None else bytes(weigh[key % len(weigh)]))
    return hits / asked


def anonymous_bytes() -> int:
    """Return the private memory that this process has touched."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise LookupError("smaps_rollup has no line Anonymous")


def speed(name: str) -> dict[str, float]:
    """Return sets and gets a second, and bytes for each entry; once more with bytes counted."""
    found = _speed(partial(SHELVES[name], SPEED_ENTRIES, None))
    try:
        weighed = _speed(partial(SHELVES[name], None, 2**40))
    except NotImplementedError:
        return found | {"evicting": _evicting(partial(SHELVES[name], EVICTING_ENTRIES, None))}
    found["evicting"] = _evicting(partial(SHELVES[name], EVICTING_ENTRIES, None))
    weighed["evicting"] = _evicting(partial(SHELVES[name], None, EVICTING_ENTRIES * len(VALUE)))
    return found | {f"{what}, weighed": weighed[what] for what in _SPEEDS}


_SPEEDS = ("sets", "gets", "gets, cold", "evicting")


def _speed(make: Callable[[], Shelf]) -> dict[str, float]:
    values = [VALUE + str(at).encode() for at in range(SPEED_ENTRIES)]
    keys = [f"key:{at}" for at in range(SPEED_ENTRIES)]
    rng = random.Random(3)
    cold = rng.sample(keys, SPEED_ENTRIES)
    popular = [cold[rank] for rank in _ranks(rng, SPEED_ENTRIES, SPEED_ENTRIES)]
    give_back()
    before = anonymous_bytes()
    shelf = make()
    best = {"sets": _a_second(_set_all, shelf, keys, values)}
    taken = anonymous_bytes() - before
    best |= {"gets": 0.0, "gets, cold": 0.0}
    for _ in range(3):
        best["gets, cold"] = max(best["gets, cold"], _a_second(_get_all, shelf, cold))
        best["gets"] = max(best["gets"], _a_second(_get_all, shelf, popular))
        del shelf
        shelf = make()
        best["sets"] = max(best["sets"], _a_second(_set_all, shelf, keys, values))
    return best | {"overhead_bytes": taken / SPEED_ENTRIES}


def _evicting(make: Callable[[], Shelf]) -> float:
    """Return sets a second of new keys into a cache that is full."""
    values = [VALUE + str(at).encode() for at in range(SPEED_ENTRIES)]
    best = 0.0
    for run in range(3):
        shelf = make()
        keys = [f"key:{run}:{at}" for at in range(SPEED_ENTRIES)]
        _set_all(shelf, keys[:EVICTING_ENTRIES], values[:EVICTING_ENTRIES])
        best = max(best, _a_second(_set_all, shelf, keys, values))
    return best


def _set_all(shelf: Shelf, keys: list[str], values: list[bytes]) -> None:
    for key, value in zip(keys, values, strict=True):
        shelf.set(key, value)


def _get_all(shelf: Shelf, keys: list[str]) -> None:
    for key in keys:
        shelf.get(key)


def _a_second(do: Callable[..., None], *given: Any) -> float:
    begun = time.perf_counter()
    do(*given)
    return SPEED_ENTRIES / (time.perf_counter() - begun)


def ratios(name: str) -> dict[str, float]:
    """Return hit ratios where entries are counted."""
    make = SHELVES[name]
    return {
        "zipf 1 %": hit_ratio(make(KEYS // 100, None), zipf()),
        "zipf 10 %": hit_ratio(make(KEYS // 10, None), zipf()),
        "loop": hit_ratio(make(10_000, None), loop()),
    }


def weighed(name: str) -> dict[str, float]:
    """Return the hit ratio where bytes are counted, and what that took."""
    weigh, trace = sizes(), zipf()
    try:
        shelf = SHELVES[name](None, NOMINAL_BYTES)
    except NotImplementedError:
        return {}
    give_back()
    before = anonymous_bytes()
    found = hit_ratio(shelf, trace, weigh)
    return {"zipf bytes": found} | _real("mixed", before)


def small(name: str) -> dict[str, float]:
    """Return what values of 1 KB take of what they may, of twice as many as fit."""
    try:
        shelf = SHELVES[name](None, NOMINAL_BYTES)
    except NotImplementedError:
        return {}
    give_back()
    before = anonymous_bytes()
    for at in range(2 * NOMINAL_BYTES // 1024):
        shelf.set(f"key:{at}", VALUE + str(at).encode())
    return _real("small", before)


def _real(what: str, before_bytes: int) -> dict[str, float]:
    """Return what was taken of the bound; and once more after the heap was trimmed."""
    taken_bytes = anonymous_bytes() - before_bytes
    give_back()
    trimmed_bytes = anonymous_bytes() - before_bytes
    return {what: taken_bytes / NOMINAL_BYTES, f"{what}, trimmed": trimmed_bytes / NOMINAL_BYTES}


def give_back() -> None:
    """Give back what the preparations have left, so that it does not hide what comes next."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def herd(name: str) -> dict[str, float]:
    """Return how often a value was made that a thousand asked for at once."""
    made = 0

    async def make(*_: object) -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0.05)
        return 1

    async def story() -> None:
        ask: Callable[[], Any]
        if name == "tonnage":
            from tonnage import Cache

            own: Any = Cache("herd")
            ask = lambda: own.get_or_await("key", make)  # noqa: E731
        elif name == "cashews":
            import cashews

            cashews.cache.setup("mem://")
            ask = cashews.cache(ttl="1m", key="key")(make)
        elif name == "aiocache":
            import aiocache

            ask = aiocache.cached_stampede(ttl=60, key="key", lease=2)(make)
        elif name == "theine":
            import theine

            remembered: Any = theine.Memoize(100, timedelta(minutes=1))(make)
            remembered.key(lambda: "key")
            ask = remembered
        elif name.startswith("cachebox"):
            import cachebox

            ask = cachebox.cached(getattr(cachebox, name[9:] + "Cache")(100))(make)
        elif name == "moka-py":
            import moka_py

            ask = moka_py.cached(maxsize=100, wait_concurrent=True)(make)
        else:
            shelf: Any = SHELVES[name](100, None)

            async def ask() -> object:
                if (value := shelf.get("key")) is None:
                    value = await make()
                    shelf.set("key", value)
                return value

        await asyncio.gather(*(ask() for _ in range(1000)))

    asyncio.run(story())
    return {"made": made}


MEASURES = {"speed": speed, "ratios": ratios, "weighed": weighed, "small": small, "herd": herd}


async def _measured(name: str, measure: str) -> dict[str, float]:
    """Return what *measure* finds; caches that want a running event loop have one."""
    return MEASURES[measure](name)


if __name__ == "__main__":
    name, measure = sys.argv[1:]
    if measure == "herd":
        print(json.dumps(herd(name)))
    else:
        print(json.dumps(asyncio.run(_measured(name, measure))))
