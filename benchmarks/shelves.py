"""The caches that are compared, each behind the same two methods; and the traces they are given.

    python -m benchmarks.shelves NAME MEASURE        # prints one JSON object

Run as a process of its own for each measurement, so that one cache's memory is not another's.
A cache that cannot be bounded in bytes is not given the trace that needs it.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

MIB = 2**20
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

    def __init__(self, entries: int | None, size_bytes: int | None) -> None:
        from tonnage import Cache

        self.cache: Any = Cache("shelf", max_entries=entries, max_bytes=size_bytes or 2**40)
        self.get, self.set = self.cache.get, self.cache.set


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


SHELVES: dict[str, Callable[[int | None, int | None], Shelf]] = {
    "tonnage": _Own,
    "cachetools.LRU": _cachetools("LRUCache"),
    "cachetools.LFU": _cachetools("LFUCache"),
    "cachebox.LRU": _cachebox("LRUCache"),
    "cachebox.LFU": _cachebox("LFUCache"),
    "theine": _Theine,
    "moka-py": _Moka,
}
# What one asks for with ``await`` only; the first bounds nothing by itself.
AWAITED = ("aiocache", "cashews")


def zipf(seed: int = 1) -> Iterator[int]:
    """Yield keys of which few are asked for often, with a scan now and then."""
    rng = random.Random(seed)
    bounds = list(accumulate(1 / (at + 1) ** 0.99 for at in range(KEYS)))
    names = rng.sample(range(KEYS), KEYS)
    scanned = 10 * KEYS
    for at in range(ASKED):
        yield names[bisect_left(bounds, rng.random() * bounds[-1])]
        if at % SCAN_EVERY == SCAN_EVERY - 1:
            yield from range(scanned, scanned + SCAN)
            scanned += SCAN


def loop(length: int = 12_000) -> Iterator[int]:
    """Yield the same keys in the same order, again and again; a few more than fit into 10,000."""
    for _ in range(ASKED // length // 4):
        yield from range(length)


def sizes(seed: int = 2) -> list[int]:
    """Return how large values are: between 64 B and 256 KB, most of them small."""
    rng = random.Random(seed)
    return [int(min(262_144.0, max(64.0, rng.lognormvariate(8, 1.6)))) for _ in range(2 * KEYS + 3)]


def hit_ratio(shelf: Shelf, trace: Iterator[int], weigh: list[int] | None = None) -> float:
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
    """Return gets and sets a second with 50,000 entries of 1 KB, and bytes for each entry."""
    count = 50_000
    shelf = SHELVES[name](count, None)
    values = [VALUE + str(at).encode() for at in range(count)]
    keys = [f"key:{at}" for at in range(count)]
    before = anonymous_bytes()
    begun = time.perf_counter()
    for key, value in zip(keys, values, strict=True):
        shelf.set(key, value)
    set_seconds = time.perf_counter() - begun
    taken = anonymous_bytes() - before
    random.Random(3).shuffle(keys)
    get_seconds = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        for key in keys:
            shelf.get(key)
        get_seconds = min(get_seconds, time.perf_counter() - begun)
    return {
        "sets": count / set_seconds,
        "gets": count / get_seconds,
        "overhead_bytes": taken / count,
    }


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
    weigh = sizes()
    try:
        shelf = SHELVES[name](None, NOMINAL_BYTES)
    except NotImplementedError:
        return {}
    before = anonymous_bytes()
    found = hit_ratio(shelf, zipf(), weigh)
    return {"zipf bytes": found, "real_bytes": anonymous_bytes() - before}


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

            ask = aiocache.cached(ttl=60, key="key")(make)
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


MEASURES = {"speed": speed, "ratios": ratios, "weighed": weighed, "herd": herd}


if __name__ == "__main__":
    print(json.dumps(MEASURES[sys.argv[2]](sys.argv[1])))
