"""Made data, the same each time: a week of two games."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

GAMES = ("chess", "go")
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 7
# Of each game on each day; one in so many seconds.
EVENTS, EVENT_SECONDS = 1800, 48
SESSIONS, SESSION_SECONDS = 72, 1200
PURCHASES, PURCHASE_SECONDS = 18, 4800
AT_ONCE = 1000
NAMES = ("move", "move", "move", "move", "move", "win", "loss", "draw", "hint", "invite")
PRODUCTS = {"hat": 199, "board": 499, "lesson": 999}

# The tables as they are after 0001, whatever becomes of them later.
TIME = sa.DateTime(timezone=True)
events = sa.table(
    "events",
    sa.column("game"),
    sa.column("player"),
    sa.column("name"),
    sa.column("properties", sa.JSON),
    sa.column("at", TIME),
)
revenue = sa.table(
    "revenue",
    sa.column("purchase"),
    sa.column("game"),
    sa.column("player"),
    sa.column("product"),
    sa.column("cents"),
    sa.column("currency"),
    sa.column("at", TIME),
)
sessions = sa.table(
    "sessions",
    sa.column("id"),
    sa.column("game"),
    sa.column("player"),
    sa.column("started_at", TIME),
    sa.column("last_beat_at", TIME),
    sa.column("ended_at", TIME),
    sa.column("duration_seconds"),
)


def upgrade() -> None:
    """Insert it, some rows at a time."""
    for game in GAMES:
        for table, rows in (
            (events, [*_events(game)]),
            (revenue, [*_purchases(game)]),
            (sessions, [*_sessions(game)]),
        ):
            for first in range(0, len(rows), AT_ONCE):
                op.bulk_insert(table, rows[first : first + AT_ONCE])
    # So that queries are planned by how many rows there are now.
    op.execute("ANALYZE")


def downgrade() -> None:
    """Delete it."""
    end = BEGIN + timedelta(days=DAYS)
    for table, at in (
        (events, events.c.at),
        (revenue, revenue.c.at),
        (sessions, sessions.c.started_at),
    ):
        op.execute(sa.delete(table).where(at >= BEGIN, at < end))


def _events(game: str) -> Iterator[dict[str, Any]]:
    for n in range(DAYS * EVENTS):
        yield {
            "game": game,
            "player": _player(n),
            "name": NAMES[n * 7 % 10],
            "properties": {"round": 1 + n % 40, "seconds": n * 13 % 61 / 4, "is_rated": n % 3 > 0},
            "at": BEGIN + timedelta(seconds=EVENT_SECONDS * n),
        }


def _purchases(game: str) -> Iterator[dict[str, Any]]:
    for n in range(DAYS * PURCHASES):
        product = tuple(PRODUCTS)[n * 5 % 3]
        yield {
            "purchase": f"made-{game}-{n:04}",
            "game": game,
            "player": _player(n * 11),
            "product": product,
            "cents": PRODUCTS[product],
            "currency": ("EUR", "USD")[n * 3 % 2],
            "at": BEGIN + timedelta(seconds=PURCHASE_SECONDS * n),
        }


def _sessions(game: str) -> Iterator[dict[str, Any]]:
    for n in range(DAYS * SESSIONS):
        seconds = 60 + n * 37 % 1100
        started_at = BEGIN + timedelta(seconds=SESSION_SECONDS * n)
        ended_at = started_at + timedelta(seconds=seconds)
        yield {
            "id": f"made-{game}-{n:04}",
            "game": game,
            "player": _player(n),
            "started_at": started_at,
            "last_beat_at": ended_at,
            "ended_at": ended_at,
            "duration_seconds": float(seconds),
        }


def _player(n: int) -> str:
    return f"player-{n * 17 % 300:03}"
