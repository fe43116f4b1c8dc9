"""Events as they happen: to all who listen, for the price of one who asks.

However many listen in this worker, the database is asked once a second, by way of the cache, for
the latest event; and when there is a new one, once for what is new. A listener holds no connection,
and of the news no more than is being sent. Who has fallen behind is sent the next 100, and so on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from sqlalchemy import func, select

from fitflix.database import LARGEST_ID, Row, kept_rows
from fitflix.events import MOST_ROWS, whole
from fitflix.tables import Event

MOST_LISTENERS = 100
POLL_SECONDS = 1
# Each so many polls something is sent: else nobody would notice that a listener has vanished.
POLLS_A_COMMENT = 15

router = APIRouter(tags=["live"])
listeners = asyncio.Semaphore(MOST_LISTENERS)  # of each worker


@router.get("/live")
async def live(
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_ID)] = None,
) -> StreamingResponse:
    """Send each event that is created from now on, or after *last_event_id*, as it happens."""
    if listeners.locked():
        raise HTTPException(503, "too many listen: come again later", {"Retry-After": "60"})
    return StreamingResponse(_news(last_event_id), media_type="text/event-stream")


async def _news(last: int | None) -> AsyncIterator[str]:
    """Yield new events.

    Of two that are made in the same moment, PostgreSQL may show the later one first; then the
    earlier is not told of.
    """
    async with listeners:
        if last is None:
            last = await _latest()
        yield ": listening\n\n"
        for polls in count(1):
            latest = await _latest()
            for event in await _after(last, latest) if latest > last else ():
                last = event["id"]
                yield f"id: {last}\ndata: {to_json(event).decode()}\n\n"
            if polls % POLLS_A_COMMENT == 0:
                yield ": still there\n\n"
            await asyncio.sleep(POLL_SECONDS)


async def _latest() -> int:
    """Return the id of the latest event; 0: there is none."""
    query = select(func.coalesce(func.max(Event.id), 0).label("id"))
    found = await kept_rows("latest", query, ["events"], ttl=POLL_SECONDS)
    latest: int = found[0]["id"]
    return latest


async def _after(last: int, latest: int) -> list[Row]:
    """Return the events after *last*, of which *latest* is known to be the last one."""
    query = whole().where(Event.id > last).order_by(Event.id).limit(MOST_ROWS)
    return await kept_rows(("news", last, latest), query, ["events"])
