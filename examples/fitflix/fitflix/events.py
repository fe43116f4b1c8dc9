"""Events: lists of them by pages, one by itself, and what their organisers do.

The long description of an event is asked for by itself. What is kept goes when something happens:

==================  ======================  ====================================================
kept                its tags                goes when
==================  ======================  ====================================================
a page of a list    ``events``              an event is made, changed or taken away
what is new         ``events``              likewise
an event            ``event 7, seats 7``    it is changed, or somebody takes or leaves a seat
its description     ``event 7``             it is changed
==================  ======================  ====================================================
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import Select, delete, insert, update
from sqlalchemy.exc import IntegrityError

from fitflix.clock import now
from fitflix.database import LARGEST_ID, Row, cache, engine, kept, kept_rows
from fitflix.tables import Activity, Event
from tonnage import db

MOST_ROWS = 100

Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
#: Texts of PostgreSQL have no character 0.
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Title = Annotated[Text, Field(min_length=1, max_length=120)]
Start = Annotated[
    AwareDatetime, Field(ge=datetime(2020, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))
]
Seats = Annotated[int, Field(ge=1, le=1000)]
Description = Annotated[Text, Field(max_length=5000)]


class NewEvent(BaseModel):
    """An event as a client sends it."""

    activity_id: int = Field(ge=1, le=LARGEST_ID)
    title: Title
    starts_at: Start
    seats: Seats
    description: Description = ""


class EventChange(BaseModel):
    """What is to be different; what is left out stays."""

    title: Title | None = None
    starts_at: Start | None = None
    seats: Seats | None = None
    description: Description | None = None


router = APIRouter(prefix="/events", tags=["events"])


def summaries() -> Select[Any]:
    """Return the query for events without what is long."""
    columns = db.only(Event, "id", "title", "starts_at", "seats")
    return columns.add_columns(Activity.name.label("activity")).join(
        Activity, Activity.id == Event.activity_id
    )


def whole() -> Select[Any]:
    """Return the query for events with their descriptions."""
    return summaries().add_columns(Event.description)


@router.get("")
async def events(
    since: Start | None = None,
    after: Annotated[
        str | None, Query(max_length=200, description="the last page's `next`")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 20,
) -> Row:
    """Return a page of events from now on, or from *since* on, without their descriptions."""
    return await kept(
        ("events", since, after, limit), lambda: _page(since or now(), after, limit), ["events"]
    )


async def _page(since: datetime, after: str | None, limit: int) -> Row:
    query = summaries().where(Event.starts_at >= since).order_by(Event.starts_at, Event.id)
    async with engine.connect() as connection:
        page = await db.page(connection, query, size=limit, after=after)
    return {"events": [dict(row._mapping) for row in page.rows], "next": page.next}


@router.get("/{event_id}")
async def event(event_id: Id) -> Row:
    """Return one event, with the seats that are left."""
    left = (Event.seats - Event.taken).label("left")
    query = summaries().add_columns(left).where(Event.id == event_id)
    tags = [f"event {event_id}", f"seats {event_id}"]
    found = await kept_rows(("event", event_id), query, tags)
    if not found:
        raise not_found(event_id)
    return found[0]


@router.get("/{event_id}/description")
async def description(event_id: Id) -> Row:
    """Return what is said about an event, at length."""
    query = db.only(Event, "id", "description").where(Event.id == event_id)
    found = await kept_rows(("description", event_id), query, [f"event {event_id}"])
    if not found:
        raise not_found(event_id)
    return found[0]


@router.post("", status_code=201)
async def create(new: NewEvent, response: Response) -> Row:
    """Create an event, which ``/live`` tells of."""
    values = new.model_dump()
    try:
        async with engine.begin() as connection:
            stored = await connection.execute(insert(Event).values(values).returning(Event.id))
            made = stored.scalar_one()
    except IntegrityError:
        raise HTTPException(422, f"there is no activity {new.activity_id}") from None
    _forget(made)
    response.headers["Location"] = f"/events/{made}"
    return {"id": made, **values, "starts_at": new.starts_at.astimezone(UTC)}


@router.patch("/{event_id}")
async def change(event_id: Id, new: EventChange) -> Row:
    """Change an event; it cannot have fewer seats than are taken."""
    values = new.model_dump(exclude_none=True)
    if not values:
        raise HTTPException(422, "send what is to be different")
    try:
        async with engine.begin() as connection:
            changed = await connection.execute(
                update(Event).where(Event.id == event_id).values(values)
            )
    except IntegrityError:
        raise HTTPException(409, "more seats than that are taken: give it as many") from None
    if not changed.rowcount:
        raise not_found(event_id)
    _forget(event_id)
    return await event(event_id)


@router.delete("/{event_id}", status_code=204)
async def cancel(event_id: Id) -> None:
    """Take an event away, and with it who has registered."""
    async with engine.begin() as connection:
        gone = await connection.execute(delete(Event).where(Event.id == event_id))
    if not gone.rowcount:
        raise not_found(event_id)
    _forget(event_id)


def _forget(event_id: int) -> None:
    """Take out what an organiser's doing makes untrue; also that there is no such event."""
    cache.invalidate("events", f"event {event_id}")


def not_found(event_id: int) -> HTTPException:
    """Return what says that there is no such event."""
    return HTTPException(404, f"there is no event {event_id}")
