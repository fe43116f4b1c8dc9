"""An application whose queries load some 28 MB each, within what one query may load."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text

from tonnage import db

ROWS = text("SELECT i, repeat('x', 3000) FROM generate_series(1, 9240) AS i")

app = FastAPI()
engine = db.async_engine()
pool = db.async_pool()


@app.get("/rows")
async def rows() -> int:
    """Load them, hold them for a while, and return how many there were."""
    if os.environ["ASKED_BY"] == "pool":
        found: list[Any] = await pool.fetch(str(ROWS))
    else:
        async with engine.connect() as connection:
            found = list((await connection.execute(ROWS)).all())
    await asyncio.sleep(0.5)
    return len(found)
