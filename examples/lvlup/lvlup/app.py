"""LvlUp: what players do in games, counted. FastAPI over SQLite or PostgreSQL.

What games send goes to ``ingest.py``; this is what the people ask who made them. An answer about a
day is kept, by game and date, and where ``REDIS_URL`` names a Redis, for all instances; purchases
are listed in pages.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from lvlup import ingest
from lvlup.database import DATA
from lvlup.figures import figures
from lvlup.ingest import Game
from lvlup.purchases import page_of_purchases
from tonnage import Cache, setup_logging

# JSON on stdout in production; text, and files beside the database, in development.
setup_logging(directory=DATA / "logs")

# Answers are some hundred bytes; what has not ended yet changes, so it is asked for anew soon.
days: Cache[dict[str, Any]] = Cache("days", max_entries=100, max_bytes="1M", ttl="5m")
TODAY_SECONDS = 10
MOST_MISTAKES = 20
MOST_ROWS = 100

Day = Annotated[date, Field(ge=date(2000, 1, 1), lt=date(2100, 1, 1))]

app = FastAPI(title="LvlUp", summary="What players do in games.")
app.include_router(ingest.ingest)


@app.exception_handler(RequestValidationError)
async def refuse(_: Request, error: RequestValidationError) -> Response:
    """Say what is wrong without repeating it: not all that can be sent can be sent back."""
    told = [{key: each[key] for key in ("loc", "msg", "type")} for each in error.errors()]
    body = json.dumps({"detail": told[:MOST_MISTAKES]})
    return Response(body, 422, media_type="application/json")


@app.get("/games/{game}/days/{day}")
async def about(game: Game, day: Day) -> dict[str, Any]:
    """Return what was done and what was paid on a day, in UTC."""
    is_over = day < datetime.now(UTC).date()
    return await days.get_or_await(
        (game, day), lambda: figures(game, day), ttl=None if is_over else TODAY_SECONDS
    )


@app.get("/games/{game}/revenue")
async def purchases(
    game: Game,
    after: Annotated[
        str | None, Query(max_length=300, description="the last page's `next`")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 20,
) -> dict[str, Any]:
    """Return a page of purchases, the latest first."""
    return await page_of_purchases(game, after, limit)
