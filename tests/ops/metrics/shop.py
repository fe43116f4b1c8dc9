"""An application with a bit of everything that has figures: routes, a cache, a writer, a pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from sqlalchemy import text

from tonnage import BatchWriter, Cache, db
from tonnage.stores.sinks.sink import Batch

days: Cache[str] = Cache("days", max_entries=10)
engine = db.async_engine("sqlite+aiosqlite://")


class Nowhere:
    """A sink that stores nothing."""

    async def write(self, batch: Batch) -> None:
        """Take *batch*."""

    async def close(self) -> None:
        """Have nothing to close."""


events = BatchWriter("events", Nowhere(), flush_seconds=0.2)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Close what was opened."""
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/days/{day}")
async def about(day: int) -> str:
    """Answer from the cache, but for the first time."""
    return days.get_or_make(day, lambda: f"day {day}")


@app.post("/events", status_code=202)
async def take() -> int:
    """Take a record."""
    await events.add({"name": "move"})
    async with engine.connect() as connection:
        return int((await connection.execute(text("select 1"))).scalar_one())


@app.get("/slow")
async def slow() -> str:
    """Take a while."""
    await asyncio.sleep(0.03)
    return "done"


@app.get("/broken")
async def broken() -> None:
    """Fail."""
    raise HTTPException(500)
