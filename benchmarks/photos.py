"""Clients post photos of 12 megapixels, and others do what clients do, in 512 MB.

One photo is cut out at a time. What it asks: does the kernel kill, is every photo done or refused
with ``Retry-After``, and do the others notice? They ask at a fixed rate, first with no photos,
then with them. Beside Tonnage, rembg in the web worker and in a process for each photo, under
uvicorn. Needs what ``images`` needs.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.images import APP, model_home
from benchmarks.load import Kind, Load, Tally
from benchmarks.peers import PEERS
from benchmarks.portrait import SIZE, portrait
from benchmarks.posting import Photos, post_all
from benchmarks.record import Result, machine, milliseconds, quantile, summary
from benchmarks.server import Server, in_turn
from benchmarks.storm import run as run_loop
from tonnage.units import MIB, format_bytes

SUMMARY = "20 clients post photos whose background is removed, 50 do other things, in 512 MB"

WAYS = {
    "rembg": ("uvicorn", "rembg in the web worker"),
    "subprocess": ("uvicorn", "rembg in a process for each photo"),
    "tonnage": ("tonnage-workers", "Tonnage"),
}
KINDS = [Kind("trivial", "/", 0.6), Kind("rows", "/rows", 0.4)]
WARM_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """What became of the photos and of the others' requests, without photos and with."""

    way: str
    quiet: Tally
    busy: Tally
    photos: Photos
    peak_bytes: int
    kernel_kills: int
    is_alive: bool

    def row(self) -> list[str]:
        """Return the row of the table."""
        quiet, busy = (quantile(each.latencies_seconds, 0.99) for each in (self.quiet, self.busy))
        return [
            WAYS[self.way][1],
            str(self.kernel_kills),
            *self.photos.row(),
            _seconds(quantile(self.photos.seconds, 0.5)),
            milliseconds(quantile(self.busy.latencies_seconds, 0.5)),
            milliseconds(quiet),
            milliseconds(busy),
            f"{busy / quiet:.1f}",
            f"{self.busy.ok:,}",
            f"{self.busy.refused + self.busy.other + self.busy.broken:,}",
            f"{self.peak_bytes / MIB:.0f}",
            "yes" if self.is_alive else "no",
        ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_clients(parser, seconds=60, clients=50)
    options.add_workers(parser, 1)
    options.add_rate(parser, 200)
    parser.add_argument("--posting", type=int, default=20, help="clients that post photos")
    parser.add_argument("--ways", default=",".join(WAYS), help="with commas")


def run(chosen: argparse.Namespace) -> Result:
    """Measure each way."""
    home = model_home()
    before = machine()
    photo = portrait()
    found = in_turn(chosen.ways.split(","), lambda way: measure(way, photo, home, chosen))
    return result(found, photo, chosen, before)


def result(
    found: Sequence[Found], photo: bytes, chosen: argparse.Namespace, before: dict[str, Any]
) -> Result:
    """Return the table of what was *found*."""
    return Result(
        name="photos",
        title=f"{chosen.posting} clients post JPEGs of {SIZE[0]} x {SIZE[1]}"
        f" ({format_bytes(len(photo))}) for {chosen.seconds:g} s, {chosen.clients} others ask"
        f" {chosen.rate:g} times a second, limit {format_bytes(chosen.limit)}",
        columns=["server", "kernel kills", "photos done", "refused", "failed", "photo p50",
                 "others' p50", "p99 quiet", "p99 with photos", "ratio", "others ok",
                 "others failed", "peak MB", "alive"],
        rows=[each.row() for each in found],
        notes=[
            "refused: 503 with Retry-After; the client comes back then. failed: any other answer"
            " but a picture, or none.",
            "quiet: the same requests for as long before the first photo. others failed: refused"
            " or without an answer, with the photos.",
            "Clients and server share the two cores; a photo takes one second of both.",
        ],
        machine=before,
        details={each.way: _details(each) for each in found},
    )  # fmt: skip


def measure(way: str, photo: bytes, home: str, chosen: argparse.Namespace) -> Found:
    """Put the two loads on one server."""
    peer = PEERS[WAYS[way][0]]
    environment = peer.environment | {"U2NET_HOME": home, "WAY": way}
    with (
        MemoryBox(chosen.limit) as box,
        Server(
            replace(peer, environment=environment), box, app=APP, workers=chosen.workers
        ) as server,
    ):
        quiet, busy, photos = run_loop(_loads(server.port, photo, chosen))
        return Found(
            way, quiet, busy, photos, box.peak_bytes, box.kernel_kills, is_alive=server.alive
        )


async def _loads(
    port: int, photo: bytes, chosen: argparse.Namespace
) -> tuple[Tally, Tally, Photos]:
    """Return what became of the others' requests before the photos and beside them, and of these.

    The others go on all the time, so that no figure has their beginning, when all connect at once.
    """
    load = Load(port, KINDS, clients=chosen.clients, per_second=chosen.rate)
    load.start()
    await load.keep_going(WARM_SECONDS)
    _taken(load)
    await load.keep_going(chosen.seconds)
    quiet = _taken(load)
    posting = asyncio.create_task(
        post_all(port, "/cutout", photo, clients=chosen.posting, seconds=chosen.seconds)
    )
    await load.keep_going(chosen.seconds)
    busy = _taken(load)
    photos = await posting
    await load.stop()
    return quiet, busy, photos


def _taken(load: Load) -> Tally:
    """Return what became of the requests since the last time, all kinds together."""
    total = Tally()
    for tally in load.tallies.values():
        total.latencies_seconds.extend(tally.latencies_seconds)
        for name in ("ok", "late", "refused", "other", "reset", "unreachable", "timed_out"):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    load.tallies = {kind.name: Tally() for kind in KINDS}
    return total


def _details(found: Found) -> dict[str, Any]:
    kept = asdict(found)
    for part, name in (("quiet", "latencies_seconds"), ("busy", "latencies_seconds")):
        kept[part][name] = summary(kept[part][name])
    kept["photos"]["seconds"] = summary(kept["photos"]["seconds"])
    return kept


def _seconds(seconds: float) -> str:
    return "-" if seconds != seconds else f"{seconds:.1f} s"
