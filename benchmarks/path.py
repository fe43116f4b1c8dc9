"""What the limits on a request's path cost when nobody breaks them.

The same trivial route bare under uvicorn, behind our middleware, and behind an equivalent stack of
popular parts (:mod:`benchmarks.pathed`), taking turns; and ``tonnage run`` with all of it as
options. Each request says that it takes gzip, and comes from a page of another site.
"""

from __future__ import annotations

import argparse

from benchmarks import options, turns
from benchmarks.pathed import RATE, SITE
from benchmarks.peers import PEERS, Peer
from benchmarks.record import Result, machine
from tonnage.units import format_bytes

SUMMARY = "requests/s with all limits of the path on, against a stack of popular parts"

HEADERS = ("Accept-Encoding: gzip, deflate, br", f"Origin: {SITE}")

BARE = PEERS["uvicorn"]
WAYS = (
    BARE,
    Peer(
        "path",
        f"{BARE.arguments} --factory",
        "our middleware under uvicorn",
        app="benchmarks.pathed:make_tonnage",
    ),
    Peer(
        "popular",
        f"{BARE.arguments} --factory",
        "starlette's GZip and CORS, slowapi, body limit and timeout as recipes, instrumentator",
        app="benchmarks.pathed:make_popular",
    ),
    Peer(
        "tonnage-path",
        f"{PEERS['tonnage-workers'].arguments} --max-body 1M --max-response 10M --timeout 30s"
        f" --rate-limit {RATE} --compress --cors-origins {SITE}",
        "tonnage run with the same as options",
    ),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_clients(parser, seconds=4, clients=32)
    turns.add_rounds(parser)


def run(chosen: argparse.Namespace) -> Result:
    """Measure the bare application against each of the others."""
    before = machine()
    ask = turns.Ask("/", chosen.clients, chosen.seconds, chosen.limit, HEADERS)
    rates = turns.take_turns(WAYS, ask, chosen.rounds)
    return Result(
        name="path",
        title=f"GET / with all limits on, one worker, {chosen.clients} keep-alive connections,"
        f" {chosen.rounds} rounds of {chosen.seconds:g} s in turn,"
        f" limit {format_bytes(chosen.limit)}",
        columns=turns.COLUMNS,
        rows=turns.rows(rates),
        notes=[*turns.notes(rates), *(f"{way.name}: {way.about}." for way in WAYS)],
        machine=before,
        details={"rates": rates},
    )
