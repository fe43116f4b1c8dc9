"""Servers take turns under the same load, and each is held against the first of them.

Each round starts every server anew, in alternating order, so that the drift of the machine and the
luck of one process's layout fall on all. The load runs on one core, the server on another. The
ratio is the median of the rounds'.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import storm
from benchmarks.box import MemoryBox
from benchmarks.load import Kind, Load
from benchmarks.peers import Peer
from benchmarks.server import Server

WARM_UP_SECONDS = 0.5

COLUMNS = ["server", "requests/s", "lowest", "highest", "ratio", "lowest", "highest"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What each client asks for, again and again."""

    path: str
    clients: int
    seconds: float
    limit_bytes: int
    headers: tuple[str, ...] = ()
    """As ``Name: value``; only wrk sends them."""


def add_rounds(parser: argparse.ArgumentParser) -> None:
    """Declare how often."""
    parser.add_argument("--rounds", type=int, default=5, help="turns each server gets")


def take_turns(peers: Sequence[Peer], ask: Ask, rounds: int) -> dict[str, list[float]]:
    """Return each peer's requests per second, round by round."""
    rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        for peer in peers if number % 2 == 0 else peers[::-1]:
            rates[peer.name].append(_measure(peer, ask))
        shown = ", ".join(f"{name} {found[-1]:.0f}/s" for name, found in rates.items())
        print(f"round {number + 1}: {shown}", flush=True)
    return rates


def rows(rates: dict[str, list[float]]) -> list[list[str]]:
    """Return the rows of the table; ratios are to the first peer."""
    base = next(iter(rates.values()))
    return [_row(name, found, base) for name, found in rates.items()]


def notes(rates: dict[str, list[float]]) -> list[str]:
    """Return what the columns mean."""
    return [
        f"requests/s: median of the rounds. ratio: to {next(iter(rates))} in the same round,"
        " median, lowest and highest.",
        f"load: {'wrk' if _wrk() else 'benchmarks.load'} on one core, the server on another.",
    ]


def _row(name: str, rates: list[float], base: list[float]) -> list[str]:
    ratios = [rate / other for rate, other in zip(rates, base, strict=True)]
    return [
        name,
        *(f"{x:.0f}" for x in (statistics.median(rates), min(rates), max(rates))),
        *(f"{x:.3f}" for x in (statistics.median(ratios), min(ratios), max(ratios))),
    ]


def _measure(peer: Peer, ask: Ask) -> float:
    """Return the requests per second of one freshly started server."""
    cpus = sorted(os.sched_getaffinity(0))
    server_cpus, load_cpus = ({cpus[0]}, {cpus[-1]}) if len(cpus) > 1 else (set(cpus), set(cpus))
    with (
        MemoryBox(ask.limit_bytes) as box,
        Server(peer, box, workers=1, cpus=server_cpus) as server,
    ):
        os.sched_setaffinity(0, load_cpus)
        try:
            _send(server.port, ask, WARM_UP_SECONDS)
            return _send(server.port, ask, ask.seconds)
        finally:
            os.sched_setaffinity(0, cpus)


def _send(port: int, ask: Ask, seconds: float) -> float:
    if wrk := _wrk():
        return _send_with_wrk(wrk, port, ask, seconds)

    async def main() -> float:
        load = Load(port, [Kind("hello", ask.path)], clients=ask.clients)
        began = time.monotonic()
        load.start()
        await load.keep_going(seconds)
        rate = load.tallies["hello"].ok / (time.monotonic() - began)
        await load.stop()
        return rate

    return storm.run(main())


def _send_with_wrk(wrk: str, port: int, ask: Ask, seconds: float) -> float:
    command = [
        wrk, "-t1", f"-c{ask.clients}", f"-d{max(1, round(seconds))}s",
        *(part for header in ask.headers for part in ("-H", header)),
        f"http://127.0.0.1:{port}{ask.path}",
    ]  # fmt: skip
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise RuntimeError(f"the server failed under wrk:\n{printed}")
    line = next(line for line in printed.splitlines() if line.startswith("Requests/sec:"))
    return float(line.split()[1])


def _wrk() -> str | None:
    return shutil.which("wrk")
