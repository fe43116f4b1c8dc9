"""LvlUp's tables.

``migrations/`` makes them, and a test compares the two. What is written comes from the writers of
``ingest.py``; figures are asked for by game and day, for which each table has its index.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, DateTime, Index, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tonnage import Heartbeats

GAME = String(60)
PLAYER = String(60)


class Base(DeclarativeBase):
    """What all tables are made of."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  # SQLAlchemy reads it


class Event(Base):
    """Something that a player has done."""

    __tablename__ = "events"

    # Of these there are many; SQLite counts as far by itself.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    game: Mapped[str] = mapped_column(GAME)
    player: Mapped[str] = mapped_column(PLAYER)
    name: Mapped[str] = mapped_column(String(60))
    properties: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 60"),
        Index("events_of_a_day", "game", "at"),
    )


class Purchase(Base):
    """Something that a player has paid for."""

    __tablename__ = "revenue"

    # Of the shop: so a purchase that is told of twice counts once.
    purchase: Mapped[str] = mapped_column(String(80), primary_key=True)
    game: Mapped[str] = mapped_column(GAME)
    player: Mapped[str] = mapped_column(PLAYER)
    product: Mapped[str] = mapped_column(String(60))
    cents: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("length(purchase) BETWEEN 8 AND 80"),
        CheckConstraint("length(product) BETWEEN 1 AND 60"),
        CheckConstraint("length(currency) = 3"),
        CheckConstraint("cents > 0"),
        # For the sums of a day, and for pages of purchases in this order.
        Index("revenue_by_time", "game", "at", "purchase"),
    )


sessions = Heartbeats.table(Base.metadata, Column("game", GAME), Column("player", PLAYER))
Index("sessions_of_a_day", sessions.c.game, sessions.c.started_at)
