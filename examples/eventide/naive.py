"""Eventide as it was: the same routes and answers, and nothing that says how much is enough.

    cd examples/eventide
    MONGO_URL=mongodb://localhost:27017/eventide uvicorn naive:app

It is here to be measured beside its twin on Tonnage (``make before-after``), with the load of
``load.toml``; do not copy from it. It works, as such a backend does in its first month. What ends
it later has a comment that begins with a row of docs/requirements.md. One process: of several,
each would have a cache that knows nothing of the others' changes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path as File
from typing import Annotated, Any

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from bson import ObjectId
from eventide.schema import LARGEST_ID, Row, prepare, shown, utc
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field
from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.errors import DuplicateKeyError

ROWS_AT_ONCE = 100
LASTS = timedelta(hours=12)
BLOCKED = timedelta(minutes=15)
# So many of a kind, and an address is blocked.
TOO_MANY = {"login_failed": 5, "suspicious": 10}

# S8: a file, in production too, which nobody rotates.
logs = File(os.environ.get("EVENTIDE_DATA", File(__file__).parent / "data")) / "logs"
logs.mkdir(parents=True, exist_ok=True)
logging.basicConfig(filename=logs / "naive.log", level=logging.INFO)
logger = logging.getLogger("eventide")

# D4: the driver's own bounds: 100 connections, and an answer is waited for for ever.
mongo: AsyncMongoClient[Row] = AsyncMongoClient(
    os.environ.get("MONGO_URL", "mongodb://localhost:27017/eventide")
)
database = mongo.get_default_database()
users, events, bookings = database["users"], database["events"], database["bookings"]
counters = database["counters"]

secret = os.environ.get("EVENTIDE_SECRET") or secrets.token_hex(32)
hasher = PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)

# S1: grows for ever, and what is in it is never too old. It is kept by the whole URL, and links in
# newsletters have an id of their own for each reader.
cache: dict[str, Any] = {}
# S7: grows for ever, and each attempt to log in looks through all of it.
security_events: list[Row] = []

Email = Annotated[
    str, Field(pattern=r"^[^@\s]+@[^@\s]+$"), AfterValidator(str.lower), Field(max_length=254)
]
Start = Annotated[
    AwareDatetime, Field(ge=datetime(2020, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))
]


class Credentials(BaseModel):
    """What somebody logs in with."""

    email: Email
    password: str = Field(min_length=10, max_length=128)


class NewEvent(BaseModel):
    """An event as its organiser sends it."""

    title: str = Field(min_length=1, max_length=120)
    city: str = Field(min_length=1, max_length=60)
    starts_at: Start
    seats: int = Field(ge=1, le=100_000)
    description: str = Field(default="", max_length=2000)


class Change(BaseModel):
    """What an organiser may change of an event."""

    title: str | None = Field(default=None, min_length=1, max_length=120)
    seats: int | None = Field(default=None, ge=1, le=100_000)
    description: str | None = Field(default=None, max_length=2000)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make the collections, and what is in them at first."""
    await prepare(database)
    yield


# W1, W5: nobody looks at memory. M7: nothing is replaced before the kernel ends it. R6: anybody may
# ask as often as they like.
app = FastAPI(title="Eventide", lifespan=lifespan)


@app.exception_handler(RequestValidationError)
async def refuse(_: Request, error: RequestValidationError) -> Response:
    """Say what is wrong."""
    told = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    return JSONResponse({"detail": told}, 422)


def check(request: Request) -> None:
    """Refuse an address that has failed too often."""
    since = datetime.now(UTC) - BLOCKED
    address = address_of(request)
    recent = [each for each in security_events if each["client"] == address and each["at"] > since]
    for kind, most in TOO_MANY.items():
        if sum(each["kind"] == kind for each in recent) >= most:
            wait_seconds = str(int(BLOCKED.total_seconds()))
            raise HTTPException(429, "too many attempts", {"retry-after": wait_seconds})


def note(request: Request, kind: str, detail: str) -> None:
    """Keep what somebody tried."""
    event = {
        "at": datetime.now(UTC),
        "kind": kind,
        "client": address_of(request),
        "path": request.url.path,
        "user_agent": request.headers.get("user-agent"),
        "detail": detail,
    }
    security_events.append(event)
    logger.warning("%s: %s", kind, event)


def address_of(request: Request) -> str:
    """Return where *request* comes from."""
    return request.client.host if request.client else ""


def current_user(
    request: Request, given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> int:
    """Return the number of who sent the request."""
    try:
        claims = jwt.decode(given.credentials, secret, algorithms=["HS256"])
    except jwt.ExpiredSignatureError:
        raise HTTPException(401, "the token has expired: log in again") from None
    except jwt.InvalidTokenError as error:
        check(request)
        note(request, "suspicious", f"forged token: {type(error).__name__}")
        raise HTTPException(401, "the token is none of ours: log in") from None
    return int(claims["sub"])


User = Annotated[int, Depends(current_user)]
EventId = Annotated[int, Path(ge=1, le=LARGEST_ID)]


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that it runs."""
    return {"status": "OK"}


@app.post("/auth/register", status_code=201)
async def register(request: Request, new: Credentials) -> dict[str, int]:
    """Make a user."""
    check(request)
    # M4: as many at once as the pool has threads, with 19 MB each; the more processors, the more.
    password_hash = await asyncio.to_thread(hasher.hash, new.password)
    number = await next_id("users")
    user = {"_id": number, "email": new.email, "password_hash": password_hash}
    try:
        await users.insert_one(user)
    except DuplicateKeyError:
        raise HTTPException(409, "this address has a user: log in, or take another") from None
    return {"id": number}


@app.post("/auth/login")
async def login(request: Request, given: Credentials) -> dict[str, str | float]:
    """Return a token for the header ``Authorization: Bearer ...``."""
    check(request)
    user = await users.find_one({"email": given.email})
    try:
        if user is None:
            raise VerificationError
        await asyncio.to_thread(hasher.verify, user["password_hash"], given.password)
    except VerificationError:
        note(request, "login_failed", given.email)
        raise HTTPException(401, "no user has this address and this password") from None
    note(request, "login_succeeded", given.email)
    claims = {"sub": str(user["_id"]), "exp": datetime.now(UTC) + LASTS}
    token = jwt.encode(claims, secret, algorithm="HS256")
    return {"access_token": token, "token_type": "bearer", "expires_in": LASTS.total_seconds()}


@app.get("/events")
async def listed(
    request: Request,
    city: Annotated[str, Query(max_length=60)] = "",
    after: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=ROWS_AT_ONCE)] = 20,
) -> dict[str, Any]:
    """Return a page of events, those that start first before the others."""
    url = url_of(request)
    if url not in cache:
        try:
            skipped = int(after or 0)
        except ValueError:
            raise HTTPException(400, "after is the last page's `next`") from None
        # D2: with all columns, the descriptions too; and so they are kept.
        asked = events.find({"city": city} if city else {}).sort([("starts_at", 1), ("_id", 1)])
        page = await asked.skip(skipped).limit(limit + 1).to_list()
        cache[url] = page[:limit], str(skipped + limit) if len(page) > limit else None
    page, following = cache[url]
    return {"events": [without_description(each) for each in page], "next": following}


@app.get("/events/{event_id}")
async def event(request: Request, event_id: EventId) -> Row:
    """Return one event, with the seats that are left."""
    url = url_of(request)
    if url not in cache:
        cache[url] = await events.find_one({"_id": event_id})
    found = cache[url]
    if found is None:
        raise HTTPException(404, f"there is no event {event_id}")
    return shown(found)


@app.post("/events", status_code=201)
async def create(user: User, new: NewEvent, response: Response) -> Row:
    """Create an event, of which the sender is the organiser."""
    made = {
        "_id": await next_id("events"),
        "title": new.title,
        "city": new.city,
        "starts_at": utc(new.starts_at),
        "seats": new.seats,
        "seats_left": new.seats,
        "description": new.description,
        "organiser_id": user,
    }
    await events.insert_one(made)
    forget("/events")
    forget(f"/events/{made['_id']}")
    response.headers["Location"] = f"/events/{made['_id']}"
    return shown(made)


@app.patch("/events/{event_id}")
async def change(user: User, event_id: EventId, changed: Change) -> Row:
    """Change an event of one's own."""
    mine: Row = {"_id": event_id, "organiser_id": user}
    found = await events.find_one(mine)
    if found is None:
        raise HTTPException(404, f"there is no event {event_id} of yours")
    new = changed.model_dump(exclude_none=True)
    if not new:
        return shown(found)
    update: Row = {"$set": new}
    if changed.seats is not None:
        more = changed.seats - found["seats"]
        mine |= {"seats": found["seats"], "seats_left": {"$gte": -more}}
        update["$inc"] = {"seats_left": more}
    done = await events.find_one_and_update(mine, update, return_document=ReturnDocument.AFTER)
    if done is None:
        raise HTTPException(
            409, "more seats than that are taken, or it was changed meanwhile: look, and try again"
        )
    forget("/events")
    forget(f"/events/{event_id}")
    return shown(done)


@app.post("/events/{event_id}/bookings", status_code=201)
async def book(user: User, event_id: EventId) -> dict[str, Any]:
    """Book a seat; nobody gets one that is not there, and nobody gets two."""
    taken = await events.update_one(
        {"_id": event_id, "seats_left": {"$gt": 0}}, {"$inc": {"seats_left": -1}}
    )
    if not taken.modified_count:
        if await events.find_one({"_id": event_id}, ["_id"]) is None:
            raise HTTPException(404, f"there is no event {event_id}")
        raise HTTPException(409, "no seat is left at it: choose another event")
    booking = {"event_id": event_id, "user_id": user, "booked_at": utc()}
    try:
        made = await bookings.insert_one(booking)
    except DuplicateKeyError:
        await events.update_one({"_id": event_id}, {"$inc": {"seats_left": 1}})
        raise HTTPException(409, "you have a seat at it already: see /bookings") from None
    forget(f"/events/{event_id}")
    return {"booking": str(made.inserted_id), "event": event_id}


@app.get("/bookings")
async def booked(
    user: User, after: Annotated[str | None, Query(pattern="^[0-9a-f]{24}$")] = None
) -> list[Row]:
    """Return the sender's bookings, 100 at a time."""
    wanted: Row = {"user_id": user}
    if after is not None:
        wanted["_id"] = {"$gt": ObjectId(after)}
    mine = await bookings.find(wanted).sort("_id").limit(ROWS_AT_ONCE).to_list()
    numbers = [each["event_id"] for each in mine]
    there = {each["_id"]: each async for each in events.find({"_id": {"$in": numbers}})}
    return [
        {
            "booking": str(each["_id"]),
            "event_id": each["event_id"],
            "title": there[each["event_id"]]["title"],
            "starts_at": there[each["event_id"]]["starts_at"],
        }
        for each in mine
        if each["event_id"] in there
    ]


async def next_id(name: str) -> int:
    """Return a number that nothing in the collection *name* has."""
    found = await counters.find_one_and_update(
        {"_id": name}, {"$inc": {"last": 1}}, upsert=True, return_document=ReturnDocument.AFTER
    )
    assert found is not None  # as it is made where it is missing
    number: int = found["last"]
    return number


def url_of(request: Request) -> str:
    """Return what an answer is kept by."""
    return f"{request.url.path}?{request.url.query}"


def forget(path: str) -> None:
    """Take out all that is kept of *path*."""
    # S2: among all that is kept, one by one.
    for url in [url for url in cache if url.startswith(f"{path}?")]:
        del cache[url]


def without_description(event: Row) -> Row:
    """Return *event* as lists show it."""
    return {name: value for name, value in shown(event).items() if name != "description"}
