"""Registrations: a seat for each address, and never more of them than there are.

Who takes a seat counts it in the event's own row, by one statement that does nothing where none is
left. The row stays locked until the registration is stored with it, so that however many ask at
once, they take turns; and each of these transactions begins with that row, so that none waits for
another in a circle.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from fitflix.database import Row, cache, engine
from fitflix.events import Id, Text, not_found
from fitflix.tables import Event, Registration

#: Of one person, however it is written.
Email = Annotated[
    str,
    Field(pattern=r"^[^@\s\x00]+@[^@\s\x00]+$"),
    AfterValidator(str.lower),
    Field(max_length=254),
]

router = APIRouter(prefix="/events/{event_id}/registrations", tags=["registrations"])


class NewRegistration(BaseModel):
    """Somebody who wants a seat."""

    name: Text = Field(min_length=1, max_length=60)
    email: Email


class Withdrawal(BaseModel):
    """Somebody who gives a seat back."""

    email: Email = Field(description="as registered")


@router.post("", status_code=201)
async def register(event_id: Id, new: NewRegistration) -> Row:
    """Take a seat."""
    values = {"event_id": event_id, **new.model_dump()}
    try:
        async with engine.begin() as connection:
            await _take(connection, event_id)
            made = await connection.scalar(
                insert(Registration).values(values).returning(Registration.id)
            )
    except IntegrityError:
        raise HTTPException(409, f"{new.email} has a seat already") from None
    cache.invalidate(f"seats {event_id}")
    return {"id": made, **values}


@router.post("/{registration_id}/withdrawal", status_code=204)
async def withdraw(event_id: Id, registration_id: Id, who: Withdrawal) -> None:
    """Give a seat back; the address comes in the body, since URLs are kept in logs."""
    own = (
        Registration.id == registration_id,
        Registration.event_id == event_id,
        Registration.email == who.email,
    )
    give_back = (
        update(Event)
        .where(Event.id == event_id, exists().where(*own))
        .values(taken=Event.taken - 1)
    )
    async with engine.begin() as connection:
        given_back = await connection.execute(give_back)
        gone = await connection.execute(delete(Registration).where(*own))
        if not (given_back.rowcount and gone.rowcount):
            raise HTTPException(404, "there is no such registration")
    cache.invalidate(f"seats {event_id}")


async def _take(connection: AsyncConnection, event_id: int) -> None:
    """Count one more seat as taken; what else is done belongs to the same transaction."""
    take = (
        update(Event)
        .where(Event.id == event_id, Event.taken < Event.seats)
        .values(taken=Event.taken + 1)
    )
    if (await connection.execute(take)).rowcount:
        return
    if await connection.scalar(select(Event.id).where(Event.id == event_id)) is None:
        raise not_found(event_id)
    raise HTTPException(409, "all seats are taken: choose another event")
