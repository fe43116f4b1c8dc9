"""Eventide's database: MongoDB, with the connections that MONGO_POOL_SIZE allows each worker.

``MONGO_URL`` says where it is; what is in it, ``schema.py``. Each worker prepares it when it
starts; where MongoDB is not there yet, the first request that finds it does so.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pymongo import ReturnDocument

from eventide.schema import prepare, utc
from tonnage import db

DATA = Path(os.environ.get("EVENTIDE_DATA", Path(__file__).parent.parent / "data"))
# Longer than any request lasts (timeout in pyproject.toml): what it began is done, or was cut off.
CUT_OFF = timedelta(minutes=1)

# Nothing is connected before the first request that needs it.
mongo = db.mongo(os.environ.get("MONGO_URL", "mongodb://localhost:27017/eventide"))
database = mongo.database
users, events, bookings = database["users"], database["events"], database["bookings"]
counters = database["counters"]

_preparing = asyncio.Lock()
_is_prepared = False


async def ready() -> None:
    """Prepare the database, unless this worker has done so.

    Raises:
        DatabaseAwayError: it is not there; a request is answered with 503.
    """
    global _is_prepared  # one for a worker
    if not _is_prepared:
        async with _preparing:
            if not _is_prepared:
                await prepare(database)
                _is_prepared = True


async def settle(event_id: int) -> None:
    """Give back seats of an event whose bookings were cut off between the seat and the booking.

    Not before the last seat was taken a while ago: then no booking is under way, and the bookings
    that there are are those that were made.
    """
    quiet = {"$lt": utc(datetime.now(UTC) - CUT_OFF)}
    counted = ("taken_at", "seats", "seats_left")
    found = await events.find_one({"_id": event_id, "taken_at": quiet}, counted)
    if found is None:
        return
    taken = await bookings.count_documents({"event_id": event_id})
    # Only if nothing has changed since; who comes later has a booking under way.
    await events.update_one(
        found,
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
