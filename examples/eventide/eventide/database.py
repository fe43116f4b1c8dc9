"""Eventide's database: a SQLite file, made at the import, and a connection for each request."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends

HERE = Path(__file__).parent
DATA = Path(os.environ.get("EVENTIDE_DATA", HERE.parent / "data"))
DATABASE = DATA / "eventide.sqlite3"
LARGEST_ID = 2**63 - 1  # what SQLite can count to

Row = dict[str, Any]


def prepare() -> None:
    """Make the database, unless it is there. Several processes may do so at once."""
    if DATABASE.exists():
        return
    DATA.mkdir(parents=True, exist_ok=True)
    unfinished = DATABASE.with_suffix(f".{os.getpid()}")
    with closing(sqlite3.connect(unfinished)) as made:
        made.executescript((HERE / "schema.sql").read_text())
    unfinished.replace(DATABASE)


def _connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(DATABASE, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    with closing(connection):
        yield connection


Connection = Annotated[sqlite3.Connection, Depends(_connection)]


def rows(connection: sqlite3.Connection, query: str, *values: Any) -> list[Row]:
    """Return what *query* finds, which has a LIMIT of its own, or a key."""
    cursor = connection.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def one(connection: sqlite3.Connection, query: str, *values: Any) -> Row:
    """Return the one row that *query* finds."""
    return rows(connection, query, *values)[0]


def utc(moment: datetime | None = None) -> str:
    """Return *moment*, or now, as the database has it."""
    return f"{(moment or datetime.now(UTC)).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
