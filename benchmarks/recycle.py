"""Workers are replaced under load, with an application whose import takes three seconds.

Each server does it in its own way: gunicorn and Tonnage after so many requests, granian by the
size of a worker, looked at every few seconds (1 MB here, so each time). Counted are the requests
that failed, and what the slowest had to wait: somebody imports, and nobody should notice.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from dataclasses import asdict, dataclass, replace

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.load import Kind, Load
from benchmarks.peers import Peer
from benchmarks.record import Result, machine, milliseconds, quantile
from benchmarks.server import Server, in_turn
from benchmarks.storm import run as run_loop
from tonnage.units import MIB, format_bytes

SUMMARY = "workers replaced under 500 requests/s, import takes 3 s: failures, longest wait"

APP = "benchmarks.slow:app"
KIND = Kind("trivial", "/worker")
LOOK_SECONDS = 0.1
LOG_CHARACTERS = 1_000_000

_GUNICORN = " --max-requests {requests} --max-requests-jitter {jitter}"
HOW = {
    "gunicorn2": _GUNICORN,
    "gunicorn-preload": _GUNICORN,
    "granian2": " --workers-max-rss 1 --rss-sample-interval 5",
    # With a jitter of a tenth by itself.
    "tonnage-workers": " --max-requests {requests}",
}
"""What makes each peer replace its workers; a later option wins over one in its own command."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    peers = "gunicorn2,gunicorn-preload,granian2,tonnage-workers"
    options.add_load(parser, seconds=30, clients=50, peers=peers)
    options.add_workers(parser, 2)
    options.add_rate(parser, 500)
    parser.add_argument("--requests", type=int, default=1500, help="requests of one worker")


def run(chosen: argparse.Namespace) -> Result:
    """Let every chosen peer replace its workers."""
    before = machine()
    found = in_turn(chosen.peers, lambda peer: measure(peer, chosen))
    return Result(
        name="recycle",
        title=f"workers replaced, {chosen.rate:g} requests/s for {chosen.seconds:g} s,"
        f" {chosen.workers} workers, an import of 3 s, limit {format_bytes(chosen.limit)}",
        columns=["server", "ok/s", "replaced", "broken", "refused", "other", "wait p99",
                 "wait max", "ready after", "ready max", "peak MB", "kernel kills"],
        rows=[outcome.row() for outcome in found],
        notes=[
            f"gunicorn and Tonnage: --max-requests {chosen.requests}, with jitter of a tenth."
            " granian: every 5 s.",
            "replaced: processes that answered, beyond the number of workers.",
            "ready after: from the decision until the new worker accepts, median and longest, as"
            " Tonnage logs it; the others do not say.",
        ],
        machine=before,
        details={outcome.name: asdict(outcome) for outcome in found},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the requests, and how soon each new worker was ready."""

    name: str
    ok_per_second: float
    replaced: int
    broken: int
    refused: int
    other: int
    wait_p99_seconds: float
    wait_max_seconds: float
    ready_seconds: list[float]
    peak_bytes: int
    kernel_kills: int

    def row(self) -> list[str]:
        """Return the row of the table."""
        ready = self.ready_seconds
        return [
            self.name,
            f"{self.ok_per_second:.0f}",
            str(self.replaced),
            str(self.broken),
            str(self.refused),
            str(self.other),
            milliseconds(self.wait_p99_seconds),
            milliseconds(self.wait_max_seconds),
            milliseconds(statistics.median(ready)) if ready else "-",
            milliseconds(max(ready)) if ready else "-",
            f"{self.peak_bytes / MIB:.0f}",
            str(self.kernel_kills),
        ]


def measure(peer: Peer, chosen: argparse.Namespace) -> Outcome:
    """Let *peer* replace its workers, in a box of its own."""
    with (
        MemoryBox(chosen.limit) as box,
        Server(_recycling(peer, chosen.requests), box, app=APP, workers=chosen.workers) as server,
    ):
        seen: set[str] = set()

        async def main() -> Load:
            load = Load(server.port, [KIND], clients=chosen.clients, per_second=chosen.rate)
            load.start()
            ends = time.monotonic() + chosen.seconds
            while time.monotonic() < ends:
                await load.keep_going(LOOK_SECONDS)
                seen.update(load.workers())
            await load.stop()
            return load

        tally = run_loop(main()).tallies[KIND.name]
        log = server.printed(LOG_CHARACTERS)
        return Outcome(
            name=peer.name,
            ok_per_second=tally.ok / chosen.seconds,
            replaced=max(0, len(seen) - chosen.workers),
            broken=tally.broken,
            refused=tally.refused,
            other=tally.other,
            wait_p99_seconds=quantile(tally.latencies_seconds, 0.99),
            wait_max_seconds=quantile(tally.latencies_seconds, 1.0),
            ready_seconds=[float(each) for each in re.findall(r'"ready_seconds": ?([\d.]+)', log)],
            peak_bytes=box.peak_bytes,
            kernel_kills=box.kernel_kills,
        )


def _recycling(peer: Peer, requests: int) -> Peer:
    how = HOW.get(peer.name, "").format(requests=requests, jitter=requests // 10)
    return replace(peer, arguments=peer.arguments + how)
