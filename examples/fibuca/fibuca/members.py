"""Members, in the database: who somebody is, and what is known of him or her.

A connection is held for as long as a statement takes, not for as long as a request does: so five
are enough for 16 threads. It is the database that ``DATABASE_URL`` names, PostgreSQL or SQLite.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from fibuca.refusals import refusal
from fibuca.tables import Application, Member, Photo
from tonnage import db

MOST_APPLICATIONS = 20

# It connects when it is used, in each worker.
engine = db.engine()
if engine.dialect.name == "sqlite":
    # Nothing to set up for a first look; elsewhere `tonnage db migrate` is a step of the deploy.
    db.migrate(Path(__file__).with_name("migrations"))


@dataclass(frozen=True, slots=True)
class Known:
    """A member, as each request of his or hers asks for it."""

    number: int
    name: str
    joined_at: datetime
    photo_type: str | None


def join(name: str) -> tuple[int, str]:
    """Make a member; return the number, and the key, of which only a hash is kept."""
    key = secrets.token_urlsafe(24)
    with engine.begin() as connection:
        made = connection.execute(
            insert(Member).values(name=name, key_hash=hash_of(key)).returning(Member.number)
        )
        return made.scalar_one(), key


def who_has(key: str) -> Known:
    """Return the member whose key it is.

    Raises:
        RequestRefusedError: it is nobody's.
    """
    query = (
        select(Member.number, Member.name, Member.joined_at, Photo.type)
        .outerjoin(Photo, Photo.number == Member.number)
        .where(Member.key_hash == hash_of(key))
    )
    with engine.connect() as connection:
        found = connection.execute(query).one_or_none()
    if found is None:
        raise refusal(401, "unknown_member", "send the key that you got from POST /members")
    return Known(*found)


def leave(number: int) -> None:
    """Forget a member, and all that belongs to him or her."""
    with engine.begin() as connection:
        connection.execute(delete(Member).where(Member.number == number))


def note_photo(number: int, type: str, size_bytes: int) -> bool:
    """Keep what is known of a photo, in place of the last one; two at once are no mistake.

    Return whether there still is such a member.
    """
    values: dict[str, Any] = {"type": type, "size_bytes": size_bytes}
    insert_here = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    statement: Any = insert_here(Photo).values(number=number, **values)
    try:
        with engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["number"], set_=values)
            )
    except IntegrityError:
        return False
    return True


def apply(number: int, kind: str, statement: str) -> int:
    """Keep an application, and return its number."""
    values = {"number": number, "kind": kind, "statement": statement}
    with engine.begin() as connection:
        made = connection.execute(insert(Application).values(values).returning(Application.id))
        return made.scalar_one()


def applications(number: int, after: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of a member's applications, newest first, and where the next begins.

    Raises:
        PageCursorError: *after* is not what a page said.
    """
    query = (
        db.only(Application, "id", "kind", "sent_at")
        .where(Application.number == number)
        .order_by(Application.id.desc())
    )
    with engine.connect() as connection:
        page = db.page(connection, query, size=MOST_APPLICATIONS, after=after)
    return [dict(row._mapping) for row in page.rows], page.next


def hash_of(key: str) -> bytes:
    """Return what is kept of a key: with so many random bytes, a plain hash is enough."""
    return hashlib.sha256(key.encode()).digest()
