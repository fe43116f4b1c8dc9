"""Who may log in to Eventide, and what is done about those who guess.

A password is kept as its Argon2 hash, a log-in is a signed token that is good for 12 hours. Each
attempt is told to the monitor: five that fail, and an address waits for 15 minutes. What it has
seen is at ``/security/events``, for operators.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import HashingError, VerificationError, VerifyMismatchError
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, Field
from pymongo.errors import DuplicateKeyError

from eventide.database import next_id, users
from tonnage import SecurityMonitor

LASTS = timedelta(hours=12)

# OWASP's second choice: 19 MB for each attempt, not the 64 MB that are the default. One at a time:
# else ten attempts at once would take 190 MB. Who waits for a turn holds no thread, so that a storm
# of log-ins leaves the threads to those who look at events.
hasher = PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)
hashing = asyncio.Lock()

# The last 1,000 events; one that outlives each worker, and knows what the others have seen.
monitor = SecurityMonitor(keep=1000)
# Made at the import, so that all workers have the same; a name for all instances is to be set.
secret = os.environ.get("EVENTIDE_SECRET") or secrets.token_hex(32)

accounts = APIRouter(tags=["accounts"])
# What is compared where there is no such user, so that the answer takes as long.
nobodys_hash = hasher.hash(secrets.token_hex(16))

#: Of one person, however it is written.
Email = Annotated[
    str, Field(pattern=r"^[^@\s]+@[^@\s]+$"), AfterValidator(str.lower), Field(max_length=254)
]


class Credentials(BaseModel):
    """What somebody logs in with."""

    email: Email
    password: str = Field(min_length=10, max_length=128)


@accounts.post("/auth/register", status_code=201)
async def register(request: Request, new: Credentials) -> dict[str, int]:
    """Make a user."""
    monitor.check(request)
    async with hashing:
        password_hash = await asyncio.to_thread(_hashed, new.password)
    number = await next_id("users")
    user = {"_id": number, "email": new.email, "password_hash": password_hash}
    try:
        await users.insert_one(user)
    except DuplicateKeyError:
        raise HTTPException(409, "this address has a user: log in, or take another") from None
    return {"id": number}


@accounts.post("/auth/login")
async def login(request: Request, given: Credentials) -> dict[str, str | float]:
    """Return a token for the header ``Authorization: Bearer ...``."""
    monitor.check(request)
    user = await users.find_one({"email": given.email})
    password_hash = nobodys_hash if user is None else user["password_hash"]
    async with hashing:
        is_right = await asyncio.to_thread(_is_right, password_hash, given.password)
    is_right = is_right and user is not None
    monitor.attempt(request, user=given.email, succeeded=is_right)
    if not is_right:
        raise HTTPException(401, "no user has this address and this password")
    assert user is not None
    claims = {"sub": str(user["_id"]), "exp": datetime.now(UTC) + LASTS}
    token = jwt.encode(claims, secret, algorithm="HS256")
    return {"access_token": token, "token_type": "bearer", "expires_in": LASTS.total_seconds()}


def _hashed(password: str) -> str:
    try:
        return hasher.hash(password)
    except HashingError as error:
        raise MemoryError(f"{error}") from None


def _is_right(password_hash: str, password: str) -> bool:
    """Return whether it is; where there is no memory to find out, nobody has guessed wrong."""
    try:
        return hasher.verify(password_hash, password)
    except VerifyMismatchError:
        return False
    except VerificationError as error:
        raise MemoryError(f"{error}") from None


def _current_user(
    request: Request, given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> int:
    """Return the number of who sent the request; one who is logged in is never kept waiting."""
    try:
        claims = jwt.decode(given.credentials, secret, algorithms=["HS256"])
    except jwt.ExpiredSignatureError:
        raise HTTPException(401, "the token has expired: log in again") from None
    except jwt.InvalidTokenError as error:
        monitor.check(request)
        monitor.suspicious(request, "forged token", detail=type(error).__name__)
        raise HTTPException(401, "the token is none of ours: log in") from None
    return int(claims["sub"])


User = Annotated[int, Depends(_current_user)]
