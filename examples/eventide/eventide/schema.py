"""What Eventide keeps in MongoDB: collections, what their documents hold, and 2,000 made events.

:func:`prepare` makes what is missing, and changes nothing that is there. Knows nothing of Tonnage,
so that ``naive.py`` begins with the same database; connections are in ``database.py``.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, CollectionInvalid

Row = dict[str, Any]

MADE = 2000
LARGEST_ID = 2**53  # what JSON's readers can count to
DUPLICATE_KEY = 11000  # MongoDB's number for it

# What a list shows of an event. The description is long, and comes with a single event only.
LISTED = ("title", "city", "starts_at", "seats", "seats_left")

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
        "description": {"bsonType": "string", "maxLength": 2000},
    },
    "bookings": {"event_id": _NUMBER, "user_id": _NUMBER, "booked_at": _MOMENT},
}


async def prepare(database: AsyncDatabase[Row]) -> None:
    """Make what is missing. Several may do so at once: whoever comes second finds it there."""
    for name, properties in SCHEMAS.items():
        schema = {"bsonType": "object", "required": [*properties], "properties": properties}
        with suppress(CollectionInvalid):  # it is there
            await database.create_collection(name, validator={"$jsonSchema": schema})
    events, bookings = database["events"], database["bookings"]
    await database["users"].create_index("email", unique=True)
    await events.create_index([("city", 1), ("starts_at", 1)])
    await events.create_index("starts_at")
    await bookings.create_index([("user_id", 1), ("event_id", 1)], unique=True)
    await bookings.create_index("event_id")
    if await events.find_one({"_id": MADE}, ["_id"]) is None:
        try:
            await events.insert_many([_made(number) for number in range(MADE)], ordered=False)
        except BulkWriteError as error:
            # Another worker has made some of them; all else is an error.
            if any(each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]):
                raise
        counters = database["counters"]
        await counters.update_one({"_id": "events"}, {"$max": {"last": MADE}}, upsert=True)


def shown(event: Row) -> Row:
    """Return *event* as clients see it: as much of it as was read."""
    names = (*LISTED, "description")
    return {"id": event["_id"]} | {name: event[name] for name in names if name in event}


def utc(moment: datetime | None = None) -> str:
    """Return *moment*, or now, as the database has it: as text that sorts."""
    return f"{(moment or datetime.now(UTC)).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


_ABOUT = (
    "Doors open an hour before it begins, and the bar stays open for an hour after it has ended.",
    "Bring a friend: who comes in twos finds it easier to talk to the others in the break.",
    "There is room for bicycles in the yard, and the last tram leaves ten minutes past midnight.",
    "Children under twelve come in free, as long as somebody who is older has a seat beside them.",
    "The hall is on the ground floor; for wheelchairs there is a ramp at the door to the garden.",
    "What is left of the takings goes to the library, which is to have a new roof before winter.",
    "If it rains we meet in the old fish market instead, two streets up from the ferry's landing.",
    "Whoever cannot come gives the seat back, please: there are always some who wait for one.",
)


def _made(number: int) -> Row:
    """Return one of the made events, the same each time; about 1.5 KB."""
    kind = ("Concert", "Reading", "Market", "Workshop", "Regatta")[number % 5]
    seats = 20 + number * 7 % 200
    return {
        "_id": number + 1,
        "title": f"{kind} no. {number // 5 + 1}",
        "city": ("Lisbon", "Tallinn", "Porto")[number % 3],
        "starts_at": utc(datetime(2027, 1, 1, tzinfo=UTC) + timedelta(hours=4 * number)),
        "seats": seats,
        "seats_left": seats,
        "description": " ".join(_ABOUT[(number * 3 + each) % 8] for each in range(14)),
    }
