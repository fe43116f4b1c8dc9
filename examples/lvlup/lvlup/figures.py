"""The figures of a day: what was done and what was paid.

Each is grouped in the database; no row of an event or a purchase is ever loaded.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import desc, func, select

from lvlup.database import Query, ask
from lvlup.tables import Event, Purchase, sessions

MOST_NAMES = 100
MOST_CURRENCIES = 200


async def figures(game: str, day: date) -> dict[str, Any]:
    """Return those of a day in UTC."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = begin + timedelta(days=1)
    return {
        "game": game,
        "day": f"{day}",
        "sessions": (await ask(_sessions(game, begin, end)))[0],
        "players": (await ask(_players(game, begin, end)))[0]["count"],
        "events": {row["name"]: row["count"] for row in await ask(_names(game, begin, end))},
        "revenue": await ask(_revenue(game, begin, end)),
    }


def _sessions(game: str, begin: datetime, end: datetime) -> Query:
    columns = sessions.c
    return select(
        func.count().label("begun"),
        func.count(columns.ended_at).label("ended"),
        func.avg(columns.duration_seconds).label("mean_seconds"),
    ).where(columns.game == game, columns.started_at >= begin, columns.started_at < end)


def _players(game: str, begin: datetime, end: datetime) -> Query:
    return select(func.count(Event.player.distinct()).label("count")).where(
        Event.game == game, Event.at >= begin, Event.at < end
    )


def _names(game: str, begin: datetime, end: datetime) -> Query:
    return (
        select(Event.name, func.count().label("count"))
        .where(Event.game == game, Event.at >= begin, Event.at < end)
        .group_by(Event.name)
        .order_by(desc("count"), Event.name)
        .limit(MOST_NAMES)
    )


def _revenue(game: str, begin: datetime, end: datetime) -> Query:
    cents = func.sum(Purchase.cents).label("cents")
    return (
        select(Purchase.currency, cents, func.count().label("purchases"))
        .where(Purchase.game == game, Purchase.at >= begin, Purchase.at < end)
        .group_by(Purchase.currency)
        .order_by(Purchase.currency)
        .limit(MOST_CURRENCIES)
    )
