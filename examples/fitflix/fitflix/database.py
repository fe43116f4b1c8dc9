"""FitFlix's database: PostgreSQL or SQLite, as ``DATABASE_URL`` says; else SQLite in ``data/``.

A connection is held for as long as a statement takes, not for as long as a request does: so three
are enough for many. What many ask for is kept for 5 minutes, or until somebody changes it; where
``REDIS_URL`` names a Redis, for all instances.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable
from pathlib import Path
from typing import Any, TypeVar

from pydantic_core import to_jsonable_python
from sqlalchemy import Select

from tonnage import Cache, db

T = TypeVar("T")
Row = dict[str, Any]

#: What an ``id`` of ours can count to.
LARGEST_ID = 2**31 - 1

# It connects when it is used, in each worker.
engine = db.async_engine()
if engine.dialect.name == "sqlite":
    # Nothing to set up for a first look; elsewhere `tonnage db migrate` is a step of the deploy.
    db.migrate(Path(__file__).with_name("migrations"))

# Each worker has its own (there is one, unless the options say otherwise); they forget together.
# What Redis has is JSON, and so is what is kept here, that both are the same.
cache: Cache[Any] = Cache("fitflix", max_entries=100, max_bytes="8M", ttl="5m")


async def rows(statement: Select[Any]) -> list[Row]:
    """Return what is found: no more than the guard on the engine lets through."""
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(statement)).mappings()]


async def kept(
    name: Hashable,
    load: Callable[[], Awaitable[T]],
    tags: Collection[str] = (),
    ttl: float | None = None,
) -> T:
    """Return what is kept under *name*, else what *load* loads; as JSON has it: times as text."""

    async def load_as_json() -> Any:
        return to_jsonable_python(await load())

    found: T = await cache.get_or_await(name, load_as_json, tags=tags, ttl=ttl)
    return found


async def kept_rows(
    name: Hashable, statement: Select[Any], tags: Collection[str] = (), ttl: float | None = None
) -> list[Row]:
    """Return what is found, or was found under *name* and is kept."""
    return await kept(name, lambda: rows(statement), tags, ttl)
