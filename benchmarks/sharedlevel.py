"""Four workers that hold the same values: each its own copy, or one between them.

Each worker's cache is asked for keys of a Zipf distribution, until it is warm. Then every worker is
replaced, and the same is asked again. Found is what did not have to be made; memory is what the
kernel charges, and PSS over the tree: shared pages divided by the processes that share them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks import control, options
from benchmarks.box import MemoryBox
from benchmarks.memory import tree_kilobytes
from benchmarks.peers import PEERS, Peer
from benchmarks.record import Result, machine
from benchmarks.server import Server, in_turn
from benchmarks.sharing import TEXT_CHARACTERS
from benchmarks.storm import run as run_loop
from tonnage.units import format_bytes

SUMMARY = "four workers with one shared level, and with four private caches: memory, hits"

APP = "benchmarks.sharing:app"
CONNECTIONS = 16
#: Then a connection is made anew, so that all workers get their share.
REQUESTS_PER_CONNECTION = 50
SKEW = 0.8
#: Requests after which each worker has had one, where all are there.
WORKERS_ASKED = 500
REPLACED_SECONDS = 30.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_limit(parser)
    options.add_workers(parser, 4)
    parser.add_argument("--keys", type=int, default=20_000, help="values that there are")
    parser.add_argument("--requests", type=int, default=120_000, help="to warm up, all together")


def run(chosen: argparse.Namespace) -> Result:
    """Measure both."""
    before = machine()
    found = in_turn(["private", "shared"], lambda kind: measure(kind, chosen))
    return Result(
        name="sharedlevel",
        title=f"{chosen.workers} workers, {chosen.keys} values of"
        f" {format_bytes(TEXT_CHARACTERS)}, Zipf {SKEW:g}, {chosen.requests} requests, limit"
        f" {format_bytes(chosen.limit)}",
        columns=["cache", "found", "found after all workers were replaced", "PSS MB before",
                 "PSS MB warm", "anonymous MB more", "file cache MB more", "charged MB",
                 "kernel kills"],
        rows=[outcome.row() for outcome in found],
        notes=[
            "private: Cache(max_bytes='64M'). shared: Cache(max_bytes='2M', shared='64M').",
            "found: of as many requests as a quarter of the warm-up, before and after"
            " `tonnage recycle`. Memory: when all workers answer, and warm; anonymous pages stay"
            " until they are freed, file cache goes when the kernel needs room.",
        ],
        machine=before,
        details={outcome.name: asdict(outcome) for outcome in found},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found and what it took."""

    name: str
    found: float
    found_after: float
    begun_kilobytes: int
    warm_kilobytes: int
    anonymous_kilobytes: int
    file_kilobytes: int
    charged_bytes: int
    kernel_kills: int

    def row(self) -> list[str]:
        """Return the row of the table."""
        return [
            self.name,
            f"{self.found:.3f}",
            f"{self.found_after:.3f}",
            f"{self.begun_kilobytes / 1024:.0f}",
            f"{self.warm_kilobytes / 1024:.0f}",
            f"{self.anonymous_kilobytes / 1024:.0f}",
            f"{self.file_kilobytes / 1024:.0f}",
            f"{self.charged_bytes / 2**20:.0f}",
            str(self.kernel_kills),
        ]


def measure(kind: str, chosen: argparse.Namespace) -> Outcome:
    """Warm up, weigh, ask, replace every worker, and ask again."""
    # The shared level is in it too: where temporary files are, which should be on a disk.
    with (
        tempfile.TemporaryDirectory() as directory,
        MemoryBox(chosen.limit) as box,
        Server(_peer(kind, directory), box, app=APP, workers=chosen.workers) as server,
    ):
        keys = Keys(chosen.keys)

        def ask(requests: int) -> tuple[float, set[str]]:
            return run_loop(asking(server.port, keys.some(requests)))

        while len(ask(WORKERS_ASKED)[1]) < chosen.workers:
            pass  # they are still starting
        begun = tree_kilobytes(box.pids)
        ask(chosen.requests)
        found, workers = ask(chosen.requests // 4)
        warm = tree_kilobytes(box.pids)
        charged = box.usage_bytes
        control.ask(directory, "/recycle", "POST")
        deadline = time.monotonic() + REPLACED_SECONDS
        while workers & {str(pid) for pid in box.pids} and time.monotonic() < deadline:
            time.sleep(0.1)
        found_after, workers_after = ask(chosen.requests // 4)
        if workers & workers_after:
            raise RuntimeError(f"not every worker was replaced: {workers & workers_after}")
        return Outcome(
            name=kind,
            found=found,
            found_after=found_after,
            begun_kilobytes=begun["Pss"],
            warm_kilobytes=warm["Pss"],
            anonymous_kilobytes=warm["Pss_Anon"] - begun["Pss_Anon"],
            file_kilobytes=warm["Pss_File"] - begun["Pss_File"],
            charged_bytes=charged,
            kernel_kills=box.kernel_kills,
        )


class Keys:
    """Numbers below *count*, the small ones more often; the same in each run."""

    def __init__(self, count: int) -> None:
        weights = (1 / (rank + 1) ** SKEW for rank in range(count))
        self._sums = list(itertools.accumulate(weights))
        self._count = count
        self._dice = random.Random(7)

    def some(self, number: int) -> list[int]:
        """Return so many."""
        return self._dice.choices(range(self._count), cum_weights=self._sums, k=number)


async def asking(port: int, numbers: Sequence[int]) -> tuple[float, set[str]]:
    """Ask for all of *numbers*; return the share that was found, and who has answered."""
    left = iter(numbers)
    found = 0
    workers: set[str] = set()

    async def client() -> None:
        while batch := list(itertools.islice(left, REQUESTS_PER_CONNECTION)):
            while batch:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    await ask(reader, writer, batch)
                finally:
                    writer.close()
                    await writer.wait_closed()

    async def ask(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, batch: list[int]
    ) -> None:
        """Ask on one connection until it is to be closed: a worker that is replaced says so."""
        nonlocal found
        head = b""
        while batch and b"connection: close" not in head:
            number = batch.pop()
            writer.write(b"GET /item/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 200"):
                raise RuntimeError(f"a request was not answered: {head.decode()}")
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            said, worker = (await reader.readexactly(length)).decode().split()
            found += said == "found"
            workers.add(worker)

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return found / len(numbers), workers


def _peer(kind: str, directory: str) -> Peer:
    peer = PEERS["tonnage-workers"]
    environment = {"SHARING": kind, "TONNAGE_CACHE_DIR": directory}
    return control.with_control(
        replace(peer, environment=peer.environment | environment), directory
    )
