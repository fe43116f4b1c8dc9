"""Members: who somebody is, by his or her key, and what is known of the photo."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from fibuca.database import engine
from fibuca.refusals import key_refusal
from fibuca.tables import Member, Photo, now


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
        detail = "send the key that you got from POST /members"
        raise key_refusal("X-Member-Key", "unknown_member", detail)
    return Known(*found)


def leave(number: int) -> None:
    """Forget a member, and all that belongs to him or her."""
    with engine.begin() as connection:
        connection.execute(delete(Member).where(Member.number == number))


def note_photo(number: int, type: str, size_bytes: int) -> bool:
    """Keep what is known of a photo, in place of the last one; two at once are no mistake.

    Return whether there still is such a member.
    """
    values: dict[str, Any] = {"type": type, "size_bytes": size_bytes, "sent_at": now()}
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


def hash_of(key: str) -> bytes:
    """Return what is kept of a key: with so many random bytes, a plain hash is enough."""
    return hashlib.sha256(key.encode()).digest()
