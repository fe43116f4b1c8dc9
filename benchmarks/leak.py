"""A route keeps 64 KB a request for ever, at 300 requests/s: does anybody notice?

Nothing but a new process gives that memory back. Counted are requests that failed, workers that
were replaced, the teeth of the saw in the cgroup's charge, and what the server says of the leak.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.control import ask, with_control
from benchmarks.load import Kind, Load
from benchmarks.peers import Peer
from benchmarks.probe import MemorySeries, sampling
from benchmarks.record import Result, machine, milliseconds, quantile
from benchmarks.server import Server, in_turn
from benchmarks.storm import run as run_loop
from tonnage.units import MIB, format_bytes

SUMMARY = "64 KB leaked a request, 300 requests/s, 10 minutes: failures and the saw's teeth"

APP = "benchmarks.greedy:app"
LOOK_SECONDS = 0.25
ASK_SECONDS = 2.0
FALL_BYTES = 16 * MIB
"""A fall of the charge by this much is the end of a tooth."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_load(parser, seconds=600, clients=30, peers="gunicorn2,tonnage-workers")
    options.add_workers(parser, 2)
    parser.add_argument("--kb", type=int, default=64, help="KB leaked a request")
    options.add_rate(parser, 300)


def run(chosen: argparse.Namespace) -> Result:
    """Let every chosen peer leak."""
    before = machine()
    found = in_turn(chosen.peers, lambda peer: measure(peer, chosen))
    return Result(
        name="leak",
        title=f"{chosen.kb} KB leaked a request, {chosen.rate:g} requests/s for"
        f" {chosen.seconds:g} s, {chosen.workers} workers, limit {format_bytes(chosen.limit)}",
        columns=[
            "server", "ok/s", "kernel kills", "broken", "refused", "other", "wait p99", "wait max",
            "replaced", "peak MB", "teeth", "KB a request, as reported",
        ],
        rows=[outcome.row() for outcome in found],
        notes=[
            "replaced: processes that answered, beyond the number of workers.",
            f"teeth: falls of the cgroup's charge by more than {format_bytes(FALL_BYTES)}.",
        ],
        machine=before,
        details={outcome.name: asdict(outcome) for outcome in found},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one server; *reported* is what it says of the leak itself."""

    name: str
    seconds: float
    ok: int
    broken: int
    refused: int
    other: int
    wait_p99_seconds: float
    wait_max_seconds: float
    kernel_kills: int
    replaced: int
    peak_bytes: int
    teeth: int
    reported: list[dict[str, Any]]
    series: MemorySeries

    def row(self) -> list[str]:
        """Return the row of the table."""
        said = ", ".join(f"{each['bytes_per_request'] / 1024:.1f}" for each in self.reported)
        return [
            self.name,
            f"{self.ok / self.seconds:.0f}",
            str(self.kernel_kills),
            str(self.broken),
            str(self.refused),
            str(self.other),
            milliseconds(self.wait_p99_seconds),
            milliseconds(self.wait_max_seconds),
            str(self.replaced),
            f"{self.peak_bytes / MIB:.0f}",
            str(self.teeth),
            said or "-",
        ]


def measure(peer: Peer, chosen: argparse.Namespace) -> Outcome:
    """Let *peer* leak, in a box of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="tonnage-") as directory,
        MemoryBox(chosen.limit) as box,
        Server(with_control(peer, directory), box, app=APP, workers=chosen.workers) as server,
    ):
        kind = Kind("leak", f"/leak?kb={chosen.kb}")
        seen: set[str] = set()
        reported: list[dict[str, Any]] = []

        async def main() -> tuple[Load, MemorySeries]:
            load = Load(server.port, [kind], clients=chosen.clients, per_second=chosen.rate)
            async with sampling(box) as series:
                load.start()
                ends = time.monotonic() + chosen.seconds
                ask_at = time.monotonic() + ASK_SECONDS
                while time.monotonic() < ends:
                    await load.keep_going(LOOK_SECONDS)
                    seen.update(load.workers())
                    if time.monotonic() >= ask_at:
                        ask_at += ASK_SECONDS
                        # A worker's leak is forgotten with the worker: what was said last counts.
                        reported[:] = _reported(directory) or reported
                await load.stop()
            return load, series

        load, series = run_loop(main())
        tally = load.tallies["leak"]
        return Outcome(
            name=peer.name,
            seconds=chosen.seconds,
            ok=tally.ok,
            broken=tally.broken,
            refused=tally.refused,
            other=tally.other,
            wait_p99_seconds=quantile(tally.latencies_seconds, 0.99),
            wait_max_seconds=quantile(tally.latencies_seconds, 1.0),
            kernel_kills=box.kernel_kills,
            replaced=max(0, len(seen) - chosen.workers),
            peak_bytes=box.peak_bytes,
            teeth=teeth(series.usage_bytes),
            reported=reported,
            series=series,
        )


def _reported(directory: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (ask(directory, "/leaks") or {}).get("leaks", [])
    return found


def teeth(usage_bytes: list[int]) -> int:
    """Return how often the charge fell by more than FALL_BYTES from where it had risen to."""
    count, high = 0, 0
    for usage in usage_bytes:
        high = max(high, usage)
        if high - usage > FALL_BYTES:
            count += 1
            high = usage
    return count
