"""What a server weighs at rest: the whole tree of processes, with one worker and with four.

Measured as PSS (``smaps_rollup``) after 20 requests: shared pages are divided by the number of
processes that map them, so the sum over the tree counts each once. Pages of the interpreter and of
libraries that other processes on the machine map too are divided with those as well, the same for
every server; the private column does not depend on it.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.peers import Peer
from benchmarks.record import Result, machine
from benchmarks.server import Server, StartError
from tonnage.units import format_bytes

SUMMARY = "MB of the process tree at rest, 1 and 4 workers, hello world and with pandas imported"

APPS = {"hello": "benchmarks.app:app", "pandas": "benchmarks.app_pandas:app"}
REQUESTS = 20
QUIET_SECONDS = 1.5
"""How long the number of processes must stay the same before it is believed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_limit(parser)
    options.add_peers(parser, "uvicorn,granian,gunicorn-preload,tonnage-workers")
    parser.add_argument(
        "--workers", type=_numbers, default="1,4", metavar="N,N", help="numbers of workers"
    )


def run(chosen: argparse.Namespace) -> Result:
    """Weigh every chosen peer with every application and number of workers."""
    before = machine()
    rows, details = [], {}
    for app in APPS:
        for peer in chosen.peers:
            weights = {count: _weigh(peer, app, count, chosen.limit) for count in chosen.workers}
            rows.append([f"{app}: {peer.name}", *_cells(weights)])
            details[f"{app} {peer.name}"] = {str(n): dict(found) for n, found in weights.items()}
            print(" | ".join(rows[-1]), flush=True)
    columns = [f"{what}, {count}" for count in chosen.workers for what in ("PSS MB", "private MB")]
    return Result(
        name="memory",
        title=f"memory of the process tree at rest after {REQUESTS} requests, by number of"
        f" workers, limit {format_bytes(chosen.limit)}",
        columns=["application: server", *columns, "PSS MB each further"],
        rows=rows,
        notes=[
            "PSS: shared pages divided by the processes that share them (/proc/PID/smaps_rollup),"
            " summed over every process in the cgroup. private: pages no other process maps.",
        ],
        machine=before,
        details={"kilobytes": details},
    )


def tree_kilobytes(pids: Iterable[int]) -> Counter[str]:
    """Return the sums over *pids* of each line of ``smaps_rollup``, and ``processes``."""
    sums: Counter[str] = Counter()
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        sums["processes"] += 1
        for line in lines:
            name, _, rest = line.partition(":")
            sums[name] += int(rest.split()[0])
    return sums


def _weigh(peer: Peer, app: str, workers: int, limit_bytes: int) -> Counter[str]:
    """Return the sums for one server at rest; empty if it does not start with so many workers."""
    with MemoryBox(limit_bytes) as box:
        try:
            with Server(peer, box, app=APPS[app], workers=workers) as server:
                _wait_until_quiet(box)
                for _ in range(REQUESTS):
                    server.get("/")
                time.sleep(QUIET_SECONDS)
                return tree_kilobytes(box.pids)
        except StartError as error:
            print(f"{peer.name} with {workers} workers: {error}", flush=True)
            return Counter()


def _wait_until_quiet(box: MemoryBox) -> None:
    """Wait until no process came or went for a while: workers start after the first answers."""
    count, since = len(box.pids), time.monotonic()
    deadline = since + 20
    while time.monotonic() - since < QUIET_SECONDS and time.monotonic() < deadline:
        time.sleep(0.1)
        if len(box.pids) != count:
            count, since = len(box.pids), time.monotonic()


def _cells(weights: dict[int, Counter[str]]) -> list[str]:
    cells = []
    for weight in weights.values():
        private = weight["Private_Clean"] + weight["Private_Dirty"]
        cells += [f"{weight['Pss'] / 1024:.1f}", f"{private / 1024:.1f}"] if weight else ["-"] * 2
    fewest, most = min(weights), max(weights)
    if most == fewest or not (weights[fewest] and weights[most]):
        return [*cells, "-"]
    further = (weights[most]["Pss"] - weights[fewest]["Pss"]) / (most - fewest)
    return [*cells, f"{further / 1024:.1f}"]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]
