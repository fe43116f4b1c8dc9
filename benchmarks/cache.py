"""The application fills the page cache, by reading a large file and by writing one: who panics?

File cache is charged to the cgroup and is not memory in use: the kernel takes it back when it needs
room. The level is asked for 20 times a second, and afterwards for memory that the cache has now.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.load import Kind, Load
from benchmarks.peers import Peer
from benchmarks.probe import fetch
from benchmarks.record import Result, machine
from benchmarks.server import Server
from benchmarks.storm import run as run_loop
from tonnage.units import MIB, format_bytes

SUMMARY = "450 MB of page cache made by reading and by writing: levels, refusals"

APP = "benchmarks.greedy:app"
WORK = Kind("work", "/work?mb=8&ms=300", 1.0, 0.3)
LOOK_SECONDS = 0.05


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_limit(parser)
    options.add_peers(parser, "tonnage-workers")
    parser.add_argument("--mb", type=int, default=450, help="size of the file")
    parser.add_argument("--seconds", type=float, default=5, help="length of the load afterwards")
    parser.add_argument(
        "--disk",
        type=Path,
        default=Path(os.environ.get("TONNAGE_TEST_DISK") or tempfile.gettempdir()),
        help="a directory on a disk, not in memory",
    )


def run(chosen: argparse.Namespace) -> Result:
    """Fill the cache of every chosen peer in both ways."""
    before = machine()
    found = [
        _fill(peer, what, chosen) for peer in chosen.peers for what in ("read 3 times", "written")
    ]
    return Result(
        name="cache",
        title=f"a file of {chosen.mb} MB, then 20 clients of {WORK.path} for"
        f" {chosen.seconds:g} s, limit {format_bytes(chosen.limit)}",
        columns=["server: file", "took", "levels", "charged MB", "ok/s", "refused", "failed",
                 "kernel kills"],
        rows=[outcome.row() for outcome in found],
        notes=[
            "levels: how often /health said which, asked 20 times a second while the file was read"
            " or written and for a second after. charged: by the kernel then, cache included.",
            "ok/s, refused, failed: the load that follows at once.",
        ],
        machine=before,
        details={outcome.name: asdict(outcome) for outcome in found},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Outcome:
    name: str
    took_seconds: float
    levels: dict[str, int]
    charged_bytes: int
    ok_per_second: float
    refused: int
    failed: int
    kernel_kills: int

    def row(self) -> list[str]:
        """Return the row of the table."""
        return [
            self.name,
            f"{self.took_seconds:.2f} s",
            ", ".join(f"{count}x {level}" for level, count in self.levels.items()),
            f"{self.charged_bytes / MIB:.0f}",
            f"{self.ok_per_second:.0f}",
            str(self.refused),
            str(self.failed),
            str(self.kernel_kills),
        ]


def _fill(peer: Peer, what: str, chosen: argparse.Namespace) -> _Outcome:
    with (
        _big_file(chosen.disk, 0 if what == "written" else chosen.mb) as path,
        MemoryBox(chosen.limit) as box,
        Server(peer, box, app=APP) as server,
    ):
        ask = f"/write?path={path}&mb={chosen.mb}" if what == "written" else (
            f"/read?path={path}&times=3"
        )  # fmt: skip

        async def main() -> _Outcome:
            levels: Counter[str] = Counter()
            began = time.monotonic()
            asked = asyncio.create_task(fetch(server.port, ask))
            took = until = float("inf")
            while time.monotonic() < until:
                levels[await _level(server.port)] += 1
                await asyncio.sleep(LOOK_SECONDS)
                if asked.done() and took == float("inf"):
                    took = time.monotonic() - began
                    until = time.monotonic() + 1.0
            charged = box.usage_bytes
            load = Load(server.port, [WORK], clients=20)
            load.start()
            await load.keep_going(chosen.seconds)
            await load.stop()
            tally = load.tallies["work"]
            return _Outcome(
                name=f"{peer.name}: {what}",
                took_seconds=took,
                levels=dict(levels),
                charged_bytes=charged,
                ok_per_second=tally.ok / chosen.seconds,
                refused=tally.refused,
                failed=tally.broken + tally.other + ((await asked).status != 200),
                kernel_kills=box.kernel_kills,
            )

        return run_loop(main())


async def _level(port: int) -> str:
    return str(json.loads((await fetch(port, "/health")).body)["status"])


@contextmanager
def _big_file(directory: Path, mb: int) -> Iterator[Path]:
    """Yield a file of *mb* MB that is on the disk and not in the cache."""
    handle, name = tempfile.mkstemp(prefix="tonnage-big-", dir=directory)
    try:
        block = os.urandom(MIB)
        with open(handle, "wb", buffering=0) as file:
            for _ in range(mb):
                file.write(block)
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
