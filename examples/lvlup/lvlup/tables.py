"""LvlUp's database: its tables, and a few connections to ask it with.

SQLite in ``data/``, or the PostgreSQL that ``DATABASE_URL`` names. What is written goes through the
writers of ``ingest.py``, which have a connection of their own each.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TextClause,
)
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tonnage import Heartbeats

DATA = Path(os.environ.get("LVLUP_DATA", Path(__file__).parents[1] / "data"))
URL = os.environ.get("DATABASE_URL") or f"sqlite:///{DATA / 'lvlup.sqlite3'}"
IS_POSTGRES = URL.startswith("postgres")
CONNECTIONS = 3

DATA.mkdir(parents=True, exist_ok=True)

GAME = String(60)
PLAYER = String(60)

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("game", GAME, nullable=False),
    Column("player", PLAYER, nullable=False),
    Column("name", String(60), nullable=False),
    Column("properties", JSON),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("events_of_a_day", "game", "at"),
)

revenue = Table(
    "revenue",
    metadata,
    # Of the shop: so a purchase that is told of twice counts once.
    Column("purchase", String(80), primary_key=True),
    Column("game", GAME, nullable=False),
    Column("player", PLAYER, nullable=False),
    Column("product", String(60), nullable=False),
    Column("cents", Integer, CheckConstraint("cents > 0"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("revenue_of_a_day", "game", "at"),
)

sessions = Heartbeats.table(metadata, Column("game", GAME), Column("player", PLAYER))


def _engine() -> AsyncEngine:
    if IS_POSTGRES:
        # Each prepared statement that a connection remembers is memory.
        few = {"statement_cache_size": 16, "prepared_statement_cache_size": 16}
        url = "postgresql+asyncpg" + URL[URL.index(":") :]
        return create_async_engine(
            url, pool_size=CONNECTIONS, max_overflow=0, connect_args=few, pool_recycle=300
        )
    return create_async_engine(
        URL.replace("sqlite:", "sqlite+aiosqlite:"), pool_size=CONNECTIONS, max_overflow=0
    )


# It connects when it is used, which is after the fork.
engine = _engine()


async def prepare() -> None:
    """Make the tables that are not there."""
    async with engine.begin() as connection:
        if not IS_POSTGRES:
            # Readers do not hold up those who write.
            await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        await connection.run_sync(metadata.create_all)


class AwayError(Exception):
    """The database does not answer; it may in a while."""


async def ask(query: TextClause, **values: Any) -> list[dict[str, Any]]:
    """Return the rows of *query*, which has a LIMIT, or groups that are few.

    Raises:
        AwayError: the database is away, or all connections are taken for long.
    """
    try:
        async with engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(query, values)).mappings()]
    except (OSError, TimeoutError, OperationalError, InterfaceError) as error:
        raise AwayError from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise AwayError from error
        raise
