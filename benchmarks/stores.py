"""Our cache against others: how fast, how large, how many hits, and what a thousand misses cost.

Each figure comes from a process of its own (:mod:`benchmarks.shelves`), one after another; speeds
are the better of two such. Hit ratios do not depend on the machine; speeds do, so they are also
given as ratios to the fastest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from types import MappingProxyType

from benchmarks.record import Result, machine
from benchmarks.shelves import MEASURES, NOMINAL_BYTES, SHELVES
from tonnage.host.malloc import allocator_environment

SUMMARY = "our cache against others: gets and sets/s, hit ratios, bytes an entry, a thousand misses"

OURS = "tonnage"
# Those that are given with their ratio to the fastest.
_SPEEDS = {
    "gets": "gets/s",
    "gets, cold": "gets/s, cold",
    "sets": "sets/s",
    "evicting": "sets/s when full",
    "gets, weighed": "gets/s, bytes counted",
    "gets, cold, weighed": "gets/s, cold, bytes counted",
    "sets, weighed": "sets/s, bytes counted",
    "evicting, weighed": "sets/s when full, bytes counted",
}
_COLUMNS = _SPEEDS | {
    "overhead_bytes": "bytes an entry beside key and value",
    "zipf 1 %": "hits, zipf 1 %",
    "zipf 10 %": "hits, zipf 10 %",
    "loop": "hits, loop",
    "zipf bytes": "hits, zipf by bytes",
    "small": "real bytes of bound, 1 KB",
    "small, trimmed": "trimmed",
    "mixed": "real bytes of bound, mixed",
    "mixed, trimmed": "trimmed",
    "made": "makings for 1000 misses",
}
# What our variants are measured for; others for all.
_OF_VARIANTS = {
    "tonnage, ttl": ["speed"],
    # Nothing is bounded here, so everything is a hit.
    "aiocache": ["speed", "herd"],
}
# Ours once more with the allocator set as under ``tonnage run``.
_UNDER_RUN = ("small", "weighed")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    parser.add_argument(
        "--measures", default="speed,ratios,weighed,small,herd", help="which of them, with commas"
    )


def run(chosen: argparse.Namespace) -> Result:
    """Measure each cache."""
    before = machine()
    found: dict[str, dict[str, float]] = {}
    for name in SHELVES:
        found[name] = {}
        for measure in chosen.measures.split(","):
            if measure in _measures_of(name):
                found[name] |= _measure(name, measure)
        print(name, found[name], flush=True)
    if "speed" in chosen.measures.split(","):
        # Once more after all others, for whoever was disturbed by something else on the machine.
        for name in SHELVES:
            again = _measure(name, "speed")
            for what in again.keys() & _SPEEDS:
                found[name][what] = max(found[name][what], again[what])
    under_run = f"{OURS}, under run"
    found[under_run] = {}
    for measure in set(_UNDER_RUN).intersection(chosen.measures.split(",")):
        found[under_run] |= _measure(OURS, measure, allocator_environment("auto", {}))
    best = {
        what: max((each[what] for each in found.values() if what in each), default=1.0)
        for what in _SPEEDS
    }
    return Result(
        name="stores",
        title="caches in one process, values of 1 KB; by bytes: values of 64 B to 256 KB",
        columns=["cache", *_COLUMNS.values()],
        rows=[
            [name, *(_cell(what, each, best) for what in _COLUMNS)] for name, each in found.items()
        ],
        notes=[
            "gets, sets: of 50,000 entries; in parentheses, the ratio to the fastest. gets: popular"
            " keys are asked for often (Zipf, 0.99); cold: each key once, in random order, so that"
            " none is in the processor's caches. sets: new keys, while there is room; when full:"
            " where each has to evict one. Bytes counted: with a weigher (len of the value); ours"
            " counts bytes always. aiocache, cashews: their coroutines without an event loop.",
            "zipf: a million lookups of 100,000 keys (exponent 0.99), with a scan of 10,000 keys"
            " each 50,000; room for 1 or 10 % of the keys. loop: 12,000 keys in order, room for"
            " 10,000.",
            f"real bytes: the anonymous memory that it took, of a bound of {NOMINAL_BYTES >> 20} MB"
            " (1: exactly that); 1 KB: twice as many as fit; mixed: after the trace by bytes,"
            " values of 64 B to 256 KB; trimmed: after malloc_trim, as a worker's heap is when it"
            " is idle. Under run: with the allocator set as tonnage run does.",
            "theine and cashews cannot be bounded in bytes, aiocache not at all. Makings: each with"
            " its own way for that (theine.Memoize, cachebox.cached, moka_py.cached with"
            " wait_concurrent, aiocache.cached_stampede); cachetools has none for coroutines: get,"
            " else make and set. Ours keeps fewer of a loop than theine, whose W-TinyLFU keeps a"
            " fixed part of it.",
        ],
        machine=before,
        details={"found": found},
    )


def _measures_of(name: str) -> Collection[str]:
    return _OF_VARIANTS.get(name, MEASURES)


def _measure(
    name: str, measure: str, environment: Mapping[str, str] = MappingProxyType({})
) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.shelves", name, measure]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
        env=os.environ | environment,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _cell(what: str, found: dict[str, float], best: dict[str, float]) -> str:
    value = found.get(what)
    if value is None:
        return "-"
    if what in best:
        return f"{value:,.0f} ({value / best[what]:.2f})"
    return f"{value:.0f}" if what in ("made", "overhead_bytes") else f"{value:.3f}"
