"""Our cache against others: how fast, how large, how many hits, and what a thousand misses cost.

Each figure comes from a process of its own (:mod:`benchmarks.shelves`), one after another. Hit
ratios do not depend on the machine; speeds do, so they are also given as ratios to the fastest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from benchmarks.record import Result, machine
from benchmarks.shelves import AWAITED, NOMINAL_BYTES, SHELVES

SUMMARY = "our cache against others: gets and sets/s, hit ratios, bytes an entry, a thousand misses"

_COLUMNS = {
    "gets": "gets/s",
    "sets": "sets/s",
    "overhead_bytes": "bytes an entry beside its value",
    "zipf 1 %": "hits, zipf 1 %",
    "zipf 10 %": "hits, zipf 10 %",
    "loop": "hits, loop",
    "zipf bytes": "hits, zipf by bytes",
    "real_bytes": f"real MB for {NOMINAL_BYTES >> 20}",
    "made": "makings for 1000 misses",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    parser.add_argument(
        "--measures", default="speed,ratios,weighed,herd", help="which of them, with commas"
    )


def run(chosen: argparse.Namespace) -> Result:
    """Measure each cache."""
    before = machine()
    found: dict[str, dict[str, float]] = {}
    for name in (*SHELVES, *AWAITED):
        measures = chosen.measures.split(",") if name in SHELVES else ["herd"]
        found[name] = {}
        for measure in measures:
            found[name] |= _measure(name, measure)
        print(name, found[name], flush=True)
    best = {
        what: max((each[what] for each in found.values() if what in each), default=1.0)
        for what in ("gets", "sets")
    }
    return Result(
        name="stores",
        title="caches in one process, values of 1 KB; by bytes: values of 64 B to 256 KB",
        columns=["cache", *_COLUMNS.values()],
        rows=[
            [name, *(_cell(what, each, best) for what in _COLUMNS)] for name, each in found.items()
        ],
        notes=[
            "gets, sets: of 50,000 entries; in parentheses, the ratio to the fastest.",
            "zipf: a million lookups of 100,000 keys (exponent 0.99), with a scan of 10,000 keys"
            " each 50,000; room for 1 or 10 % of the keys. loop: 12,000 keys in order, room for"
            " 10,000.",
            "theine cannot be bounded in bytes. The makings of those without a way of their own are"
            " those of the usual recipe: get, else make and set.",
        ],
        machine=before,
        details={"found": found},
    )


def _measure(name: str, measure: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.shelves", name, measure]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _cell(what: str, found: dict[str, float], best: dict[str, float]) -> str:
    value = found.get(what)
    if value is None:
        return "-"
    if what in best:
        return f"{value:,.0f} ({value / best[what]:.2f})"
    if what == "real_bytes":
        return f"{value / 2**20:.1f}"
    return f"{value:.0f}" if what in ("made", "overhead_bytes") else f"{value:.3f}"
