"""What governing costs when all is well: requests per second of a trivial route.

Bare uvicorn and Tonnage with one worker, in the same box, take turns: each round starts both anew
in alternating order, so that the drift of the machine and the luck of one process's layout fall on
both. The load runs on one core, the server on another. The ratio is the median of the rounds'.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import time

from benchmarks import options, storm
from benchmarks.box import MemoryBox
from benchmarks.load import Kind, Load
from benchmarks.peers import PEERS, Peer
from benchmarks.record import Result, machine
from benchmarks.server import Server
from tonnage.units import format_bytes

SUMMARY = "requests/s of hello world, one worker, against bare uvicorn"

WARM_UP_SECONDS = 0.5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_load(parser, seconds=4, clients=32, peers="uvicorn,tonnage-workers")
    parser.add_argument("--rounds", type=int, default=5, help="turns each server gets")
    parser.add_argument("--path", default="/", help="what to ask for")


def run(chosen: argparse.Namespace) -> Result:
    """Measure the first peer against each of the others."""
    before = machine()
    rates: dict[str, list[float]] = {peer.name: [] for peer in chosen.peers}
    for number in range(chosen.rounds):
        order = chosen.peers if number % 2 == 0 else chosen.peers[::-1]
        for peer in order:
            rates[peer.name].append(_measure(peer, chosen))
        shown = ", ".join(f"{name} {found[-1]:.0f}/s" for name, found in rates.items())
        print(f"round {number + 1}: {shown}", flush=True)
    base = rates[chosen.peers[0].name]
    return Result(
        name="hello",
        title=f"GET {chosen.path}, one worker, {chosen.clients} keep-alive connections,"
        f" {chosen.rounds} rounds of {chosen.seconds:g} s in turn,"
        f" limit {format_bytes(chosen.limit)}",
        columns=["server", "requests/s", "lowest", "highest", "ratio", "lowest", "highest"],
        rows=[_row(peer.name, rates[peer.name], base) for peer in chosen.peers],
        notes=[
            f"requests/s: median of the rounds. ratio: to {chosen.peers[0].name} in the same"
            " round, median, lowest and highest.",
            f"load: {'wrk' if _wrk() else 'benchmarks.load'} on one core, the server on another.",
        ],
        machine=before,
        details={"rates": rates, "about": {name: PEERS[name].about for name in rates}},
    )


def _row(name: str, rates: list[float], base: list[float]) -> list[str]:
    ratios = [rate / other for rate, other in zip(rates, base, strict=True)]
    return [
        name,
        *(f"{x:.0f}" for x in (statistics.median(rates), min(rates), max(rates))),
        *(f"{x:.3f}" for x in (statistics.median(ratios), min(ratios), max(ratios))),
    ]


def _measure(peer: Peer, chosen: argparse.Namespace) -> float:
    """Return the requests per second of one freshly started server."""
    cpus = sorted(os.sched_getaffinity(0))
    server_cpus, load_cpus = ({cpus[0]}, {cpus[-1]}) if len(cpus) > 1 else (set(cpus), set(cpus))
    with (
        MemoryBox(chosen.limit) as box,
        Server(peer, box, workers=1, cpus=server_cpus) as server,
    ):
        os.sched_setaffinity(0, load_cpus)
        try:
            _send(server.port, chosen, WARM_UP_SECONDS)
            return _send(server.port, chosen, chosen.seconds)
        finally:
            os.sched_setaffinity(0, cpus)


def _send(port: int, chosen: argparse.Namespace, seconds: float) -> float:
    if wrk := _wrk():
        return _send_with_wrk(wrk, port, chosen, seconds)

    async def main() -> float:
        load = Load(port, [Kind("hello", chosen.path)], clients=chosen.clients)
        began = time.monotonic()
        load.start()
        await load.keep_going(seconds)
        rate = load.tallies["hello"].ok / (time.monotonic() - began)
        await load.stop()
        return rate

    return storm.run(main())


def _send_with_wrk(wrk: str, port: int, chosen: argparse.Namespace, seconds: float) -> float:
    command = [
        wrk, "-t1", f"-c{chosen.clients}", f"-d{max(1, round(seconds))}s",
        f"http://127.0.0.1:{port}{chosen.path}",
    ]  # fmt: skip
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise RuntimeError(f"the server failed under wrk:\n{printed}")
    line = next(line for line in printed.splitlines() if line.startswith("Requests/sec:"))
    return float(line.split()[1])


def _wrk() -> str | None:
    return shutil.which("wrk")
