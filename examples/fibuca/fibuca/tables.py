"""Fibuca's tables.

``migrations/`` makes them, and a test compares the two. What a text may have is checked by the
database too: SQLite would take any length. What belongs to a member goes with him or her.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def now() -> datetime:
    """Return this moment, in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """What all tables are made of."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  # SQLAlchemy reads it


class Member(Base):
    """Somebody who has joined."""

    __tablename__ = "members"

    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    joined_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 100"),
        # No number is used again: it stands on a card.
        {"sqlite_autoincrement": True},
    )


class Photo(Base):
    """What is known of a member's photo, which itself is a file."""

    __tablename__ = "photos"

    number: Mapped[int] = mapped_column(
        ForeignKey("members.number", ondelete="CASCADE"), primary_key=True
    )
    type: Mapped[str] = mapped_column(String(20))
    size_bytes: Mapped[int]
    sent_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)

    __table_args__ = (
        CheckConstraint("length(type) BETWEEN 1 AND 20"),
        CheckConstraint("size_bytes > 0"),
    )


class Application(Base):
    """A form that asks for a membership of some kind."""

    __tablename__ = "applications"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(ForeignKey("members.number", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(20))
    sent_at: Mapped[datetime] = mapped_column(default=now)
    # By far the largest: whoever wants it says so.
    statement: Mapped[str] = mapped_column(String(4000), deferred=True, deferred_raiseload=True)

    __table_args__ = (
        CheckConstraint("kind IN ('single', 'family', 'youth')"),
        CheckConstraint("length(statement) BETWEEN 1 AND 4000"),
        Index("applications_of_a_member", "number", "id"),
    )
