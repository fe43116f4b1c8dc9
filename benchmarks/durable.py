"""Durable records: what they cost, and what is lost of them when everything fails (nothing).

A real server answers 202 when a record is on disk, and stores it in a real PostgreSQL; clients post
records and note what was acknowledged (``tests.promises.durability``). Workers and whole servers
are killed at random moments; the database is gone for a while; the disk, a small ext4 of its own,
is full. Each runs in a memory cgroup.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from tests.promises.durability import (
    Posted,
    arrived,
    database,
    fill_the_disk,
    kill_again_and_again,
    stop_the_database,
)
from tests.support.cgroup import MemoryBox
from tests.support.disk import small_disk
from tests.support.postgres import why_not
from tests.support.redis import RedisServer

from benchmarks import options
from benchmarks.record import Result, machine
from tonnage.units import MIB, format_bytes

SUMMARY = "durable records: kill -9, no database, full disk; and records/s on disk"

#: Way, adders at once, records.
_COSTS = (
    ("bare", 1, 3000),
    ("sqlite", 1, 3000),
    ("durable", 1, 3000),
    ("durable", 10, 20_000),
    ("durable", 100, 50_000),
    ("memory", 100, 200_000),
)
_SMALL_DISK_BYTES = 16 * MIB

Scene = Callable[[Any, Path, MemoryBox], Coroutine[Any, Any, Posted]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs under load")
    parser.add_argument("--outage", type=float, default=30, help="seconds without the database")
    parser.add_argument("--seed", type=int, default=1, help="of the moments to kill at")
    options.add_limit(parser)
    parser.set_defaults(limit=192 * MIB)


def run(chosen: argparse.Namespace) -> Result:
    """Have each of them happen, and count."""
    reason = why_not()
    if reason is not None:
        sys.exit(f"no PostgreSQL: {reason}")
    before = machine()
    rows = [_cost(*each) for each in _COSTS]
    scenes: dict[str, Scene] = {
        f"{chosen.kills} times kill -9": lambda server, spool, box: kill_again_and_again(
            server.url, spool, box, kills=chosen.kills, seed=chosen.seed
        ),
        f"no database for {chosen.outage:g} s": lambda server, spool, box: stop_the_database(
            server, spool, box, seconds=chosen.outage
        ),
        f"disk of {format_bytes(_SMALL_DISK_BYTES)} full": fill_the_disk,
        f"no Redis for {chosen.outage:g} s": lambda server, spool, box: stop_the_database(
            server, spool, box, seconds=chosen.outage
        ),
    }
    details: dict[str, Any] = {}
    for name, scene in scenes.items():
        store = _stream() if "Redis" in name else database()
        details[name] = _play(store, scene, chosen.limit, on_small_disk=scene is fill_the_disk)
        rows.append([name, *details[name]["row"]])
        print(" | ".join(rows[-1]), flush=True)
    return Result(
        name="durable",
        title="durable records: into PostgreSQL through a spool, two workers, limit"
        f" {format_bytes(chosen.limit)}",
        columns=["what", "records/s", "acknowledged", "lost", "twice", "under two ids", "refused",
                 "slowest answer", "MB at most", "kernel kills"],
        rows=rows,
        notes=[
            "records/s: on disk, each adder waiting for its own; bare: write and fdatasync of as"
            " many bytes, which is the disk's own figure; sqlite: commits one by one, WAL,"
            " synchronous=FULL; memory: a writer that is not durable. MB: resident.",
            "twice: rows that came again with the same id, which a unique index would leave out."
            " refused: 507, the disk has no room; not counted as lost.",
            "kill -9: by turns one worker, another, and all processes of the server at once. MB and"
            " kernel kills are the cgroup's, page cache included.",
        ],
        machine=before,
        details=details,
    )  # fmt: skip


def _cost(way: str, adders: int, records: int) -> list[str]:
    with tempfile.TemporaryDirectory(dir=".", prefix=".durable-") as directory:
        command = [sys.executable, "-m", "benchmarks.adding", way, str(adders), str(records),
                   directory]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    megabytes = f"{found['before'] / MIB:.1f} to {found['after'] / MIB:.1f}"
    row = [f"{way}, {adders} at once", f"{found['per_second']:,.0f}", *[""] * 6, megabytes, ""]
    print(" | ".join(row), flush=True)
    return row


def _stream() -> RedisServer:
    # It answers for what is on its disk.
    return RedisServer(appendonly="yes", appendfsync="always")


def _play(
    store: AbstractContextManager[Any], scene: Scene, limit_bytes: int, *, on_small_disk: bool
) -> dict[str, Any]:
    with ExitStack() as stack:
        server = stack.enter_context(store)
        directory = tempfile.TemporaryDirectory(dir=".", prefix=".durable-")
        spool = Path(stack.enter_context(directory)).absolute()
        if on_small_disk:
            spool = stack.enter_context(small_disk(_SMALL_DISK_BYTES))
        box = stack.enter_context(MemoryBox(limit_bytes))
        posted = asyncio.run(scene(server, spool, box))
        found = asyncio.run(arrived(server.url))
        lost = posted.acknowledged - found.keys
        row = [
            "",
            f"{len(posted.acknowledged):,}",
            str(len(lost)),
            str(found.twice),
            str(found.confused),
            str(posted.refused),
            f"{posted.slowest_seconds:.2f} s",
            f"{box.peak() / MIB:.0f}",
            str(box.kills()),
        ]
        return {"row": row, "lost": sorted(lost)[:100], "broken": posted.broken}
