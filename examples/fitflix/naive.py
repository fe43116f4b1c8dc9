"""FitFlix as it was: the same routes and the same answers, without what keeps FitFlix small.

    tonnage db migrate fitflix/migrations     # its tables are those of FitFlix
    uvicorn naive:app --workers 8             # M3: one for each core that the host claims to have

``make before-after`` runs both under the same load. A comment at each deficiency names the row of
``docs/requirements.md`` whose original had it. Nothing here is to be copied.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Header, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, StreamingResponse
from fitflix.clock import now
from fitflix.tables import Activity, Event, Plan, Registration
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field
from pydantic_core import to_json
from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

T = TypeVar("T")
Row = dict[str, Any]

LARGEST_ID = 2**31 - 1
SUMMARY = ("id", "title", "starts_at", "seats", "activity")
KEPT_SECONDS = 300

Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Title = Annotated[Text, Field(min_length=1, max_length=120)]
Start = Annotated[
    AwareDatetime, Field(ge=datetime(2020, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))
]
Seats = Annotated[int, Field(ge=1, le=1000)]
Description = Annotated[Text, Field(max_length=5000)]
Email = Annotated[
    str,
    Field(pattern=r"^[^@\s\x00]+@[^@\s\x00]+$"),
    AfterValidator(str.lower),
    Field(max_length=254),
]


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


class NewRegistration(BaseModel):
    """Somebody who wants a seat."""

    name: Text = Field(min_length=1, max_length=60)
    email: Email


class Withdrawal(BaseModel):
    """Somebody who gives a seat back."""

    email: Email = Field(description="as registered")


# D1: as many connections as the library allows by itself, 15, and that in each worker.
engine = create_async_engine(
    os.environ.get("DATABASE_URL", "sqlite:///data/fitflix.sqlite3")
    .replace("postgresql:", "postgresql+asyncpg:")
    .replace("sqlite:", "sqlite+aiosqlite:")
)

# R1, R2, R3: bodies and answers of any size, none of them compressed.
# W2, W5: nobody looks at memory, and whoever comes is served.
app = FastAPI(title="FitFlix", summary="Plans, activities and events of a gym.")
app.add_middleware(  # R4: browsers ask again after 10 minutes.
    CORSMiddleware,
    allow_origins=["https://fitflix.example", "http://localhost:3000"],
    allow_methods=["*"],
)

# S1: grows for ever; what has expired stays until it is asked for again.
cache: dict[str, tuple[float, Any]] = {}


async def cached(key: str, load: Callable[[], Awaitable[T]]) -> T:
    """Return what is kept under *key*, or load it; those who miss at once all load it."""
    until, value = cache.get(key, (0.0, None))
    if time.monotonic() >= until:
        value = await load()
        cache[key] = (time.monotonic() + KEPT_SECONDS, value)
    found: T = value
    return found


def forget(*beginnings: str) -> None:
    """Take out what begins so. S2: in this worker; the seven others go on with what they have."""
    for key in [key for key in cache if key.startswith(beginnings)]:
        del cache[key]


async def rows(statement: Select[Any]) -> list[Row]:
    """Return what is found. D2: however much that is."""
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(statement)).mappings()]


def whole() -> Select[Any]:
    """Return the query for events. D2: with all columns, however few are wanted."""
    return select(Event.__table__, Activity.name.label("activity")).join(
        Activity, Activity.id == Event.activity_id
    )


def part(row: Row, *columns: str) -> Row:
    """Return some columns of a row."""
    return {name: row[name] for name in columns}


@app.exception_handler(RequestValidationError)
async def refuse(_: Request, error: RequestValidationError) -> Response:
    """Say what is wrong."""
    told = [part(each, "type", "loc", "msg") for each in error.errors()]
    return JSONResponse({"detail": told}, 422)


@app.get("/plans")
async def plans() -> list[Row]:
    """Return what a membership can be."""
    query = select(Plan.__table__).order_by(Plan.cents_a_month)
    return await cached("plans", lambda: rows(query))


@app.get("/activities")
async def activities() -> list[Row]:
    """Return what there is to do."""
    query = select(Activity.__table__).order_by(Activity.name)
    return await cached("activities", lambda: rows(query))


@app.get("/events")
async def events(
    since: Start | None = None,
    after: Annotated[
        str | None, Query(max_length=200, description="the last page's `next`")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Row:
    """Return a page of events. D2: all of them are loaded, and kept, to cut it out."""
    query = whole().where(Event.starts_at >= (since or now())).order_by(Event.starts_at, Event.id)
    found = await cached(f"events {since}", lambda: rows(query))
    if after is not None and not after.isdecimal():
        raise HTTPException(400, "after is none of ours")
    begin = int(after or 0)
    end = begin + limit
    page = [part(row, *SUMMARY) for row in found[begin:end]]
    return {"events": page, "next": str(end) if end < len(found) else None}


@app.get("/events/{event_id}")
async def event(event_id: Id) -> Row:
    """Return one event, with the seats that are left."""
    row = await one(event_id)
    return part(row, *SUMMARY) | {"left": row["seats"] - row["taken"]}


@app.get("/events/{event_id}/description")
async def description(event_id: Id) -> Row:
    """Return what is said about an event, at length."""
    return part(await one(event_id), "id", "description")


async def one(event_id: int) -> Row:
    """Return an event with all that belongs to it."""
    found = await cached(f"event {event_id}", lambda: rows(whole().where(Event.id == event_id)))
    if not found:
        raise not_found(event_id)
    return found[0]


def not_found(event_id: int) -> HTTPException:
    """Return what says that there is no such event."""
    return HTTPException(404, f"there is no event {event_id}")


@app.post("/events", status_code=201)
async def create(new: NewEvent, response: Response) -> Row:
    """Create an event."""
    values = new.model_dump()
    async with engine.begin() as connection:
        if await connection.scalar(select(Activity.id).where(Activity.id == new.activity_id)):
            made = await connection.scalar(insert(Event).values(values).returning(Event.id))
        else:
            raise HTTPException(422, f"there is no activity {new.activity_id}")
    forget("events", f"event {made}")
    response.headers["Location"] = f"/events/{made}"
    return {"id": made, **values, "starts_at": new.starts_at.astimezone(UTC)}


@app.patch("/events/{event_id}")
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
    forget("events", f"event {event_id}")
    return await event(event_id)


@app.delete("/events/{event_id}", status_code=204)
async def cancel(event_id: Id) -> None:
    """Take an event away, and with it who has registered."""
    async with engine.begin() as connection:
        await connection.execute(delete(Registration).where(Registration.event_id == event_id))
        gone = await connection.execute(delete(Event).where(Event.id == event_id))
    if not gone.rowcount:
        raise not_found(event_id)
    forget("events", f"event {event_id}")


@app.post("/events/{event_id}/registrations", status_code=201)
async def register(event_id: Id, new: NewRegistration) -> Row:
    """Take a seat."""
    values = {"event_id": event_id, **new.model_dump()}
    take = (
        update(Event)
        .where(Event.id == event_id, Event.taken < Event.seats)
        .values(taken=Event.taken + 1)
    )
    try:
        async with engine.begin() as connection:
            if not (await connection.execute(take)).rowcount:
                if await connection.scalar(select(Event.id).where(Event.id == event_id)) is None:
                    raise not_found(event_id)
                raise HTTPException(409, "all seats are taken: choose another event")
            made = await connection.scalar(
                insert(Registration).values(values).returning(Registration.id)
            )
    except IntegrityError:
        raise HTTPException(409, f"{new.email} has a seat already") from None
    forget(f"event {event_id}")
    return {"id": made, **values}


@app.post("/events/{event_id}/registrations/{registration_id}/withdrawal", status_code=204)
async def withdraw(event_id: Id, registration_id: Id, who: Withdrawal) -> None:
    """Give a seat back."""
    async with engine.begin() as connection:
        gone = await connection.execute(
            delete(Registration).where(
                Registration.id == registration_id,
                Registration.event_id == event_id,
                Registration.email == who.email,
            )
        )
        if not gone.rowcount:
            raise HTTPException(404, "there is no such registration")
        await connection.execute(
            update(Event).where(Event.id == event_id).values(taken=Event.taken - 1)
        )
    forget(f"event {event_id}")


@app.get("/export.json")
async def export_json(
    month: Annotated[str, Query(pattern=r"^20\d\d(-(0[1-9]|1[0-2]))?$")],
) -> list[Row]:
    """Return the events of a month, or a year. R2: of whatever size that is, whole."""
    begin = datetime.fromisoformat(f"{month}-01-01"[:10]).replace(tzinfo=UTC)
    end = (begin + timedelta(days=31 if "-" in month else 366)).replace(day=1)
    found = await rows(
        whole()
        .where(Event.starts_at >= begin, Event.starts_at < end)
        .order_by(Event.starts_at, Event.id)
    )
    return [part(row, "id", "title", "starts_at", "description") for row in found]


@app.get("/export.csv")
async def export_csv() -> Response:
    """Return all events. D2: every row and the whole text are in memory at once."""
    found = await rows(whole().order_by(Event.id))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*SUMMARY, "description"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(found)
    return Response(text.getvalue(), media_type="text/csv")


@app.get("/live")
async def live(
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_ID)] = None,
) -> StreamingResponse:
    """Send each event that is created from now on, or after *last_event_id*, as it happens."""
    return StreamingResponse(news(last_event_id), media_type="text/event-stream")


async def news(last: int | None) -> AsyncIterator[str]:
    """Yield new events. D1: whoever listens asks the database by themselves, each second."""
    if last is None:
        last = (await rows(select(func.coalesce(func.max(Event.id), 0).label("id"))))[0]["id"]
    yield ": listening\n\n"
    while True:
        for row in await rows(whole().where(Event.id > last).order_by(Event.id)):
            last = row["id"]
            told = to_json(part(row, *SUMMARY, "description")).decode()
            yield f"id: {last}\ndata: {told}\n\n"
        await asyncio.sleep(1)
