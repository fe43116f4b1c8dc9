"""Through a list to its end while it changes: by keyset, and by offset beside it.

One process inserts rows into the list and deletes such all the time; another reads it in pages,
each in a transaction of its own, as requests do. What was there throughout has to be read once.
By offset the whole list takes the square of the time, so that it is read in larger pages for the
rows, and a few usual pages are timed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support.postgres import PostgresServer, why_not

from benchmarks.record import Result, machine

if TYPE_CHECKING:
    from sqlalchemy import Engine

SUMMARY = "through 1,000,000 rows in pages while they change: keyset against offset"

#: Pages whose times are taken at the beginning, and at the end.
TIMED: Final = 100
#: Pages that the whole list is read in by offset.
LARGE_PAGES: Final = 20
#: Rows of the list for each moment that it is ordered by.
TIES: Final = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the list")
    parser.add_argument("--size", type=int, default=100, help="rows of a page")
    parser.add_argument("--databases", default="postgresql,sqlite", help="which, with commas")


def run(chosen: argparse.Namespace) -> Result:
    """Read the list by keyset and by offset, in each database."""
    if chosen.rows < (TIMED + 2) * chosen.size:
        raise SystemExit(f"--rows: {TIMED + 2} pages of {chosen.size} at least, to time {TIMED}")
    before = machine()
    rows: list[list[str]] = []
    details: dict[str, Any] = {}
    for name in chosen.databases.split(","):
        with _url_of(name) as url:
            _fill(url, chosen.rows)
            for way, read in (("keyset", _by_keyset), ("offset", _by_offset)):
                found = _while_it_changes(url, chosen, read)
                details[f"{name} {way}"] = found
                rows.append([name, way, *_cells(found)])
                print(*rows[-1], flush=True)
    return Result(
        name="paging",
        title=f"a list of {chosen.rows:,} rows, {chosen.size} at a time, while it changes",
        columns=["database", "by", "missed", "doubled", "first pages", "last pages", "ratio",
                 "changes/s"],
        rows=rows,
        notes=[
            "missed, doubled: of the rows that were there throughout. By keyset the whole list is"
            f" read in pages of {chosen.size}; by offset in {LARGE_PAGES} large ones, as it would"
            " take hours otherwise.",
            f"first, last pages: median time of {TIMED} pages of {chosen.size} rows (by offset"
            f" {TIMED // 10}) at the beginning and at the end of the list, in turns, with"
            " SQLAlchemy's share; ratio: of these.",
            "changes: rows inserted and deleted by another process. Server, reader and that process"
            " share the machine's cores; fsync is off.",
        ],
        machine=before,
        details=details,
    )  # fmt: skip


@contextmanager
def _url_of(name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tonnage-paging-") as directory:
        if name == "sqlite":
            yield f"sqlite:///{Path(directory) / 'events.db'}"
            return
        reason = why_not()
        if reason is not None:
            sys.exit(f"no PostgreSQL: {reason}")
        with PostgresServer(max_wal_size="4GB") as server:
            yield server.url.replace("postgresql:", "postgresql+psycopg:")


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event

    # The reader and the writer of a SQLite file may have to wait for each other's locks.
    engine = create_engine(url, connect_args={"timeout": 60} if "sqlite" in url else {})
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def with_log(connection: Any, record: object) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")

    return engine


def _table() -> Any:
    from sqlalchemy import Column, Index, Integer, MetaData, String, Table

    # fmt: off
    return Table(
        "events", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False),
        Column("starts_at", Integer, nullable=False), Column("title", String, nullable=False),
        Index("ix_events_starts_at", "starts_at", "id"),
    )
    # fmt: on


def _row(number: int, chance: random.Random, moments: int) -> dict[str, Any]:
    return {"id": number, "starts_at": chance.randrange(moments), "title": f"event {number:032}"}


def _fill(url: str, count: int) -> None:
    """Make the list: rows of even numbers, in no order."""
    from sqlalchemy import text

    engine, events, chance = _engine(url), _table(), random.Random(7)
    with engine.begin() as connection:
        events.create(connection)
        for start in range(0, count, 10_000):
            numbers = range(start, min(start + 10_000, count))
            made = [_row(2 * each, chance, count // TIES + 1) for each in numbers]
            connection.execute(events.insert(), made)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    engine.dispose()


def change(url: str, count: int, ended: Event, changes: Any) -> None:
    """Insert rows of odd numbers and delete such; delete a tenth of the others too."""
    engine, events, chance = _engine(url), _table(), random.Random(11)
    while not ended.is_set():
        numbers = [chance.randrange(count) for _ in range(50)]
        new = {2 * each + 1 for each in numbers}
        old = {2 * each for each in numbers if each % 10 == 0}
        gone = {2 * chance.randrange(count) + 1 for _ in range(50)}
        with engine.begin() as connection:
            connection.execute(events.delete().where(events.c.id.in_(new | old)))
            made = [_row(each, chance, count // TIES + 1) for each in new]
            connection.execute(events.insert(), made)
            connection.execute(events.delete().where(events.c.id.in_(gone)))
        changes.value += len(new) + len(old) + len(gone)
        time.sleep(0.001)
    engine.dispose()


def _while_it_changes(url: str, chosen: argparse.Namespace, read: Any) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    ended, changes = context.Event(), context.Value("q", 0)
    writer = context.Process(target=change, args=(url, chosen.rows, ended, changes))
    writer.start()
    engine = _engine(url)
    try:
        while not changes.value:
            time.sleep(0.01)
        begun, changed = time.monotonic(), changes.value
        found: dict[str, Any] = read(engine, chosen)
        seconds = time.monotonic() - begun
        changed = changes.value - changed
    finally:
        engine.dispose()
        ended.set()
        writer.join()
    # How often each was read; every tenth may have gone meanwhile.
    times: bytearray = found.pop("times")
    stayed = [each for number, each in enumerate(times) if number % 10]
    found["missed"] = sum(each == 0 for each in stayed)
    found["doubled"] = sum(each > 1 for each in stayed)
    found["stayed"] = len(stayed)
    found["seconds"] = seconds
    found["changes_per_second"] = changed / seconds
    return found


def _by_keyset(engine: Engine, chosen: argparse.Namespace) -> dict[str, Any]:
    from sqlalchemy import select

    from tonnage import db

    events, size = _table(), chosen.size
    statement = select(events).order_by(events.c.starts_at)

    def page(cursor: str | None) -> Any:
        with engine.connect() as connection:
            return db.page(connection, statement, size=size, max_size=size, after=cursor)

    times = bytearray(chosen.rows)
    found = page(None)
    # Where each page begins; the first of all is asked for in another way.
    places = []
    while True:
        _count(times, found.rows)
        if found.next is None:
            break
        places.append(found.next)
        found = page(found.next)
    # The last of all may be a short one.
    return {"times": times, **_timed(page, places[:TIMED], places[-TIMED - 1 : -1])}


def _by_offset(engine: Engine, chosen: argparse.Namespace) -> dict[str, Any]:
    from sqlalchemy import select

    events = _table()
    statement = select(events).order_by(events.c.starts_at, events.c.id)

    def rows(offset: int, size: int = chosen.size) -> list[Any]:
        with engine.connect() as connection:
            return list(connection.execute(statement.limit(size).offset(offset)))

    times = bytearray(chosen.rows)
    size = max(1, chosen.rows // LARGE_PAGES)
    offset = 0
    while found := rows(offset, size):
        _count(times, found)
        offset += size
    # Some of them, since each takes as long as reading the whole list.
    first = [each * chosen.size for each in range(TIMED // 10)]
    return {"times": times, **_timed(rows, first, [chosen.rows - chosen.size - x for x in first])}


def _timed(ask: Any, first: list[Any], last: list[Any]) -> dict[str, list[float]]:
    """Return how long pages at both ends take, in turns, so that both meet the same load."""
    found: dict[str, list[float]] = {"first_seconds": [], "last_seconds": []}
    for places in zip(first, last, strict=True):
        for name, place in zip(found, places, strict=True):
            begun = time.perf_counter()
            ask(place)
            found[name].append(time.perf_counter() - begun)
    return found


def _count(times: bytearray, rows: Any) -> None:
    for row in rows:
        if row.id % 2 == 0:
            times[row.id // 2] = min(255, times[row.id // 2] + 1)


def _cells(found: dict[str, Any]) -> list[str]:
    first, last = (statistics.median(found[f"{end}_seconds"]) for end in ("first", "last"))
    return [
        f"{found['missed']:,}", f"{found['doubled']:,}", f"{first * 1000:.2f} ms",
        f"{last * 1000:.2f} ms", f"{last / first:.2f}", f"{found['changes_per_second']:,.0f}",
    ]  # fmt: skip
