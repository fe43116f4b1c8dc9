"""What goes out in large: events as JSON, and as CSV.

JSON goes out whole, so its rows are read as a stream and kept as text only. CSV goes out for as
long as the client takes, so it holds no connection meanwhile: each part is a query of its own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from sqlalchemy import select

from fitflix.database import engine
from fitflix.events import MOST_ROWS, whole
from fitflix.tables import Event
from tonnage import db

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
    query = whole().order_by(Event.id)
    lines: list[Sequence[Any]] = [query.selected_columns.keys()]
    after = None
    while True:
        async with engine.connect() as connection:
            page = await db.page(connection, query, size=MOST_ROWS, after=after)
        # The header goes with the first rows: where there is no database, nothing has been sent.
        yield _as_csv([*lines, *page.rows])
        if page.next is None:
            return
        lines, after = [], page.next


def _as_csv(found: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(found)
    return text.getvalue()
