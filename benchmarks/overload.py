"""Far too much work for the limit: every request holds *mb* MB for *ms* ms.

128 clients at 8 MB want 1 GB of 512 MB. Nobody tells the server what a request costs, and it
meets the load cold. The physical ceiling is what fits at once by the time each one holds it:
(limit - the server itself) / mb / hold.
"""

from __future__ import annotations

import argparse

from benchmarks import options
from benchmarks.load import Kind
from benchmarks.record import Result, machine
from benchmarks.storm import COLUMNS, storms
from tonnage.units import format_bytes

SUMMARY = "128 clients, each request holds 8 MB for 300 ms, in 512 MB"
PEERS = "uvicorn,uvicorn2,gunicorn2,granian2,oracle,tonnage"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_load(parser, seconds=30, clients=128, peers=PEERS)
    parser.add_argument("--mb", type=int, default=8, help="MB each request holds")
    parser.add_argument("--ms", type=int, default=300, help="milliseconds it holds them")


def run(chosen: argparse.Namespace) -> Result:
    """Measure every chosen peer, one after the other."""
    before = machine()
    kinds = [Kind("work", f"/work?mb={chosen.mb}&ms={chosen.ms}", 1.0, chosen.ms / 1000)]
    found = storms(
        chosen.peers,
        kinds,
        limit_bytes=chosen.limit,
        clients=chosen.clients,
        seconds=chosen.seconds,
    )
    rates = {storm.peer: storm.ok_per_second for storm in found}
    notes = list(options.ABOUT_STORMS)
    if rates.get("oracle") and "tonnage" in rates:
        ratio = rates["tonnage"] / rates["oracle"]
        notes.insert(0, f"tonnage / oracle = {ratio:.2f}")
    return Result(
        name="overload",
        title=f"{chosen.clients} clients for {chosen.seconds:g} s, each request touches"
        f" {chosen.mb} MB and holds it {chosen.ms} ms, limit {format_bytes(chosen.limit)}",
        columns=COLUMNS,
        rows=[storm.row() for storm in found],
        notes=notes,
        machine=before,
        details={
            "limit_bytes": chosen.limit,
            "peers": {storm.peer: storm.details() for storm in found},
        },
    )
