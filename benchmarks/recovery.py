"""After the storm: how soon is the server at ease again, and does the next storm go the same?

The overload is run twice on one server with a pause between. After the first the level in
``/health`` is watched until it says OK; servers without levels answer OK at once or not at all,
so for them only the memory they still hold tells something.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from dataclasses import dataclass

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.load import Kind, Load
from benchmarks.peers import Peer
from benchmarks.probe import fetch
from benchmarks.record import Result, machine
from benchmarks.server import Server
from benchmarks.storm import COLUMNS, Storm, measure
from benchmarks.storm import run as run_loop
from tonnage.units import MIB, format_bytes

SUMMARY = "seconds until the level is OK after an overload, and a second overload beside the first"

KIND = Kind("work", "/work?mb=8&ms=300", 1.0, 0.3)
WATCH_SECONDS = 0.05


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_load(parser, seconds=10, clients=128, peers="tonnage")
    parser.add_argument("--pause", type=float, default=5, help="seconds between the two storms")


def run(chosen: argparse.Namespace) -> Result:
    """Run the two storms on every chosen peer."""
    before = machine()
    rows, details = [], {}
    for peer in chosen.peers:
        found = _recover(peer, chosen)
        calm = "-" if math.isinf(found.calm_seconds) else f"{found.calm_seconds:.2f} s"
        rest = [found.level_at_end, calm, f"{found.rest_bytes / MIB:.0f}"]
        rows.append([*found.first.row(), *rest])
        rows.append([*found.second.row(), "", "", ""])
        rows[-2][0], rows[-1][0] = f"{peer.name}, first", f"{peer.name}, second"
        details[peer.name] = {
            "first": found.first.details(),
            "second": found.second.details(),
            "calm_seconds": None if math.isinf(found.calm_seconds) else found.calm_seconds,
        }
    return Result(
        name="recovery",
        title=f"two storms of {chosen.seconds:g} s ({chosen.clients} clients, 8 MB for 300 ms"
        f" each), {chosen.pause:g} s apart, limit {format_bytes(chosen.limit)}",
        columns=[*COLUMNS, "level at end", "OK after", "MB at rest"],
        rows=rows,
        notes=[
            "OK after: from the last answer of the first storm until /health says status OK.",
            f"MB at rest: what the cgroup is charged after the pause of {chosen.pause:g} s.",
            *options.ABOUT_STORMS,
        ],
        machine=before,
        details=details,
    )


@dataclass(frozen=True, slots=True)
class _Recovery:
    first: Storm
    second: Storm
    level_at_end: str
    calm_seconds: float
    """Infinity if the level was not OK within the pause."""
    rest_bytes: int


def _recover(peer: Peer, chosen: argparse.Namespace) -> _Recovery:
    with MemoryBox(chosen.limit) as box, Server(peer, box) as server:

        async def storm() -> Storm:
            load = Load(server.port, [KIND], clients=chosen.clients)
            return await measure(server, peer, load, [KIND], chosen.seconds)

        async def main() -> _Recovery:
            first = await storm()
            ended = time.monotonic()
            level = level_at_end = await _level(server.port)
            while level != "OK" and time.monotonic() - ended < chosen.pause:
                await asyncio.sleep(WATCH_SECONDS)
                level = await _level(server.port)
            calm = time.monotonic() - ended if level == "OK" else math.inf
            await asyncio.sleep(max(0.0, ended + chosen.pause - time.monotonic()))
            rest_bytes = box.usage_bytes
            return _Recovery(first, await storm(), level_at_end, calm, rest_bytes)

        return run_loop(main())


async def _level(port: int) -> str:
    try:
        async with asyncio.timeout(2.0):
            return str(json.loads((await fetch(port, "/health")).body)["status"])
    except (OSError, EOFError, TimeoutError, ValueError, KeyError):
        return "no answer"
