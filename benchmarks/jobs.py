"""How soon a function's first line runs in another process, in an application that imports for 3 s.

Tonnage by a fork, by a warm child and, without the preloaded application, by a new interpreter;
``ProcessPoolExecutor`` (spawn) and anyio's ``to_process`` beside. And how long a result of some
size takes until the caller has it. Both processes read the same clock of the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.peers import PEERS, Peer
from benchmarks.record import Result, machine, milliseconds, quantile
from benchmarks.server import Server, in_turn

SUMMARY = "start of an isolated job with an import of 3 s, and results of 1 KB to 100 MB"

APP = "benchmarks.starting:app"
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Way:
    """One way of having a function run elsewhere; *calls* are those after a server's first."""

    name: str
    server: str
    arguments: str
    path: str
    calls: int


WAYS = {
    way.path + way.arguments: way
    for way in (
        Way("isolated, forked for each", "tonnage-workers", "", "new", 30),
        Way("isolated, warm child", "tonnage-workers", "", "warm", 30),
        Way("isolated, new interpreter", "tonnage-workers", " --no-preload", "new", 2),
        Way("ProcessPoolExecutor, spawn", "uvicorn", "", "pool", 30),
        Way("anyio.to_process", "uvicorn", "", "anyio", 30),
    )
}
SIZES = {"1 KB": 2**10, "1 MB": 2**20, "100 MB": 100 * 2**20}


@dataclass(slots=True)
class Found:
    """What one way has shown, in seconds; *whole* by the result's size."""

    name: str
    first: list[float] = field(default_factory=list)
    following: list[float] = field(default_factory=list)
    whole: dict[str, list[float]] = field(default_factory=lambda: {size: [] for size in SIZES})

    def row(self) -> list[str]:
        """Return the row of the table."""
        return [
            self.name,
            _shown(statistics.median(self.first)),
            _shown(statistics.median(self.following)),
            _shown(quantile(self.following, 0.99)),
            *(_shown(statistics.median(seconds)) for seconds in self.whole.values()),
        ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_limit(parser, "1G")
    parser.add_argument("--rounds", type=int, default=3, help="servers of each way")
    parser.add_argument("--import-seconds", type=float, default=3.0, help="of the application")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS, help="with spaces")


def run(chosen: argparse.Namespace) -> Result:
    """Measure each way."""
    before = machine()
    found = in_turn(chosen.ways, lambda name: measure(WAYS[name], chosen))
    return result(found, chosen, before)


def result(found: Sequence[Found], chosen: argparse.Namespace, before: dict[str, Any]) -> Result:
    """Return the table of what was *found*."""
    return Result(
        name="jobs",
        title="from the call to the first line of a function in another process, and to a result;"
        f" the application's import takes {chosen.import_seconds:g} s",
        columns=["way", "first call", "following", "following p99", *SIZES],
        rows=[each.row() for each in found],
        notes=[
            f"Medians; {chosen.rounds} servers of each way, each with one worker. first call: of"
            " the server. following: forked for each, and with a new interpreter, they start a"
            " process each time; the others have one that waits.",
            "1 KB to 100 MB: from the call until the whole result is there, not the first call.",
        ],
        machine=before,
        details={"found": [asdict(each) for each in found]},
    )


def measure(way: Way, chosen: argparse.Namespace) -> Found:
    """Have *way* do its calls on several servers, one after another."""
    found = Found(way.name)
    peer = _peer(way, chosen.import_seconds)
    for _ in range(chosen.rounds):
        with (
            MemoryBox(chosen.limit) as box,
            Server(peer, box, app=APP, workers=1) as server,
        ):
            found.first.append(_call(server, way, 0)["start"])
            for _ in range(way.calls):
                found.following.append(_call(server, way, 0)["start"])
            for size, count in SIZES.items():
                found.whole[size] += [
                    _call(server, way, count)["whole"] for _ in range(min(5, way.calls))
                ]
    return found


def _peer(way: Way, import_seconds: float) -> Peer:
    peer = PEERS[way.server]
    environment = peer.environment | {"PAUSE_SECONDS": f"{import_seconds:g}"}
    return replace(peer, arguments=peer.arguments + way.arguments, environment=environment)


def _call(server: Server, way: Way, count: int) -> dict[str, float]:
    status, body = server.get(f"/call?way={way.path}&bytes={count}", TIMEOUT_SECONDS)
    if status != 200:
        raise RuntimeError(f"{way.name}: status {status}: {body!r}\n{server.printed()}")
    found: dict[str, float] = json.loads(body)
    return found


def _shown(seconds: float) -> str:
    """Return *seconds* with three digits or so: from tens of microseconds to seconds."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return milliseconds(seconds) if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"
