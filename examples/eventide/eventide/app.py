"""Eventide: events, and seats to book at them. FastAPI, with log-in.

What each request meets is in ``pyproject.toml`` beside it. Here is what only the application can
say: who may log in and what is done about those who guess (``accounts.py``), and what of the
answers is kept for how long, and forgotten when. Any number of workers, and of instances where
``REDIS_URL`` names a Redis, see each other's changes. Events are in SQLite yet.
"""

from __future__ import annotations

import sqlite3
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, Field

from eventide.accounts import User, accounts
from eventide.database import DATA, LARGEST_ID, Connection, Row, one, rows, utc
from tonnage import Cache, setup_logging

ROWS_AT_ONCE = 100

# JSON on stdout in production; text, and files beside the database, in development.
setup_logging(directory=DATA / "logs")

EventId = Annotated[int, Path(ge=1, le=LARGEST_ID)]

# Of each worker; what one of them takes out, the others take out too. How long it is good for
# depends on where it runs: 5 minutes in production, 1 in development, or CACHE_TTL.
cache: Cache[list[Row]] = Cache("eventide", max_entries=500, max_bytes="4M")

EVENT = "id, title, city, starts_at, seats, seats - seats_taken AS seats_left"


class NewEvent(BaseModel):
    """An event as its organiser sends it."""

    title: str = Field(min_length=1, max_length=120)
    city: str = Field(min_length=1, max_length=60)
    starts_at: AwareDatetime
    seats: int = Field(ge=1, le=100_000)


class Change(BaseModel):
    """What an organiser may change of an event."""

    title: str | None = Field(default=None, min_length=1, max_length=120)
    seats: int | None = Field(default=None, ge=1, le=100_000)


app = FastAPI(title="Eventide", summary="Events, and seats to book at them.")
app.include_router(accounts)


@app.get("/events")
def events(
    connection: Connection,
    city: Annotated[str, Query(max_length=60)] = "",
    after: Annotated[int, Query(ge=0, le=LARGEST_ID, description="the last page's `next`")] = 0,
    limit: Annotated[int, Query(ge=1, le=ROWS_AT_ONCE)] = 20,
) -> dict[str, Any]:
    """Return a page of events."""
    where = "id > ? AND (? = '' OR city = ?)"
    page = cache.get_or_make(
        f"events {after} {limit} {city}",
        lambda: rows(
            connection,
            f"SELECT {EVENT} FROM events WHERE {where} ORDER BY id LIMIT ?",
            *(after, city, city, limit),
        ),
        tags=["events"],
    )
    return {"events": page, "next": page[-1]["id"] if len(page) == limit else None}


@app.get("/events/{event_id}")
def event(connection: Connection, event_id: EventId) -> Row:
    """Return one event, with the seats that are left."""
    found = cache.get_or_make(
        f"event {event_id}",
        lambda: rows(connection, f"SELECT {EVENT} FROM events WHERE id = ?", event_id),
        tags=["events", f"event:{event_id}"],
    )
    if not found:
        raise HTTPException(404, f"there is no event {event_id}")
    return found[0]


@app.post("/events", status_code=201)
def create(connection: Connection, user: User, new: NewEvent, response: Response) -> Row:
    """Create an event, of which the sender is the organiser."""
    with connection:
        made = connection.execute(
            "INSERT INTO events (title, city, starts_at, seats, organiser_id)"
            " VALUES (?, ?, ?, ?, ?)",
            (new.title, new.city, utc(new.starts_at), new.seats, user),
        )
    cache.invalidate("events")
    response.headers["Location"] = f"/events/{made.lastrowid}"
    return one(connection, f"SELECT {EVENT} FROM events WHERE id = ?", made.lastrowid)


@app.patch("/events/{event_id}")
def change(connection: Connection, user: User, event_id: EventId, changed: Change) -> Row:
    """Change an event of one's own."""
    try:
        with connection:
            done = connection.execute(
                "UPDATE events SET title = coalesce(?, title), seats = coalesce(?, seats)"
                " WHERE id = ? AND organiser_id = ?",
                (changed.title, changed.seats, event_id, user),
            )
    except sqlite3.IntegrityError:
        raise HTTPException(409, "more seats than that are taken already") from None
    if not done.rowcount:
        raise HTTPException(404, f"there is no event {event_id} of yours")
    cache.invalidate("events")
    return one(connection, f"SELECT {EVENT} FROM events WHERE id = ?", event_id)


@app.post("/events/{event_id}/bookings", status_code=201)
def book(connection: Connection, user: User, event_id: EventId) -> dict[str, Any]:
    """Book a seat; nobody gets one that is not there, and nobody gets two."""
    try:
        # The database counts: both changes are made, or none.
        with connection:
            taken = connection.execute(
                "UPDATE events SET seats_taken = seats_taken + 1"
                " WHERE id = ? AND seats_taken < seats",
                (event_id,),
            )
            if not taken.rowcount:
                raise HTTPException(409, "there is no such event, or no seat left at it")
            made = connection.execute(
                "INSERT INTO bookings (event_id, user_id, booked_at) VALUES (?, ?, ?)",
                (event_id, user, utc()),
            )
    except sqlite3.IntegrityError:
        raise HTTPException(409, "you have a seat at it already") from None
    # The lists say how many seats are left, too; they may be late by a lifetime.
    cache.invalidate(f"event:{event_id}")
    return {"booking": made.lastrowid, "event": event_id}


@app.get("/bookings")
def bookings(
    connection: Connection, user: User, after: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0
) -> list[Row]:
    """Return the sender's bookings, 100 at a time."""
    return rows(
        connection,
        "SELECT bookings.id AS booking, event_id, title, starts_at FROM bookings"
        " JOIN events ON events.id = event_id"
        " WHERE user_id = ? AND bookings.id > ? ORDER BY bookings.id LIMIT ?",
        *(user, after, ROWS_AT_ONCE),
    )
