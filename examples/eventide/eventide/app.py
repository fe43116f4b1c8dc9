"""Eventide: events, and seats to book at them. FastAPI, with log-in.

What each request meets is in ``pyproject.toml`` beside it. Here is what only the application can
say: who may log in and what is done about those who guess (``accounts.py``), and what of the
answers is kept for how long, and forgotten when. Any number of workers, and of instances where
``REDIS_URL`` names a Redis, see each other's changes. Events are in MongoDB: connections to it are
in ``database.py``, what is in it in ``schema.py``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from bson import ObjectId
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, Field
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from eventide.accounts import User, accounts
from eventide.database import DATA, bookings, events, mongo, next_id, ready, settle
from eventide.schema import LARGEST_ID, LISTED, Row, shown, utc
from tonnage import Cache, setup_logging
from tonnage.errors import DatabaseAwayError

ROWS_AT_ONCE = 100
# How long a worker waits for MongoDB before it takes requests.
START_SECONDS = 3.0

logger = logging.getLogger("eventide")

# JSON on stdout in production; text, and files beside the database, in development.
setup_logging(directory=DATA / "logs")
if "EVENTIDE_SECRET" not in os.environ:
    logger.warning(
        "EVENTIDE_SECRET is not set: log-ins end with this server, which alone knows them"
    )

EventId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Start = Annotated[
    AwareDatetime, Field(ge=datetime(2020, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))
]

# Of each worker; what one of them takes out, the others take out too. How long it is good for
# depends on where it runs: 5 minutes in production, 1 in development, or CACHE_TTL.
cache: Cache[Row] = Cache("eventide", max_entries=100, max_bytes="4M")


class NewEvent(BaseModel):
    """An event as its organiser sends it."""

    title: str = Field(min_length=1, max_length=120)
    city: str = Field(min_length=1, max_length=60)
    starts_at: Start
    seats: int = Field(ge=1, le=100_000)
    description: str = Field(default="", max_length=2000)


class Change(BaseModel):
    """What an organiser may change of an event."""

    title: str | None = Field(default=None, min_length=1, max_length=120)
    seats: int | None = Field(default=None, ge=1, le=100_000)
    description: str | None = Field(default=None, max_length=2000)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Have the database prepared before the first request, if it is there."""
    try:
        async with asyncio.timeout(START_SECONDS):
            await ready()
    except (DatabaseAwayError, TimeoutError):
        logger.warning(
            "MongoDB is not at %s: requests are answered with 503 until it is; MONGO_URL says"
            " where, and the README how to do without",
            mongo.shown,
        )
    yield


app = FastAPI(
    title="Eventide",
    summary="Events, and seats to book at them.",
    lifespan=lifespan,
    dependencies=[Depends(ready)],
)
app.include_router(accounts)


@app.exception_handler(RequestValidationError)
async def refuse(_: Request, error: RequestValidationError) -> Response:
    """Say what is wrong without repeating it: that may be a password, or what JSON cannot hold."""
    told = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    return JSONResponse({"detail": told}, 422)


@app.get("/events")
async def listed(
    city: Annotated[str, Query(max_length=60)] = "",
    after: Annotated[
        str | None, Query(max_length=300, description="the last page's `next`")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=ROWS_AT_ONCE)] = 20,
) -> dict[str, Any]:
    """Return a page of events, those that start first before the others; no descriptions."""

    async def make() -> Row:
        wanted = {"city": city} if city else {}
        page = await events.page(
            wanted, sort="starts_at", projection=LISTED, size=limit, after=after
        )
        return {"events": [shown(each) for each in page.rows], "next": page.next}

    return await cache.get_or_await(("events", after, limit, city), make, tags=["events"])


@app.get("/events/{event_id}")
async def event(event_id: EventId) -> Row:
    """Return one event, with the seats that are left."""

    async def make() -> Row:
        await settle(event_id)
        found = await events.find_one({"_id": event_id})
        return {} if found is None else shown(found)

    tags = ["events", f"event:{event_id}"]
    found = await cache.get_or_await(f"event {event_id}", make, tags=tags)
    if not found:
        raise HTTPException(404, f"there is no event {event_id}")
    return found


@app.post("/events", status_code=201)
async def create(user: User, new: NewEvent, response: Response) -> Row:
    """Create an event, of which the sender is the organiser."""
    made = {
        "_id": await next_id("events"),
        "title": new.title,
        "city": new.city,
        "starts_at": utc(new.starts_at),
        "seats": new.seats,
        "seats_left": new.seats,
        "description": new.description,
        "organiser_id": user,
    }
    await events.insert_one(made)
    cache.invalidate("events")
    response.headers["Location"] = f"/events/{made['_id']}"
    return shown(made)


@app.patch("/events/{event_id}")
async def change(user: User, event_id: EventId, changed: Change) -> Row:
    """Change an event of one's own."""
    mine: Row = {"_id": event_id, "organiser_id": user}
    found = await events.find_one(mine)
    if found is None:
        raise HTTPException(404, f"there is no event {event_id} of yours")
    new = changed.model_dump(exclude_none=True)
    if not new:
        return shown(found)
    # What was not sent is not written: somebody else may have changed it meanwhile.
    update: Row = {"$set": new}
    if changed.seats is not None:
        # Only if nobody has changed the number of seats meanwhile, and none is taken away from
        # somebody: then all of it is done, or nothing.
        more = changed.seats - found["seats"]
        mine |= {"seats": found["seats"], "seats_left": {"$gte": -more}}
        update["$inc"] = {"seats_left": more}
    done = await events.find_one_and_update(mine, update, return_document=ReturnDocument.AFTER)
    if done is None:
        raise HTTPException(
            409, "more seats than that are taken, or it was changed meanwhile: look, and try again"
        )
    cache.invalidate("events")
    return shown(done)


@app.post("/events/{event_id}/bookings", status_code=201)
async def book(user: User, event_id: EventId) -> dict[str, Any]:
    """Book a seat; nobody gets one that is not there, and nobody gets two."""
    await settle(event_id)
    # The database counts, in one statement: two cannot both have the last seat. When that was is
    # noted, so that a seat can be given back whose booking was cut off by a kill or a timeout.
    taken = await events.update_one(
        {"_id": event_id, "seats_left": {"$gt": 0}},
        {"$inc": {"seats_left": -1}, "$set": {"taken_at": utc()}},
    )
    if not taken.modified_count:
        if await events.find_one({"_id": event_id}, ["_id"]) is None:
            raise HTTPException(404, f"there is no event {event_id}")
        raise HTTPException(409, "no seat is left at it: choose another event")
    booking = {"event_id": event_id, "user_id": user, "booked_at": utc()}
    try:
        # Unique for a person and an event: whoever tries twice at once gets one.
        made = await bookings.insert_one(booking)
    except DuplicateKeyError:
        await events.update_one({"_id": event_id}, {"$inc": {"seats_left": 1}})
        raise HTTPException(409, "you have a seat at it already: see /bookings") from None
    # The lists say how many seats are left, too; they may be late by a lifetime.
    cache.invalidate(f"event:{event_id}")
    return {"booking": str(made.inserted_id), "event": event_id}


@app.get("/bookings")
async def booked(
    user: User,
    after: Annotated[
        str | None, Query(pattern="^[0-9a-f]{24}$", description="the last one's `booking`")
    ] = None,
) -> list[Row]:
    """Return the sender's bookings, 100 at a time."""
    wanted: Row = {"user_id": user}
    if after is not None:
        wanted["_id"] = {"$gt": ObjectId(after)}
    mine = await bookings.find(wanted).sort("_id").limit(ROWS_AT_ONCE).to_list()
    numbers = [each["event_id"] for each in mine]
    asked = events.find({"_id": {"$in": numbers}}, ["title", "starts_at"])
    there = {each["_id"]: each async for each in asked}
    return [
        {
            "booking": str(each["_id"]),
            "event_id": each["event_id"],
            "title": there[each["event_id"]]["title"],
            "starts_at": there[each["event_id"]]["starts_at"],
        }
        for each in mine
        if each["event_id"] in there
    ]
