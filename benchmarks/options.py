"""Command-line options that several benchmarks share, and what their tables have in common."""

from __future__ import annotations

import argparse

from benchmarks.peers import PEERS, Peer
from tonnage.errors import ConfigError
from tonnage.units import parse_bytes

ABOUT_STORMS = (
    "ok/s: good answers within the run by its length. broken: connections lost with a request"
    " under way, not to be made, or without an answer in 30 s; such a client and a refused one try"
    " again after 50 ms.",
    "wait: time to the whole answer less the time the request holds its memory by itself.",
    "health: /health asked every 100 ms on a new connection, failed after 2 s.",
    "kernel kills and peak are the cgroup's own counters; each server starts cold, one at a time.",
)


def add_load(parser: argparse.ArgumentParser, *, seconds: float, clients: int, peers: str) -> None:
    """Declare how long, how many, how much and who."""
    add_clients(parser, seconds=seconds, clients=clients)
    add_peers(parser, peers)


def add_clients(parser: argparse.ArgumentParser, *, seconds: float, clients: int) -> None:
    """Declare how long, how many and how much."""
    parser.add_argument("--seconds", type=float, default=seconds, help="length of one load")
    parser.add_argument("--clients", type=int, default=clients, help="closed-loop clients")
    add_limit(parser)


def add_limit(parser: argparse.ArgumentParser, limit: str = "512M") -> None:
    """Declare ``--limit``, *limit* by default."""
    parser.add_argument("--limit", type=size, default=limit, help="memory limit of the cgroup")


def add_peers(parser: argparse.ArgumentParser, peers: str) -> None:
    """Declare ``--peers``, *peers* by default."""
    parser.add_argument(
        "--peers",
        type=_peers,
        default=peers,
        metavar="A,B",
        help=f"servers to compare, of: {', '.join(PEERS)}",
    )


def add_workers(parser: argparse.ArgumentParser, workers: int) -> None:
    """Declare ``--workers``, the same number for each server."""
    parser.add_argument("--workers", type=int, default=workers, help="workers of each server")


def add_rate(parser: argparse.ArgumentParser, per_second: float) -> None:
    """Declare ``--rate``, for clients that do not ask as fast as they can."""
    parser.add_argument("--rate", type=float, default=per_second, help="requests a second")


def size(text: str) -> int:
    """Return how many bytes an option's *text* stands for."""
    try:
        return parse_bytes(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _peers(text: str) -> list[Peer]:
    unknown = [name for name in text.split(",") if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no peer is called {', '.join(unknown)}")
    return [PEERS[name] for name in text.split(",")]
