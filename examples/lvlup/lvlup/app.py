"""LvlUp: what players do in games, counted. FastAPI over SQLite or PostgreSQL.

What games send goes to ``ingest.py``; this is what the people ask who made them. An answer about a
day is kept, by game and date.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy import DateTime, bindparam, text

from lvlup import ingest
from lvlup.ingest import Game
from lvlup.tables import DATA, AwayError, ask, engine, prepare
from tonnage import Cache, setup_logging

# JSON on stdout in production; text, and files beside the database, in development.
setup_logging(directory=DATA / "logs")

# Answers are some hundred bytes; what has not ended yet changes, so it is asked for anew soon.
days: Cache[dict[str, Any]] = Cache("days", max_entries=100, max_bytes="1M", ttl="5m")
TODAY_SECONDS = 10
#: When to ask again where the database was away.
AGAIN_SECONDS = 10

BETWEEN = "WHERE game = :game AND at >= :begin AND at < :end"
TIMES = (
    bindparam("begin", type_=DateTime(timezone=True)),
    bindparam("end", type_=DateTime(timezone=True)),
)
NAMES = text(
    f"SELECT name, count(*) AS count FROM events {BETWEEN}"
    " GROUP BY name ORDER BY count DESC, name LIMIT 100"
).bindparams(*TIMES)
PLAYERS = text(f"SELECT count(DISTINCT player) AS count FROM events {BETWEEN}").bindparams(*TIMES)
SESSIONS = text(
    "SELECT count(*) AS begun, count(ended_at) AS ended, avg(duration_seconds) AS mean_seconds"
    " FROM sessions WHERE game = :game AND started_at >= :begin AND started_at < :end"
).bindparams(*TIMES)
REVENUE = text(
    f"SELECT currency, sum(cents) AS cents, count(*) AS purchases FROM revenue {BETWEEN}"
    " GROUP BY currency ORDER BY currency LIMIT 200"
).bindparams(*TIMES)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    await prepare()
    yield
    await engine.dispose()


app = FastAPI(title="LvlUp", summary="What players do in games.", lifespan=_lifespan)
app.include_router(ingest.ingest)


@app.exception_handler(AwayError)
async def away(request: Request, error: AwayError) -> JSONResponse:
    """Say that it is worth asking again."""
    return JSONResponse(
        {"detail": "the database does not answer: try again"},
        status_code=503,
        headers={"Retry-After": f"{AGAIN_SECONDS}"},
    )


@app.get("/games/{game}/days/{day}")
async def about(game: Game, day: date) -> dict[str, Any]:
    """Return what was done and what was paid on a day, in UTC."""
    is_over = day < datetime.now(UTC).date()
    return await days.get_or_await(
        (game, day), lambda: _about(game, day), ttl=None if is_over else TODAY_SECONDS
    )


async def _about(game: str, day: date) -> dict[str, Any]:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    asked = {"game": game, "begin": begin, "end": begin + timedelta(days=1)}
    return {
        "game": game,
        "day": f"{day}",
        "sessions": (await ask(SESSIONS, **asked))[0],
        "players": (await ask(PLAYERS, **asked))[0]["count"],
        "events": {row["name"]: row["count"] for row in await ask(NAMES, **asked)},
        "revenue": await ask(REVENUE, **asked),
    }


@app.get("/api/metrics")
async def metrics() -> dict[str, Any]:
    """Return what the writers of this worker have done."""
    return {
        "timestamp": datetime.now(UTC),
        "batchWriters": {
            "events": ingest.events.statistics().as_json(),
            "revenue": ingest.revenue.statistics().as_json(),
            "heartbeats": ingest.heartbeats.writer.statistics().as_json(),
        },
    }
