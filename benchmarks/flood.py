"""A million events for a writer whose sink stands still, in a container of 128 MB.

By policy: ``drop``, ``wait`` (a hundred tasks, a second), ``spool``. It holds if no more is in
the buffer than may be, every event is accounted for (stored, dropped and counted, or still there),
none is stored twice, memory does not grow with their number, and the kernel kills nobody. Otherwise
the run ends with an error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks import flooding, options
from benchmarks.box import MemoryBox
from benchmarks.record import Result, machine
from tonnage.units import MIB, format_bytes, in_mb

SUMMARY = "a million events for a writer whose sink stands still: bounds, books, memory"

POLICIES = ("drop", "wait", "spool")
#: How much resident memory may grow between a tenth of the events and all of them.
SLACK_BYTES = 12 * MIB
LONGEST_SECONDS = 180.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_limit(parser, "128M")
    parser.add_argument("--events", type=int, default=1_000_000, metavar="N")
    parser.add_argument(
        "--spool", metavar="DIR", help="where the spool is made: a directory on a disk"
    )


def run(chosen: argparse.Namespace) -> Result:
    """Flood a writer with each policy."""
    before = machine()
    rows, details = [], {}
    for policy in POLICIES:
        found = flooded(policy, chosen.events, chosen.limit, chosen.spool)
        details[policy] = found
        rows.append(_row(found))
        print(" | ".join(rows[-1]), flush=True)
        if wrong := faults(found):
            sys.exit(f"{policy}: {'; '.join(wrong)}")
    return Result(
        name="flood",
        title=f"{chosen.events:,} events for a writer whose sink stands still; its buffer:"
        f" {flooding.MAX_RECORDS:,} records, {format_bytes(flooding.MAX_BYTES)}; container:"
        f" {format_bytes(chosen.limit)}",
        columns=[
            "overflow", "events/s", "in memory, most", "MB, most", "dropped", "on disk",
            "stored", "RSS MB at 10 %", "RSS MB at 100 %", "RSS MB, stored", "kernel kills",
        ],
        rows=rows,
        notes=[
            "The sink stands still until all events were offered (wait: for a second), then it"
            " takes what there is. Making the events is part of the time.",
            "stored + dropped = events, each stored once; MB as the writer counts them.",
        ],
        machine=before,
        details=details,
    )  # fmt: skip


def flooded(policy: str, events: int, limit_bytes: int, spool: str | None = None) -> dict[str, Any]:
    """Return what one flood has come to, in a container of its own."""
    with tempfile.TemporaryDirectory(dir=spool) as directory, MemoryBox(limit_bytes) as box:
        command = [sys.executable, "-m", "benchmarks.flooding", policy, str(events), directory]
        done = subprocess.run(
            box.wrap(command), capture_output=True, text=True, timeout=LONGEST_SECONDS
        )
        if done.returncode:
            raise RuntimeError(
                f"{policy}: ended with {done.returncode}, {box.kernel_kills} kernel kills:"
                f" {done.stderr[-2000:]}"
            )
        found: dict[str, Any] = json.loads(done.stdout)
        return found | {"kernel_kills": box.kernel_kills, "peak_bytes": box.peak_bytes}


def faults(found: dict[str, Any]) -> list[str]:
    """Return what does not hold of one flood; empty if all does."""
    events, after, rss = found["events"], found["after"], found["rss_bytes"]
    kept = {"drop": flooding.MAX_RECORDS, "wait": events, "spool": events}[found["policy"]]
    holds = {
        "more in the buffer than may be": found["most_records"] <= flooding.MAX_RECORDS
        and found["most_bytes"] <= flooding.MAX_BYTES,
        "the buffer was never full": found["most_records"] == flooding.MAX_RECORDS,
        "not every event is accounted for": after["totalAdded"] == events
        and found["taken"] + after["totalDropped"] == events,
        "not all that was taken was stored, once": found["stored"]
        == found["different"]
        == found["taken"]
        == after["totalFlushed"],
        f"{found['taken']} were taken, not {kept}": found["taken"] == kept,
        "memory grew": max(rss) - rss[0] <= SLACK_BYTES,
        "the kernel killed": not found["kernel_kills"],
    }
    return [what for what, is_so in holds.items() if not is_so]


def _row(found: dict[str, Any]) -> list[str]:
    before, after, rss = found["before"], found["after"], found["rss_bytes"]
    return [
        found["policy"],
        f"{found['events'] / found['seconds']:,.0f}",
        f"{found['most_records']:,}",
        f"{in_mb(found['most_bytes']):.1f}",
        f"{after['totalDropped']:,}",
        f"{before['spooled']:,}",
        f"{found['stored']:,}",
        f"{in_mb(rss[0]):.1f}",
        f"{in_mb(rss[-2]):.1f}",
        f"{in_mb(rss[-1]):.1f}",
        str(found["kernel_kills"]),
    ]
