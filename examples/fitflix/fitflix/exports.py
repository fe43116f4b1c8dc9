"""What goes out in large: events as JSON, as CSV, and as they happen.

JSON goes out whole, so its rows are read as a stream and kept as text only. CSV and news go out for
as long as the client takes, so they hold no connection meanwhile: each part is a query of its own.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from sqlalchemy import Select, func, select

from fitflix.database import LARGEST_ID, engine, rows
from fitflix.events import MOST_ROWS, summaries
from fitflix.tables import Event
from tonnage import db

POLL_SECONDS = 1.0

router = APIRouter(tags=["exports"])


@router.get("/export.json")
async def export_json(
    month: Annotated[str, Query(pattern=r"^20\d\d(-(0[1-9]|1[0-2]))?$")],
) -> Response:
    """Return the events of a month, or a year, whole: a year is more than a response may have."""
    begin, end = _times(month)
    query = (
        select(Event.id, Event.title, Event.starts_at, Event.description)
        .where(Event.starts_at >= begin, Event.starts_at < end)
        .order_by(Event.starts_at, Event.id)
    )
    async with engine.connect() as connection:
        found = [to_json(dict(row._mapping)) async for row in db.stream(connection, query)]
    return Response(b"[" + b",".join(found) + b"]", media_type="application/json")


def _times(month: str) -> tuple[datetime, datetime]:
    """Return when a month (2026-03) or a year (2026) begins, and when the next does."""
    year, _, number = month.partition("-")
    begin = datetime(int(year), int(number or 1), 1, tzinfo=UTC)
    if not number:
        return begin, begin.replace(year=begin.year + 1)
    is_last = begin.month == 12
    return begin, begin.replace(year=begin.year + is_last, month=begin.month % 12 + 1)


@router.get("/export.csv")
async def export_csv() -> StreamingResponse:
    """Return all events, of whatever size that is: no more than some rows are in memory."""
    return StreamingResponse(_lines(), media_type="text/csv")


async def _lines() -> AsyncIterator[str]:
    """Yield all events as CSV, a page of them at a time."""
    query = _whole().order_by(Event.id)
    after = None
    while True:
        async with engine.connect() as connection:
            page = await db.page(connection, query, size=MOST_ROWS, after=after)
        yield _as_csv(page.rows)
        if page.next is None:
            return
        after = page.next


def _as_csv(found: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(found)
    return text.getvalue()


@router.get("/live")
async def live(
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_ID)] = None,
) -> StreamingResponse:
    """Send each event that is created from now on, or after *last_event_id*, as it happens."""
    return StreamingResponse(_news(last_event_id), media_type="text/event-stream")


async def _news(last: int | None) -> AsyncIterator[str]:
    """Yield new events; the database is asked each second, since any worker may make them.

    Of two that are made in the same moment, PostgreSQL may show the later one first; then the
    earlier is not told of.
    """
    if last is None:
        last = (await rows(select(func.coalesce(func.max(Event.id), 0).label("id"))))[0]["id"]
    yield ": listening\n\n"
    while True:
        new = _whole().where(Event.id > last).order_by(Event.id).limit(MOST_ROWS)
        for row in await rows(new):
            last = row["id"]
            yield f"id: {last}\ndata: {to_json(row).decode()}\n\n"
        await asyncio.sleep(POLL_SECONDS)


def _whole() -> Select[Any]:
    return summaries().add_columns(Event.description)
