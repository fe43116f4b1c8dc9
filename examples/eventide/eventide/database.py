"""Eventide's database: MongoDB, with the connections that MONGO_POOL_SIZE allows each worker.

``MONGO_URL`` says where it is. Collections, with their validators and indexes, and 2,000 made
events are there once :func:`prepare` has been waited for: each worker does so when it starts, and
any number of them may do so at once. Where MongoDB is not there yet, the first request that finds
it does so.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import BulkWriteError, CollectionInvalid

from tonnage import db

DATA = Path(os.environ.get("EVENTIDE_DATA", Path(__file__).parent.parent / "data"))
DUPLICATE_KEY = 11000  # MongoDB's number for it
# Longer than any request lasts (timeout in pyproject.toml): what it began is done, or was cut off.
CUT_OFF = timedelta(minutes=1)
LARGEST_ID = 2**53  # what JSON's readers can count to

Row = dict[str, Any]

# Nothing is connected before the first request that needs it.
mongo = db.mongo(os.environ.get("MONGO_URL", "mongodb://localhost:27017/eventide"))
database = mongo.database
users, events, bookings = database["users"], database["events"], database["bookings"]
counters = database["counters"]

_TEXT = {"bsonType": "string", "minLength": 1}
_NUMBER = {"bsonType": ["int", "long"], "minimum": 0}
_MOMENT = {"bsonType": "string", "minLength": 20, "maxLength": 20}
SCHEMAS: dict[str, dict[str, Any]] = {
    "users": {
        "email": _TEXT | {"maxLength": 254},
        "password_hash": _TEXT | {"maxLength": 200},
    },
    "events": {
        "title": _TEXT | {"maxLength": 120},
        "city": _TEXT | {"maxLength": 60},
        "starts_at": _MOMENT,
        "seats": _NUMBER | {"minimum": 1, "maximum": 100_000},
        "seats_left": _NUMBER | {"maximum": 100_000},
    },
    "bookings": {"event_id": _NUMBER, "user_id": _NUMBER, "booked_at": _MOMENT},
}


async def prepare() -> None:
    """Make what is missing. Whoever comes second finds it there."""
    for name, properties in SCHEMAS.items():
        schema = {"bsonType": "object", "required": [*properties], "properties": properties}
        with suppress(CollectionInvalid):  # it is there
            await database.create_collection(name, validator={"$jsonSchema": schema})
    await users.create_index("email", unique=True)
    await events.create_index([("city", 1), ("starts_at", 1)])
    await events.create_index("starts_at")
    await bookings.create_index([("user_id", 1), ("event_id", 1)], unique=True)
    await bookings.create_index("event_id")
    if await events.find_one({"_id": 2000}) is None:
        try:
            await events.insert_many([_made(number) for number in range(2000)], ordered=False)
        except BulkWriteError as error:
            # Another worker has made some of them; all else is an error.
            if any(each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]):
                raise
        await counters.update_one({"_id": "events"}, {"$max": {"last": 2000}}, upsert=True)


_preparing = asyncio.Lock()
_is_prepared = False


async def ready() -> None:
    """Prepare the database, unless this worker has done so.

    Raises:
        MongoAwayError: it is not there; a request is answered with 503.
    """
    global _is_prepared  # one for a worker
    if not _is_prepared:
        async with _preparing:
            if not _is_prepared:
                await prepare()
                _is_prepared = True


async def settle(event_id: int) -> None:
    """Give back seats of an event whose bookings were cut off between the seat and the booking.

    Not before the last seat was taken a while ago: then no booking is under way, and the bookings
    that there are are those that were made.
    """
    quiet = {"$lt": utc(datetime.now(UTC) - CUT_OFF)}
    found = await events.find_one({"_id": event_id, "taken_at": quiet})
    if found is None:
        return
    taken = await bookings.count_documents({"event_id": event_id})
    # Only if nothing has changed since; who comes later has a booking under way.
    same = {name: found[name] for name in ("_id", "taken_at", "seats", "seats_left")}
    await events.update_one(
        same,
        {"$set": {"seats_left": max(0, found["seats"] - taken)}, "$unset": {"taken_at": ""}},
    )


async def next_id(name: str) -> int:
    """Return a number that nothing in the collection *name* has."""
    found = await counters.find_one_and_update(
        {"_id": name}, {"$inc": {"last": 1}}, upsert=True, return_document=ReturnDocument.AFTER
    )
    assert found is not None  # as it is made where it is missing
    number: int = found["last"]
    return number


def shown(event: Row) -> Row:
    """Return *event* as clients see it."""
    names = ("title", "city", "starts_at", "seats", "seats_left")
    return {"id": event["_id"]} | {name: event[name] for name in names}


def utc(moment: datetime | None = None) -> str:
    """Return *moment*, or now, as the database has it: as text that sorts."""
    return f"{(moment or datetime.now(UTC)).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _made(number: int) -> Row:
    """Return one of the made events, the same each time."""
    kind = ("Concert", "Reading", "Market", "Workshop", "Regatta")[number % 5]
    seats = 20 + number * 7 % 200
    return {
        "_id": number + 1,
        "title": f"{kind} no. {number // 5 + 1}",
        "city": ("Lisbon", "Tallinn", "Porto")[number % 3],
        "starts_at": utc(datetime(2027, 1, 1, tzinfo=UTC) + timedelta(hours=4 * number)),
        "seats": seats,
        "seats_left": seats,
    }
