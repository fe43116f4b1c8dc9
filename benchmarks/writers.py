"""Records into PostgreSQL: our writer against COPY by the driver itself, and against INSERT.

The ways take turns, each in a process of its own (:mod:`benchmarks.writing`), with the same records
into the same empty table of a real server on a Unix socket. Ratios are of one round; the table has
their median.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
from typing import Any

from tests.support.postgres import PostgresServer, why_not

from benchmarks.record import Result, machine
from benchmarks.writing import TABLE, WAYS

SUMMARY = "records into PostgreSQL: our writer against COPY and INSERT, and its memory"

#: INSERT is so slow that a part of the records has to do.
INSERTED_PART = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    parser.add_argument("--records", type=int, default=2_000_000, help="of each way and round")
    parser.add_argument("--rounds", type=int, default=3, help="turns each way gets")
    parser.add_argument("--batch", type=int, default=1000, help="records stored at a time")
    parser.add_argument("--ways", default=",".join(WAYS), help="which of them, with commas")


def run(chosen: argparse.Namespace) -> Result:
    """Have each way store the records, in turns."""
    reason = why_not()
    if reason is not None:
        sys.exit(f"no PostgreSQL: {reason}")
    before = machine()
    ways = [name for name in WAYS if name in chosen.ways.split(",") or name == "copy"]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    with PostgresServer(max_wal_size="4GB") as server:
        for number in range(chosen.rounds):
            for name in ways if number % 2 == 0 else ways[::-1]:
                found[name].append(_measure(server, name, chosen))
                print(number + 1, name, f"{found[name][-1]['per_second']:,.0f}/s", flush=True)
    return Result(
        name="writers",
        title=f"{chosen.records:,} records of 5 columns into PostgreSQL, {chosen.batch} at a time",
        columns=["way", "records/s", "of COPY", "times INSERT", "CPU us each", "MB at 10 %",
                 "MB at the end", "MB at most"],
        rows=[_row(name, found) for name in ways],
        notes=[
            "COPY: copy_records_to_table of asyncpg, rows made as tuples. sink: PostgresSink by"
            " itself, with dicts. writer: BatchWriter with that sink, overflow=wait; dicts arrive"
            " 100 at a time (add_many), or one by one (writer-singly: add).",
            f"INSERT: a prepared one for each record; 1/{INSERTED_PART} of the records. Server and"
            " client share two cores; fsync is off, so that the disk does not decide: with it,"
            " INSERT would be slower by far.",
            "MB: resident size of the client's process; at 10 points in the details.",
        ],
        machine=before,
        details={"found": found},
    )  # fmt: skip


def _measure(server: PostgresServer, name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    count = chosen.records // (INSERTED_PART if name == "insert" else 1)
    asyncio.run(_empty_table(server.url))
    command = [sys.executable, "-m", "benchmarks.writing", name, server.url, str(count),
               str(chosen.batch)]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    asyncio.run(_check(server.url, count))
    result: dict[str, Any] = json.loads(done.stdout)
    return result


async def _empty_table(url: str) -> None:
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP TABLE IF EXISTS events; {TABLE}; CHECKPOINT")
    await connection.close()


async def _check(url: str, count: int) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    stored, different = await connection.fetchrow(
        "SELECT count(*), count(DISTINCT player) FROM events"
    )
    await connection.close()
    if not stored == different == count:
        raise RuntimeError(f"{stored} records are stored, {different} different, of {count}")


def _row(name: str, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    def ratio(to: str) -> str:
        if to not in found:
            return "-"
        pairs = zip(found[name], found[to], strict=True)
        return (
            f"{statistics.median(own['per_second'] / his['per_second'] for own, his in pairs):.2f}"
        )

    mb = [[size / 2**20 for size in each["resident_bytes"]] for each in found[name]]
    rate = statistics.median(each["per_second"] for each in found[name])
    cpu_us = statistics.median(each["cpu_us"] for each in found[name])
    return [
        name, f"{rate:,.0f}", ratio("copy"), ratio("insert"), f"{cpu_us:.2f}",
        f"{mb[-1][0]:.1f}", f"{mb[-1][-1]:.1f}", f"{max(map(max, mb)):.1f}",
    ]  # fmt: skip
