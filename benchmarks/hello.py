"""What governing costs when all is well: requests per second of a trivial route.

Bare uvicorn and Tonnage with one worker take turns (:mod:`benchmarks.turns`).
"""

from __future__ import annotations

import argparse

from benchmarks import options, turns
from benchmarks.peers import PEERS
from benchmarks.record import Result, machine
from tonnage.units import format_bytes

SUMMARY = "requests/s of hello world, one worker, against bare uvicorn"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_load(parser, seconds=4, clients=32, peers="uvicorn,tonnage-workers")
    turns.add_rounds(parser)
    parser.add_argument("--path", default="/", help="what to ask for")


def run(chosen: argparse.Namespace) -> Result:
    """Measure the first peer against each of the others."""
    before = machine()
    ask = turns.Ask(chosen.path, chosen.clients, chosen.seconds, chosen.limit)
    rates = turns.take_turns(chosen.peers, ask, chosen.rounds)
    return Result(
        name="hello",
        title=f"GET {chosen.path}, one worker, {chosen.clients} keep-alive connections,"
        f" {chosen.rounds} rounds of {chosen.seconds:g} s in turn,"
        f" limit {format_bytes(chosen.limit)}",
        columns=turns.COLUMNS,
        rows=turns.rows(rates),
        notes=turns.notes(rates),
        machine=before,
        details={"rates": rates, "about": {name: PEERS[name].about for name in rates}},
    )
