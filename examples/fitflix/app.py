"""FitFlix: plans, activities and events of a gym. FastAPI over SQLite.

The limits that a request meets are in ``pyproject.toml`` beside it. What they ask of the
application is in how it answers: lists come in pages and without what is long, all that goes out
whole has a size that somebody chose, and what may be of any size is sent in parts that are made
when the last one has gone. What many ask for is kept for 5 minutes, or until an event is created.
There is no pool of connections yet; nor does it ask who may create an event.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, Field

from tonnage import Cache

HERE = FilePath(__file__).parent
DATABASE = FilePath(os.environ.get("FITFLIX_DATA", HERE / "data")) / "fitflix.sqlite3"

ROWS_AT_ONCE = 100
LARGEST_ID = 2**63 - 1  # what SQLite can count to

Row = dict[str, Any]
Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Start = Annotated[
    AwareDatetime, Field(ge=datetime(2020, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))
]

# Each worker has its own (there is one, unless the options say otherwise); they forget together.
cache: Cache[list[Row]] = Cache("fitflix", max_entries=100, max_bytes="8M", ttl="5m")

SUMMARY = "events.id, activities.name AS activity, title, starts_at, seats"
EVENTS = "FROM events JOIN activities ON activities.id = activity_id"


class NewEvent(BaseModel):
    """An event as a client sends it."""

    activity_id: int = Field(ge=1, le=LARGEST_ID)
    title: str = Field(min_length=1, max_length=120)
    starts_at: Start
    seats: int = Field(ge=1, le=1000)
    description: str = Field(default="", max_length=5000)


def prepare() -> None:
    """Make the database, unless it is there. Several processes may do so at once."""
    if DATABASE.exists():
        return
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    unfinished = DATABASE.with_suffix(f".{os.getpid()}")
    with closing(sqlite3.connect(unfinished)) as made:
        made.executescript((HERE / "schema.sql").read_text())
    unfinished.replace(DATABASE)


def connect() -> closing[sqlite3.Connection]:
    """Return a connection, to be closed by whoever asked, in whichever thread that is."""
    connection = sqlite3.connect(DATABASE, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.row_factory = _as_dict
    return closing(connection)


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def _connection() -> Iterator[sqlite3.Connection]:
    with connect() as connection:
        yield connection


Database = Annotated[sqlite3.Connection, Depends(_connection)]

prepare()  # at the import, so that there is one when the workers are forked
app = FastAPI(title="FitFlix", summary="Plans, activities and events of a gym.")


@app.get("/plans")
def plans(database: Database) -> list[Row]:
    """Return what a membership can be."""
    return _kept(database, "SELECT * FROM plans ORDER BY cents_a_month LIMIT 100")


@app.get("/activities")
def activities(database: Database) -> list[Row]:
    """Return what there is to do."""
    return _kept(database, "SELECT * FROM activities ORDER BY name LIMIT 100")


@app.get("/events")
def events(
    database: Database,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID, description="the last page's `next`")] = 0,
    limit: Annotated[int, Query(ge=1, le=ROWS_AT_ONCE)] = 20,
) -> dict[str, Any]:
    """Return a page of events, without their descriptions."""
    query = f"SELECT {SUMMARY} {EVENTS} WHERE events.id > ? ORDER BY events.id LIMIT ?"
    page = _kept(database, query, after, limit, tags=["events"])
    return {"events": page, "next": page[-1]["id"] if len(page) == limit else None}


@app.get("/events/{event_id}")
def event(database: Database, event_id: Id) -> Row:
    """Return one event, with its description."""
    query = f"SELECT {SUMMARY}, description {EVENTS} WHERE events.id = ?"
    found = _kept(database, query, event_id, tags=["events"])
    if not found:
        raise HTTPException(404, f"there is no event {event_id}")
    return found[0]


@app.post("/events", status_code=201)
def create(database: Database, new: NewEvent, response: Response) -> Row:
    """Create an event, which ``/live`` tells of."""
    values = new.model_dump() | {"starts_at": f"{new.starts_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    try:
        with database:
            made = database.execute(
                "INSERT INTO events (activity_id, title, starts_at, seats, description)"
                " VALUES (:activity_id, :title, :starts_at, :seats, :description)",
                values,
            )
    except sqlite3.IntegrityError:
        raise HTTPException(422, f"there is no activity {new.activity_id}") from None
    cache.invalidate("events")
    response.headers["Location"] = f"/events/{made.lastrowid}"
    return {"id": made.lastrowid, **values}


def _kept(
    database: sqlite3.Connection, query: str, *values: int, tags: Collection[str] = ()
) -> list[Row]:
    """Return the rows of *query*, from the cache if they are there."""
    return cache.get_or_make(
        (query, values), lambda: database.execute(query, values).fetchall(), tags=tags
    )


@app.get("/export.json")
def export_json(
    database: Database, month: Annotated[str, Query(pattern=r"^\d{4}(-\d{2})?$")]
) -> Response:
    """Return the events of a month, or a year, whole: a year is more than a response may have."""
    columns = ", ".join(f"'{name}', {name}" for name in ("title", "starts_at", "description"))
    query = f"SELECT json_group_array(json_object('id', id, {columns})) AS text FROM events"
    row = database.execute(f"{query} WHERE starts_at BETWEEN ? AND ?", (month, f"{month}~"))
    return Response(row.fetchone()["text"], media_type="application/json")


@app.get("/export.csv")
def export_csv() -> StreamingResponse:
    """Return all events, of whatever size that is: no more than some rows are in memory."""
    return StreamingResponse(_lines(), media_type="text/csv")


def _lines() -> Iterator[str]:
    """Yield all events as CSV; each piece is a query, so that a slow client keeps none open."""
    last = 0
    with connect() as database:
        while rows := _events_after(database, last):
            last = rows[-1]["id"]
            piece = io.StringIO()
            csv.writer(piece).writerows(row.values() for row in rows)
            yield piece.getvalue()


@app.get("/live")
async def live(
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_ID)] = None,
) -> StreamingResponse:
    """Send each event that is created from now on, or after *last_event_id*, as it happens."""
    return StreamingResponse(_news(last_event_id), media_type="text/event-stream")


async def _news(last: int | None) -> AsyncIterator[str]:
    """Yield new events; the database is asked each second, since any worker may make them."""
    seen = await asyncio.to_thread(_newest) if last is None else last
    yield ": listening\n\n"
    while True:
        for row in await asyncio.to_thread(_news_after, seen):
            seen = row["id"]
            yield f"id: {seen}\ndata: {json.dumps(row)}\n\n"
        await asyncio.sleep(1)


def _newest() -> int:
    with connect() as database:
        newest: int = database.execute("SELECT max(id) AS id FROM events").fetchone()["id"]
        return newest


def _news_after(last: int) -> list[Row]:
    with connect() as database:
        return _events_after(database, last)


def _events_after(database: sqlite3.Connection, last: int) -> list[Row]:
    query = f"SELECT {SUMMARY}, description {EVENTS} WHERE events.id > ? ORDER BY events.id LIMIT ?"
    return database.execute(query, (last, ROWS_AT_ONCE)).fetchall()
