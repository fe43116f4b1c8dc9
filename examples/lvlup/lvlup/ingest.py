"""What games send: events, purchases, and signs of life of those who play.

Each comes in a request of its own and is stored with many others, by a writer that holds 1,000 of
them at most. An event for which there is no room is dropped and counted: a gap in a statistic. A
purchase is money: it is on the disk before the game is told that it was taken, and stays there
until the database has it.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path
from pydantic import BaseModel, Field, FiniteFloat

from lvlup.database import DATA, URL, engine
from lvlup.tables import sessions
from tonnage import BatchWriter, Heartbeats
from tonnage.errors import SpoolError, WriterFullError
from tonnage.sinks import PostgresSink, Sink, SqlSink

Game = Annotated[str, Path(pattern=r"^[\w.-]{1,60}$")]
Session = Annotated[str, Path(pattern=r"^[\w.-]{8,80}$")]
Player = Annotated[str, Field(pattern=r"^[\w.-]{1,60}$")]
#: Texts of PostgreSQL have no character 0: what it would refuse later is refused here.
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Name = Annotated[Text, Field(min_length=1, max_length=60)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Value = Annotated[Text, Field(max_length=200)] | Whole | FiniteFloat | bool | None

# By then the writer has tried again, where the database is back.
RETRY_SECONDS = 5

logger = logging.getLogger("lvlup")


class Event(BaseModel):
    """Something that a player has done."""

    player: Player
    name: Name
    properties: dict[Name, Value] = Field(default={}, max_length=20)


class Beat(BaseModel):
    """Somebody plays."""

    player: Player


class Purchase(BaseModel):
    """Something that a player has paid for."""

    purchase: str = Field(pattern=r"^[!-~]{8,80}$", description="the shop's own number of it")
    player: Player
    product: Name
    cents: int = Field(gt=0, le=1_000_000)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


def _sink(table: str, id_column: str | None = None) -> Sink:
    if engine.dialect.name == "postgresql":
        return PostgresSink(URL, table, id_column=id_column)
    return SqlSink(URL, table, id_column=id_column)


events = BatchWriter("events", _sink("events"), max_records=1000, flush_seconds=5)
revenue = BatchWriter(
    "revenue",
    _sink("revenue", "purchase"),
    max_records=1000,
    flush_seconds=5,
    durable=True,
    spool_dir=DATA / "spool",
    spool_bytes="64M",
)
# A session that has been silent for 2 minutes has ended with its last sign of life; each 2 minutes
# up to 100 of those are ended. The database counts, so any worker may do it.
heartbeats = Heartbeats(
    URL,
    sessions,
    max_sessions=1000,
    on_end=lambda ended: logger.info("session %s: %d s", ended.id, ended.duration_seconds),
)

ingest = APIRouter(tags=["ingest"])


@ingest.post("/games/{game}/events", status_code=202)
async def take_events(
    game: Game, new: Annotated[list[Event], Field(max_length=100)]
) -> dict[str, int]:
    """Take up to 100 events."""
    now = datetime.now(UTC)
    return {
        "taken": await events.add_many(
            {"game": game, "at": now, **event.model_dump()} for event in new
        )
    }


@ingest.post("/games/{game}/revenue", status_code=202)
async def take_purchase(game: Game, new: Purchase) -> dict[str, Any]:
    """Take a purchase, which is safe once this has answered; the same one again counts once."""
    try:
        await revenue.add({"game": game, "at": datetime.now(UTC), **new.model_dump()})
    except (WriterFullError, SpoolError):
        reason = "not taken: too many purchases wait for the database, or the disk is broken"
        raise HTTPException(503, reason, {"Retry-After": f"{RETRY_SECONDS}"}) from None
    return {"purchase": new.purchase}


@ingest.post("/games/{game}/sessions/{session}/beat", status_code=202)
async def take_beat(game: Game, session: Session, beat: Beat) -> dict[str, bool]:
    """Note that a session is being played."""
    return {"taken": await heartbeats.beat(session, game=game, player=beat.player)}
