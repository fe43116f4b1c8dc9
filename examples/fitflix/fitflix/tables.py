"""FitFlix's tables.

``migrations/`` makes them, and a test compares the two. What a text may have is checked by the
database too: SQLite would take any length. What belongs to a row goes with it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Utc(TypeDecorator[datetime]):
    """A time with its zone; kept in UTC, since SQLite keeps no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what is stored."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what was stored."""
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


class Base(DeclarativeBase):
    """What all tables are made of."""

    type_annotation_map = {datetime: Utc}  # noqa: RUF012  # SQLAlchemy reads it from the class


class Plan(Base):
    """What a membership can be."""

    __tablename__ = "plans"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    cents_a_month: Mapped[int]
    visits_a_week: Mapped[int | None]  # none: any number

    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 60"),
        CheckConstraint("cents_a_month >= 0"),
    )


class Activity(Base):
    """Something to do."""

    __tablename__ = "activities"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    minutes: Mapped[int]

    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 60"),
        CheckConstraint("minutes BETWEEN 1 AND 600"),
    )


class Event(Base):
    """An activity at a time, with so many seats."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    activity_id: Mapped[int] = mapped_column(ForeignKey("activities.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(120))
    starts_at: Mapped[datetime]
    seats: Mapped[int]
    # Counted here, so that one statement can both look whether there is a seat and take it.
    taken: Mapped[int] = mapped_column(default=0, server_default="0")
    # By far the largest: whoever wants it says so.
    description: Mapped[str] = mapped_column(String(5000), deferred=True, deferred_raiseload=True)

    __table_args__ = (
        CheckConstraint("length(title) BETWEEN 1 AND 120"),
        CheckConstraint("length(description) <= 5000"),
        CheckConstraint("seats BETWEEN 1 AND 1000"),
        CheckConstraint("taken BETWEEN 0 AND seats"),
        Index("events_by_start", "starts_at", "id"),
        Index("events_of_an_activity", "activity_id", "starts_at", "id"),
        # No id is used again: whoever listens knows by them what is new.
        {"sqlite_autoincrement": True},
    )


class Registration(Base):
    """A seat that somebody has at an event: one for each address."""

    __tablename__ = "registrations"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(60))
    email: Mapped[str] = mapped_column(String(254))

    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 60"),
        CheckConstraint("length(email) BETWEEN 3 AND 254"),
        # Also the index by which an event's registrations are found.
        UniqueConstraint("event_id", "email"),
    )
