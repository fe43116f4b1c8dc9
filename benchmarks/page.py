"""What it costs the application that people look at the live page.

One server, one worker; the same load without and with pages open, in turns. A page is what a
browser makes of it: one stream of states, and the history every five seconds. Throughput is that
of clients that ask again at once; latencies are those under a steady rate that leaves room. The
ratio is the median of the rounds'.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from benchmarks import options, storm
from benchmarks.box import MemoryBox
from benchmarks.load import Kind, Load
from benchmarks.peers import PEERS
from benchmarks.record import Result, machine, quantile
from benchmarks.server import Server
from tonnage.units import format_bytes

SUMMARY = "requests/s and p99 of the application while the live page is open"

HISTORY_SECONDS = 5.0
WARM_UP_SECONDS = 0.5
START_SECONDS = 5.0

_KIND = Kind("hello", "/")
_EVENT = b"data: "


@dataclass(slots=True)
class _Opened:
    """A page that is open, and how many states it has got."""

    states: int = 0
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn has found."""

    per_second: float
    p50_seconds: float
    p99_seconds: float
    states: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_clients(parser, seconds=10, clients=16)
    parser.add_argument("--pages", type=int, default=5, help="pages that are open")
    parser.add_argument("--rate", type=float, default=500, help="requests/s for the latencies")
    parser.add_argument("--rounds", type=int, default=10, help="turns with and without pages")


def run(chosen: argparse.Namespace) -> Result:
    """Measure without and with pages, in turns."""
    before = machine()
    cpus = sorted(os.sched_getaffinity(0))
    with (
        MemoryBox(chosen.limit) as box,
        Server(PEERS["tonnage-workers"], box, workers=1, cpus={cpus[0]}) as server,
    ):
        os.sched_setaffinity(0, {cpus[-1]})
        try:
            turns = storm.run(_turns(server.port, chosen))
        finally:
            os.sched_setaffinity(0, cpus)
    counts = (0, chosen.pages)
    return Result(
        name="page",
        title=f"GET / with {counts[0]} and {counts[1]} live pages open, one worker,"
        f" {chosen.rounds} rounds of {chosen.seconds:g} s in turn,"
        f" limit {format_bytes(chosen.limit)}",
        columns=["pages", "requests/s", "ratio", "p50", "ratio", "p99", "ratio", "states"],
        rows=[_row(count, turns[count], turns[0]) for count in dict.fromkeys(counts)],
        notes=[
            f"requests/s: {chosen.clients} clients that ask again at once; p50 and p99: at"
            f" {chosen.rate:g} requests/s; medians of the rounds. ratio: to no page in the same"
            " round, median.",
            "states: what the pages got in one round, on average; each gets one a second.",
            "The server has one core, load and pages another.",
        ],
        machine=before,
        details={str(count): [_details(turn) for turn in found] for count, found in turns.items()},
    )


async def _turns(port: int, chosen: argparse.Namespace) -> dict[int, list[Turn]]:
    found: dict[int, list[Turn]] = {0: [], chosen.pages: []}
    await _load(port, chosen.clients, WARM_UP_SECONDS, None)
    for number in range(chosen.rounds):
        for count in list(found) if number % 2 == 0 else list(found)[::-1]:
            turn = await _turn(port, count, chosen)
            found[count].append(turn)
            print(
                f"round {number + 1}, {count} pages: {turn.per_second:.0f}/s,"
                f" p99 {turn.p99_seconds * 1000:.2f} ms",
                flush=True,
            )
    return found


async def _turn(port: int, pages: int, chosen: argparse.Namespace) -> Turn:
    async with _looking(port, pages) as opened:
        full = await _load(port, chosen.clients, chosen.seconds / 2, None)
        steady = await _load(port, chosen.clients, chosen.seconds / 2, chosen.rate)
    latencies = steady.tallies[_KIND.name].latencies_seconds
    return Turn(
        full.tallies[_KIND.name].ok / (chosen.seconds / 2),
        quantile(latencies, 0.5),
        quantile(latencies, 0.99),
        sum(page.states for page in opened),
    )


async def _load(port: int, clients: int, seconds: float, rate: float | None) -> Load:
    load = Load(port, [_KIND], clients=clients, per_second=rate)
    load.start()
    await load.keep_going(seconds)
    await load.stop()
    return load


@contextlib.asynccontextmanager
async def _looking(port: int, pages: int) -> AsyncIterator[list[_Opened]]:
    """Have so many pages open, each of which has got a state."""
    opened = [_Opened() for _ in range(pages)]
    looks = [asyncio.create_task(_look(port, page)) for page in opened]
    try:
        async with asyncio.timeout(START_SECONDS):
            await asyncio.gather(*(page.has_begun.wait() for page in opened))
        yield opened
    finally:
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)


async def _look(port: int, page: _Opened) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    history_at = time.monotonic()
    try:
        writer.write(b"GET /tonnage/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while part := await reader.read(1 << 18):
            page.states += part.count(_EVENT)
            if page.states:
                page.has_begun.set()
            if time.monotonic() >= history_at:
                history_at += HISTORY_SECONDS
                await _get(port, "/tonnage/history")
    finally:
        writer.close()


async def _get(port: int, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await reader.read()
    finally:
        writer.close()


def _row(count: int, turns: list[Turn], base: list[Turn]) -> list[str]:
    cells = [str(count)]
    for name, shown in (
        ("per_second", "{:.0f}"),
        ("p50_seconds", "{:.2f} ms"),
        ("p99_seconds", "{:.2f} ms"),
    ):
        values = [getattr(turn, name) for turn in turns]
        ratios = [
            getattr(turn, name) / getattr(other, name)
            for turn, other in zip(turns, base, strict=True)
        ]
        scale = 1000 if name.endswith("seconds") else 1
        cells += [
            shown.format(statistics.median(values) * scale),
            f"{statistics.median(ratios):.3f}",
        ]
    return [*cells, f"{statistics.fmean(turn.states for turn in turns):.0f}"]


def _details(turn: Turn) -> dict[str, float]:
    return {
        "per_second": round(turn.per_second, 1),
        "p50_seconds": round(turn.p50_seconds, 6),
        "p99_seconds": round(turn.p99_seconds, 6),
        "states": turn.states,
    }
