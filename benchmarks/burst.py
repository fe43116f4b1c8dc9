"""One route allocates 2 GB at full speed, once a second, among 50 clients of ordinary traffic.

Only that request may fail. Where it allocates is varied: small Python objects, byte arrays of 1 MB,
one of 2 GB, arrays of numpy; in the event loop or in a thread; in a program it starts; in shared
memory. What is counted as failed are ordinary requests: broken, refused (503) or any other error.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.guilty import asking
from benchmarks.load import Kind, Load
from benchmarks.peers import Peer
from benchmarks.probe import probing
from benchmarks.record import Result, machine, milliseconds, quantile
from benchmarks.server import ROOT, Server, in_turn
from benchmarks.storm import run as run_loop
from tonnage.units import MIB, format_bytes

SUMMARY = "a route that allocates 2 GB, once a second among ordinary requests: who fails?"

APP = "benchmarks.greedy:app"
WAYS = {
    "objects": "/burst/objects",
    "chunks": "/burst/chunks",
    "whole": "/burst/whole",
    "numpy": "/burst/numpy",
    "objects-thread": "/burst/objects/thread",
    "chunks-thread": "/burst/chunks/thread",
    "fork": "/fork",
    "shared": "/shared",
}
KINDS = [
    Kind("trivial", "/", 0.6),
    Kind("rows", "/rows", 0.3),
    Kind("1 MB", "/work?mb=1&ms=20", 0.1, 0.02),
]

_RATE = """
import time
from benchmarks.greedy import GROWTHS, _private_bytes
list(GROWTHS[{way!r}](1))  # numpy is imported by the first piece
before, began = _private_bytes(), time.perf_counter()
held = list(GROWTHS[{way!r}](256))
print((_private_bytes() - before) / (time.perf_counter() - began))
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_load(parser, seconds=60, clients=50, peers="tonnage-workers")
    parser.add_argument("--workers", default="1,2", metavar="N,N", help="numbers of workers")
    parser.add_argument(
        "--ways", default=",".join(WAYS), metavar="A,B", help="how the route allocates"
    )


def run(chosen: argparse.Namespace) -> Result:
    """Run every chosen way with every number of workers, on every chosen peer."""
    before = machine()
    numbers = [int(number) for number in chosen.workers.split(",")]
    found = in_turn(
        itertools.product(chosen.peers, chosen.ways.split(","), numbers),
        lambda case: measure(*case, chosen),
    )
    rates = {way: _bytes_per_second(way) for way in ("objects", "chunks", "whole", "numpy")}
    shown = ", ".join(f"{way} {rate / MIB:.0f}" for way, rate in rates.items())
    return Result(
        name="burst",
        title=f"2 GB allocated at full speed once a second, among {chosen.clients} clients,"
        f" {chosen.seconds:g} s, limit {format_bytes(chosen.limit)}",
        columns=[
            "server: way", "workers", "ok/s", "kernel kills", "broken", "refused", "other",
            "wait max", "guilty ended with", "health", "health max", "peak MB", "reports",
        ],
        rows=[outcome.row() for outcome in found],
        notes=[
            "broken, refused, other: ordinary requests only. wait max: the longest of them.",
            "guilty ended with: what became of the requests for 2 GB.",
            "reports: written on deaths and on requests that ran out of memory; all name the route"
            " unless it says so.",
            f"allocation rates without a limit, MB/s: {shown}.",
        ],
        machine=before,
        details={
            "bytes_per_second": rates,
            "runs": [asdict(outcome) for outcome in found],
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the ordinary requests, of the guilty ones, and of the server."""

    name: str
    workers: int
    ok_per_second: float
    kernel_kills: int
    broken: int
    refused: int
    other: int
    wait_max_seconds: float
    guilty: dict[str, int]
    health_share: float
    health_max_seconds: float
    peak_bytes: int
    reports: list[dict[str, Any]]
    unexplained: int
    """Reports that do not name the route."""
    printed: str

    def row(self) -> list[str]:
        """Return the row of the table."""
        guilty = ", ".join(f"{count}x {how}" for how, count in sorted(self.guilty.items()))
        unexplained = f", {self.unexplained} not naming it" if self.unexplained else ""
        return [
            self.name,
            str(self.workers),
            f"{self.ok_per_second:.0f}",
            str(self.kernel_kills),
            str(self.broken),
            str(self.refused),
            str(self.other),
            milliseconds(self.wait_max_seconds),
            guilty,
            f"{100 * self.health_share:.1f} %",
            milliseconds(self.health_max_seconds),
            f"{self.peak_bytes / MIB:.0f}",
            f"{len(self.reports)}{unexplained}",
        ]


def measure(peer: Peer, way: str, workers: int, chosen: argparse.Namespace) -> Outcome:
    """Run one way with one number of workers on *peer*, in a box of its own."""
    path = WAYS[way]
    with (
        tempfile.TemporaryDirectory() as directory,
        MemoryBox(chosen.limit) as box,
        Server(_reporting(peer, directory), box, app=APP, workers=workers) as server,
    ):

        async def main() -> tuple[Load, Counter[str], Any]:
            load = Load(server.port, KINDS, clients=chosen.clients)
            async with probing(server.port) as health, asking(server.port, [path]) as guilty:
                load.start()
                await load.keep_going(chosen.seconds)
            await load.stop()
            await asyncio.sleep(0.5)  # the last report is written after the death it tells of
            return load, guilty, health

        load, guilty, health = run_loop(main())
        tallies = load.tallies.values()
        reports = [json.loads(file.read_text()) for file in sorted(Path(directory).glob("*.json"))]
        route = path.split("/")[1]
        return Outcome(
            name=f"{peer.name}: {way}",
            workers=workers,
            ok_per_second=sum(tally.ok for tally in tallies) / chosen.seconds,
            kernel_kills=box.kernel_kills,
            broken=sum(tally.broken for tally in tallies),
            refused=sum(tally.refused for tally in tallies),
            other=sum(tally.other for tally in tallies),
            wait_max_seconds=max(quantile(tally.latencies_seconds, 1.0) for tally in tallies),
            guilty=dict(guilty),
            health_share=health.share,
            health_max_seconds=quantile(health.latencies_seconds, 1.0),
            peak_bytes=box.peak_bytes,
            reports=reports,
            unexplained=sum(f"/{route}" not in report["summary"] for report in reports),
            printed=server.printed(),
        )


def _reporting(peer: Peer, directory: str) -> Peer:
    """Return *peer* with its reports in *directory*, if it writes any."""
    if not peer.name.startswith("tonnage"):
        return peer
    return replace(peer, arguments=f"{peer.arguments} --report-dir {directory} --reports 100")


def _bytes_per_second(way: str) -> float:
    """Return how fast *way* allocates where nothing stops it."""
    command = [sys.executable, "-c", _RATE.format(way=way)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)
