"""A mix of small and large: 70 % trivial, 20 % hold 8 MB for 300 ms, 10 % hold 40 MB for 1 s.

What it asks: does the trivial route stay quick, and is it never refused, while the large ones
fill the memory?
"""

from __future__ import annotations

import argparse

from benchmarks import options
from benchmarks.load import Kind
from benchmarks.record import Result, machine, milliseconds, quantile
from benchmarks.storm import COLUMNS, Storm, storms
from tonnage.units import format_bytes

SUMMARY = "70 % trivial, 20 % of 8 MB for 300 ms, 10 % of 40 MB for 1 s, in 512 MB"
PEERS = "uvicorn,uvicorn2,gunicorn2,granian2,oracle,tonnage"

KINDS = [
    Kind("trivial", "/", 0.7),
    Kind("8 MB", "/work?mb=8&ms=300", 0.2, 0.3),
    Kind("40 MB", "/work?mb=40&ms=1000", 0.1, 1.0),
]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_load(parser, seconds=30, clients=128, peers=PEERS)


def run(chosen: argparse.Namespace) -> Result:
    """Measure every chosen peer, one after the other."""
    before = machine()
    found = storms(
        chosen.peers,
        KINDS,
        limit_bytes=chosen.limit,
        clients=chosen.clients,
        seconds=chosen.seconds,
    )
    return Result(
        name="mix",
        title=f"{chosen.clients} clients for {chosen.seconds:g} s: 70 % trivial, 20 % of 8 MB for"
        f" 300 ms, 10 % of 40 MB for 1 s, limit {format_bytes(chosen.limit)}",
        columns=[*COLUMNS, "trivial p50", "trivial p99", "trivial refused"],
        rows=[storm.row() + _trivial(storm) for storm in found],
        notes=list(options.ABOUT_STORMS),
        machine=before,
        details={
            "limit_bytes": chosen.limit,
            "peers": {storm.peer: storm.details() for storm in found},
        },
    )


def _trivial(storm: Storm) -> list[str]:
    tally = storm.tallies["trivial"]
    return [
        milliseconds(quantile(tally.latencies_seconds, 0.5)),
        milliseconds(quantile(tally.latencies_seconds, 0.99)),
        str(tally.refused),
    ]
