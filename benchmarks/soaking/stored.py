"""What the databases and the disk have in the end, to be compared with what was acknowledged.

Beside what people have made there is made data, which is left out: all that is theirs says so
(:mod:`benchmarks.soaking.people`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from tests.support.mongo import direct

from benchmarks.soaking.ledger import Ledger

_PURCHASES = "SELECT purchase FROM revenue WHERE purchase LIKE 'soak-%'"
_REGISTRATIONS = "SELECT event_id, email FROM registrations WHERE email LIKE '%@soak.example'"
_MEMBERS = "SELECT name FROM members WHERE name LIKE 'Soak %'"
_PHOTOS = (
    "SELECT number, size_bytes FROM photos JOIN members USING (number) WHERE name LIKE 'Soak %'"
)
_THEIRS = {"$regex": "@soak[.]example$"}
_OVERSOLD = """
    SELECT count(*) FROM events e
    LEFT JOIN (SELECT event_id, count(*) AS sold FROM registrations GROUP BY event_id) r
    ON r.event_id = e.id
    WHERE coalesce(sold, 0) <> taken OR taken > seats
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is wrong with each kind of records, and how many events have sold too many seats."""

    faults: dict[str, list[str]]
    oversold: int


@dataclass(frozen=True, slots=True)
class Databases:
    """Where the four backends keep what they have taken; *portraits* is a directory."""

    fitflix: str
    lvlup: str
    fibuca: str
    eventide: str
    portraits: Path


async def compare(databases: Databases, ledger: Ledger) -> Stored:
    """Return what is wrong with what is stored."""
    purchases = await _rows(databases.lvlup, _PURCHASES)
    registrations = await _rows(databases.fitflix, _REGISTRATIONS)
    oversold = (await _rows(databases.fitflix, _OVERSOLD))[0][0]
    members = await _rows(databases.fibuca, _MEMBERS)
    photos = await _rows(databases.fibuca, _PHOTOS)
    booked, overbooked = _bookings(databases.eventide)
    portraits = (
        number
        for number, size_bytes in photos
        if _size_bytes(databases.portraits / f"{number}.jpg") == size_bytes
    )
    return Stored(
        {
            "purchases": ledger.purchases.faults(purchase for (purchase,) in purchases),
            "registrations": ledger.registrations.faults(map(tuple, registrations)),
            "bookings": ledger.bookings.faults(booked),
            "members": ledger.members.faults(name for (name,) in members),
            "portraits": ledger.portraits.faults(portraits),
        },
        oversold + overbooked,
    )


def _bookings(url: str) -> tuple[list[tuple[int, int]], int]:
    """Return the bookings of people, and how many events have more bookings than seats."""
    with direct(url) as client:
        database: Any = client.get_default_database()
        theirs = {each["_id"] for each in database["users"].find({"email": _THEIRS})}
        bookings = [(each["event_id"], each["user_id"]) for each in database["bookings"].find()]
        seats = {each["_id"]: each["seats"] for each in database["events"].find()}
    sold = Counter(event for event, _ in bookings)
    overbooked = sum(count > seats[event] for event, count in sold.items())
    return [booking for booking in bookings if booking[1] in theirs], overbooked


async def purchases_stored(url: str) -> int:
    """Return how many purchases of theirs LvlUp's database at *url* has."""
    return len(await _rows(url, _PURCHASES))


async def _rows(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        rows: list[Any] = await connection.fetch(statement)
    finally:
        await connection.close()
    return rows


def _size_bytes(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None
