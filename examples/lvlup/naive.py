"""LvlUp as it was before: the same routes and the same answers, written in a hurry.

`make before-after` measures the application in ``lvlup/`` against it; nothing else should use it.
It is what a competent person writes who has no memory limit in mind: each comment that begins with
a row of docs/requirements.md marks a habit for which the original of that row had to pay. It knows
nothing of Tonnage. PostgreSQL only, with the tables that the migrations make:

    tonnage db migrate lvlup/migrations
    uvicorn naive:app --port 8000
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import JSON, BigInteger, DateTime, select, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

LOGS = Path(os.environ.get("LVLUP_DATA", "data")) / "logs"
SILENCE = timedelta(minutes=2)
SWEEP_SECONDS = 120
STARTED = time.time()

# D1: a connection for everybody who asks at once, and each is kept.
engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1),
    pool_size=60,
)
Session = async_sessionmaker(engine, expire_on_commit=False)


def make_logger(name: str) -> logging.Logger:
    """Return a logger that spares the disk."""
    LOGS.mkdir(parents=True, exist_ok=True)
    # S8: files, in production too; and each line waits in memory until there are many.
    file = logging.FileHandler(LOGS / f"{name}.log", mode="w")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger(f"lvlup.{name}")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(MemoryHandler(50_000, flushLevel=logging.ERROR, target=file))
    return logger


events_log, revenue_log, sessions_log = map(make_logger, ("events", "revenue", "sessions"))


# -- tables


class Base(DeclarativeBase):
    """What all tables are made of."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  # SQLAlchemy reads it


class EventRow(Base):
    """Something that a player has done."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    game: Mapped[str]
    player: Mapped[str]
    name: Mapped[str]
    properties: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    at: Mapped[datetime]


class PurchaseRow(Base):
    """Something that a player has paid for."""

    __tablename__ = "revenue"

    purchase: Mapped[str] = mapped_column(primary_key=True)
    game: Mapped[str]
    player: Mapped[str]
    product: Mapped[str]
    cents: Mapped[int]
    currency: Mapped[str]
    at: Mapped[datetime]


class SessionRow(Base):
    """Somebody who plays, or has played."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    game: Mapped[str | None]
    player: Mapped[str | None]
    started_at: Mapped[datetime]
    last_beat_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    duration_seconds: Mapped[float | None]


# -- what games send

Game = Annotated[str, InPath(pattern=r"^[\w.-]{1,60}$")]
SessionId = Annotated[str, InPath(pattern=r"^[\w.-]{8,80}$")]
Player = Annotated[str, Field(pattern=r"^[\w.-]{1,60}$")]
Name = Annotated[str, Field(min_length=1, max_length=60)]


class Event(BaseModel):
    """Something that a player has done."""

    player: Player
    name: Name
    # D3: as many as they like, each as long as they like.
    properties: dict[str, Any] = {}


class Beat(BaseModel):
    """Somebody plays."""

    player: Player


class Purchase(BaseModel):
    """Something that a player has paid for."""

    purchase: str = Field(pattern=r"^[!-~]{8,80}$")
    player: Player
    product: Name
    cents: int = Field(gt=0, le=1_000_000)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


# S4: what is not stored yet waits here, however much that is; a kill loses all of it.
waiting: dict[str, deque[Insert]] = {"events": deque(), "heartbeats": deque()}
stored: Counter[str] = Counter()
failed: Counter[str] = Counter()


async def store(name: str) -> None:
    """Store what waits, for ever."""
    while True:
        while waiting[name]:
            try:
                # S4: an insert and a commit for each.
                async with Session() as db:
                    await db.execute(waiting[name].popleft())
                    await db.commit()
                stored[name] += 1
            except (OSError, SQLAlchemyError):
                failed[name] += 1
                events_log.exception("not stored: one of %s", name)
        await asyncio.sleep(0.1)


async def end_sessions() -> None:
    """End those that have been silent, for ever."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = datetime.now(UTC)
        async with Session() as db:
            # S6: looks at all that there have ever been, and ends all at once that it finds.
            for row in await db.scalars(select(SessionRow)):
                if row.ended_at is None and now - row.last_beat_at >= SILENCE:
                    row.ended_at = row.last_beat_at
                    row.duration_seconds = (row.ended_at - row.started_at).total_seconds()
                    sessions_log.info("session %s: %d s", row.id, row.duration_seconds)
            await db.commit()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Work beside the requests."""
    work = store("events"), store("heartbeats"), end_sessions()
    tasks = [asyncio.create_task(each) for each in work]
    yield
    # M8: what waits is not stored first.
    for task in tasks:
        task.cancel()


app = FastAPI(title="LvlUp", summary="What players do in games.", lifespan=lifespan)


@app.exception_handler(RequestValidationError)
async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong."""
    told = [{key: each[key] for key in ("loc", "msg", "type")} for each in error.errors()]
    return JSONResponse({"detail": told}, 422)


@app.post("/games/{game}/events", status_code=202)
async def take_events(
    game: Game, new: Annotated[list[Event], Field(max_length=100)]
) -> dict[str, int]:
    """Take up to 100 events."""
    for event in new:
        row = {"game": game, "at": datetime.now(UTC), **event.model_dump()}
        waiting["events"].append(insert(EventRow).values(row))
        # S8: each event is a line, with all that is in it.
        events_log.debug("event of %s: %s", game, json.dumps(event.model_dump()))
    return {"taken": len(new)}


@app.post("/games/{game}/revenue", status_code=202)
async def take_purchase(game: Game, new: Purchase) -> dict[str, Any]:
    """Take a purchase; the same one again counts once."""
    row = {"game": game, "at": datetime.now(UTC), **new.model_dump()}
    async with Session() as db:
        await db.execute(insert(PurchaseRow).values(row).on_conflict_do_nothing())
        await db.commit()
    stored["revenue"] += 1
    revenue_log.info("purchase: %s", row)
    return {"purchase": new.purchase}


@app.post("/games/{game}/sessions/{session}/beat", status_code=202)
async def take_beat(game: Game, session: SessionId, beat: Beat) -> dict[str, bool]:
    """Note that a session is being played."""
    now = datetime.now(UTC)
    columns = {"game": game, "player": beat.player, "last_beat_at": now}
    again = columns | {"ended_at": None, "duration_seconds": None}
    row = insert(SessionRow).values(id=session, started_at=now, **columns)
    # S6: each beat is written, however often a session beats.
    waiting["heartbeats"].append(row.on_conflict_do_update(index_elements=["id"], set_=again))
    sessions_log.debug("beat of %s: %s plays %s", session, beat.player, game)
    return {"taken": True}


# -- what the people ask who made them


@app.get("/games/{game}/days/{day}")
async def about(
    game: Game, day: Annotated[date, InPath(ge=date(2000, 1, 1), lt=date(2100, 1, 1))]
) -> dict[str, Any]:
    """Return what was done and what was paid on a day, in UTC."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = begin + timedelta(days=1)

    async def rows_of(table: type[Any], at: Any) -> list[Any]:
        # D2: whole rows, all of that day, to count them here; S1: and anew for whoever asks.
        query = select(table).where(table.game == game, at >= begin, at < end)
        async with Session() as db:
            return list(await db.scalars(query))

    events = await rows_of(EventRow, EventRow.at)
    sessions = await rows_of(SessionRow, SessionRow.started_at)
    purchases = await rows_of(PurchaseRow, PurchaseRow.at)
    seconds = [each.duration_seconds for each in sessions if each.ended_at is not None]
    revenue: dict[str, dict[str, Any]] = {}
    for each in purchases:
        sums = revenue.setdefault(
            each.currency, {"currency": each.currency, "cents": 0, "purchases": 0}
        )
        sums["cents"] += each.cents
        sums["purchases"] += 1
    return {
        "game": game,
        "day": f"{day}",
        "sessions": {
            "begun": len(sessions),
            "ended": len(seconds),
            "mean_seconds": sum(seconds) / len(seconds) if seconds else None,
        },
        "players": len({each.player for each in events}),
        "events": dict(Counter(each.name for each in events).most_common()),
        "revenue": [revenue[currency] for currency in sorted(revenue)],
    }


@app.get("/games/{game}/revenue")
async def purchases(
    game: Game,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """Return a page of purchases, the latest first."""
    query = select(PurchaseRow).where(PurchaseRow.game == game)
    # D2: all that there are; the page is cut out of them here.
    async with Session() as db:
        rows = list(
            await db.scalars(query.order_by(PurchaseRow.at.desc(), PurchaseRow.purchase.desc()))
        )
    columns = ("purchase", "player", "product", "cents", "currency", "at")
    return {
        "purchases": [
            {name: getattr(row, name) for name in columns} for row in rows[after : after + limit]
        ],
        "next": f"{after + limit}" if len(rows) > after + limit else None,
    }


# -- how it is


def moment() -> dict[str, Any]:
    """Return when this is, and since when the process runs."""
    now = time.time()
    timestamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return {"timestamp": timestamp, "uptime": round(now - STARTED, 1)}


@app.get("/health")
async def health() -> dict[str, Any]:
    """Return that it is there."""
    return {"status": "OK", **moment()}


def rss_mb() -> float:
    """Return how much memory this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


@app.get("/api/metrics")
async def metrics() -> dict[str, Any]:
    """Return what somebody looks at first; memory in MB."""
    rss = rss_mb()
    async with Session() as db:
        counted = await db.scalar(
            text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        )
    return {
        **moment(),
        "memory": {"rss": rss, "heapTotal": rss, "heapUsed": rss}
        | {"external": 0.0, "arrayBuffers": 0.0},
        "dbConnections": [{"count": counted}],
        "batchWriters": {
            name: {
                "bufferSize": len(waiting.get(name, ())),
                "totalFlushed": stored[name],
                "totalFailed": failed[name],
                "totalDropped": 0,
            }
            for name in ("events", "revenue", "heartbeats")
        },
        "environment": "production",
        "version": "0.9.0",
    }
