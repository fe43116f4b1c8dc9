"""What the reference backends have stored in the end, each record by what tells it from others.

    keys("purchases", database_url, data)      # [("shop-47-3",), ...]

For what holds against it what was acknowledged: the before-and-after load and the soak. Data that
was made before a load is among it: which keys are its own a load knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine
from tests.support.mongo import direct

_STATEMENTS: Final = {
    "applications": "SELECT statement FROM applications",
    # A load gives each event an id; made ones have none.
    "events": "SELECT properties->>'id' FROM events WHERE properties->>'id' IS NOT NULL",
    "members": "SELECT name FROM members",
    "purchases": "SELECT purchase FROM revenue",
    "registrations": "SELECT event_id, email FROM registrations",
    "sessions": "SELECT id FROM sessions",
}
_PHOTOS: Final = "SELECT number, name, size_bytes FROM photos JOIN members USING (number)"

KINDS: Final = frozenset({*_STATEMENTS, "bookings", "portraits"})
"""What is looked for; bookings are in MongoDB, all others in a database with tables."""


def keys(kind: str, url: str, data: Path) -> list[tuple[Any, ...]]:
    """Return the keys of all records of *kind* in the database at *url*.

    Whose key has two names has both: a booking event, number and address of the user, a portrait
    number and name of the member. It is there if its file, below *data*, is whole.
    """
    if kind == "bookings":
        return _bookings(url)
    if kind == "portraits":
        return [
            (number, name)
            for number, name, size_bytes in rows(url, _PHOTOS)
            if _size_bytes(data / "photos" / f"{number}.jpg") == size_bytes
        ]
    return rows(url, _STATEMENTS[kind])


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Return what a database with tables answers to *statement*."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]
    finally:
        engine.dispose()


def _bookings(url: str) -> list[tuple[Any, ...]]:
    """Return event, user and address of each; none of somebody who is not there."""
    with direct(url) as client:
        database: Any = client.get_default_database()
        emails = {each["_id"]: each["email"] for each in database["users"].find()}
        return [
            (each["event_id"], each["user_id"], emails[each["user_id"]])
            for each in database["bookings"].find()
            if each["user_id"] in emails
        ]


def _size_bytes(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None
