"""What the databases and the disk have in the end, to be compared with what was acknowledged.

Beside what people have made there is made data, which is left out: all that is theirs says so
(:mod:`benchmarks.soaking.people`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.mongo import direct

from benchmarks.soaking.ledger import Ledger
from benchmarks.stored import keys, rows

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
    return await asyncio.to_thread(_compare, databases, ledger)


async def purchases_stored(url: str) -> int:
    """Return how many purchases of theirs LvlUp's database at *url* has."""
    return len(await asyncio.to_thread(_purchases, url))


def _compare(databases: Databases, ledger: Ledger) -> Stored:
    data = databases.portraits.parent
    registrations = keys("registrations", databases.fitflix, data)
    members = keys("members", databases.fibuca, data)
    applications = keys("applications", databases.fibuca, data)
    portraits = keys("portraits", databases.fibuca, data)
    bookings = keys("bookings", databases.eventide, data)
    oversold: int = rows(databases.fitflix, _OVERSOLD)[0][0]
    return Stored(
        {
            "purchases": ledger.purchases.faults(_purchases(databases.lvlup)),
            "registrations": ledger.registrations.faults(
                (event, email) for event, email in registrations if _is_theirs(email)
            ),
            "bookings": ledger.bookings.faults(
                (event, user) for event, user, email in bookings if _is_theirs(email)
            ),
            "members": ledger.members.faults(name for (name,) in members if _is_member(name)),
            "applications": ledger.applications.faults(
                stated for (stated,) in applications if stated.startswith("soak-")
            ),
            "photos": ledger.photos.faults(
                number for number, name in portraits if _is_member(name)
            ),
        },
        oversold + _overbooked(databases.eventide, (event for event, _, _ in bookings)),
    )


def _purchases(url: str) -> list[str]:
    return [each for (each,) in keys("purchases", url, Path()) if each.startswith("soak-")]


def _is_theirs(email: str) -> bool:
    return email.endswith("@soak.example")


def _is_member(name: str) -> bool:
    return name.startswith("Soak ")


def _overbooked(url: str, booked: Iterable[int]) -> int:
    """Return how many of Eventide's events have more bookings than seats."""
    with direct(url) as client:
        database: Any = client.get_default_database()
        seats = {each["_id"]: each["seats"] for each in database["events"].find()}
    return sum(count > seats[event] for event, count in Counter(booked).items())
