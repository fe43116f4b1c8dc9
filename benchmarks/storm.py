"""One peer under one load in one box: the measurement that several benchmarks share."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.box import MemoryBox
from benchmarks.load import Kind, Load, Tally
from benchmarks.peers import Peer
from benchmarks.probe import Health, MemorySeries, probing, sampling
from benchmarks.record import milliseconds, quantile, summary
from benchmarks.server import REST_SECONDS, Server, StartError
from tonnage.units import MIB

T = TypeVar("T")

COLUMNS = [
    "server", "ok/s", "kernel kills", "broken", "refused", "other", "wait p50", "wait p99",
    "health", "health p99", "health max", "peak MB", "alive",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Storm:
    """What one peer did under one load."""

    peer: str
    seconds: float
    holds_seconds: dict[str, float]
    tallies: dict[str, Tally]
    health: Health
    series: MemorySeries
    peak_bytes: int
    kernel_kills: int
    alive: bool
    printed: str

    def total(self, count: Callable[[Tally], int]) -> int:
        """Return the sum of *count* over all kinds of requests."""
        return sum(map(count, self.tallies.values()))

    @property
    def ok_per_second(self) -> float:
        """Good answers within the run, by its length."""
        return self.total(lambda tally: tally.ok) / self.seconds

    def waiting(self, share: float) -> float:
        """Return a quantile of the time requests took beyond their own hold, in seconds."""
        return quantile(
            (
                latency - self.holds_seconds[name]
                for name, tally in self.tallies.items()
                for latency in tally.latencies_seconds
            ),
            share,
        )

    def row(self) -> list[str]:
        """Return the row for ``COLUMNS``."""
        return [
            self.peer,
            f"{self.ok_per_second:.1f}",
            str(self.kernel_kills),
            str(self.total(lambda tally: tally.broken)),
            str(self.total(lambda tally: tally.refused)),
            str(self.total(lambda tally: tally.other)),
            milliseconds(self.waiting(0.5)),
            milliseconds(self.waiting(0.99)),
            f"{math.floor(1000 * self.health.share) / 10:g} %",
            milliseconds(quantile(self.health.latencies_seconds, 0.99)),
            milliseconds(quantile(self.health.latencies_seconds, 1.0)),
            f"{self.peak_bytes / MIB:.0f}",
            "yes" if self.alive else "no",
        ]

    def details(self) -> dict[str, Any]:
        """Return all figures, for the JSON file."""
        return {
            "seconds": round(self.seconds, 2),
            "ok_per_second": round(self.ok_per_second, 2),
            "kernel_kills": self.kernel_kills,
            "peak_bytes": self.peak_bytes,
            "alive": self.alive,
            "kinds": {name: _figures(tally) for name, tally in self.tallies.items()},
            "health": {
                "answered": self.health.answered,
                "failed": self.health.failed,
                "latency_seconds": summary(self.health.latencies_seconds),
            },
            "series": {
                "seconds": self.series.seconds,
                "usage_bytes": self.series.usage_bytes,
                "kernel_kills": self.series.kernel_kills,
            },
            "printed": self.printed[-500:],
        }


async def measure(
    server: Server, peer: Peer, load: Load, kinds: Sequence[Kind], seconds: float
) -> Storm:
    """Run *load* on *server* for *seconds*, with health probes, noting memory all the while."""
    kills_before = server.box.kernel_kills
    async with sampling(server.box) as series:
        async with probing(server.port) as health:
            began = time.monotonic()
            load.start()
            await load.keep_going(seconds)
            took = time.monotonic() - began
        await load.stop()
    return Storm(
        peer=peer.name,
        seconds=took,
        holds_seconds={kind.name: kind.hold_seconds for kind in kinds},
        tallies=load.tallies,
        health=health,
        series=series,
        peak_bytes=max(server.box.peak_bytes, *series.usage_bytes),
        kernel_kills=server.box.kernel_kills - kills_before,
        alive=server.alive,
        printed=server.printed(),
    )


def storm(
    peer: Peer, kinds: Sequence[Kind], *, limit_bytes: int, clients: int, seconds: float
) -> Storm:
    """Start *peer* in a fresh box and measure it, cold: no warm-up.

    Raises:
        StartError: if it never answers.
    """
    with MemoryBox(limit_bytes) as box, Server(peer, box) as server:

        async def main() -> Storm:
            load = Load(server.port, kinds, clients=clients)
            return await measure(server, peer, load, kinds, seconds)

        return run(main())


def storms(
    peers: Sequence[Peer], kinds: Sequence[Kind], *, limit_bytes: int, clients: int, seconds: float
) -> list[Storm]:
    """Measure *peers* one after the other; one that does not start is told and left out."""
    found = []
    for peer in peers:
        print(f"{peer.name} ...", flush=True)
        try:
            found.append(
                storm(peer, kinds, limit_bytes=limit_bytes, clients=clients, seconds=seconds)
            )
            print("   " + " | ".join(found[-1].row()), flush=True)
        except StartError as error:
            print(f"   left out: {error}", flush=True)
        time.sleep(REST_SECONDS)
    return found


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* on uvloop where it is installed: the load generator must be the cheaper side."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def _figures(tally: Tally) -> dict[str, Any]:
    return {
        "ok": tally.ok,
        "late": tally.late,
        "refused": tally.refused,
        "other": tally.other,
        "reset": tally.reset,
        "unreachable": tally.unreachable,
        "timed_out": tally.timed_out,
        "latency_seconds": summary(tally.latencies_seconds),
    }
