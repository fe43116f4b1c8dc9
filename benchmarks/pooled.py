"""An application whose every request asks PostgreSQL for something that takes a while.

=================  ================================================================
``DATABASE_URL``   the database
``POOLED``         by what: ``plain`` (SQLAlchemy with its default pool), ``engine``
                   (:func:`tonnage.db.async_engine`), ``threads`` (:func:`tonnage.db.engine`),
                   ``async_pool`` or ``pool`` (Tonnage's, of asyncpg and of psycopg)
``POOLED_NAME``    what all are called at the server, so that they can be counted there
=================  ================================================================

Importing this makes a pool: for a server, and for nobody else.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI

ASK = "SELECT pg_sleep({seconds})"

_url = os.environ.get("DATABASE_URL", "postgresql://localhost/postgres")
_name = os.environ.get("POOLED_NAME", "pooled")
_way = os.environ.get("POOLED", "engine")
_named = f"{_url}{'&' if '?' in _url else '?'}application_name={_name}"


def _plain() -> Callable[[str], Awaitable[Any]]:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(
        _url.replace("postgresql:", "postgresql+asyncpg:"),
        connect_args={"server_settings": {"application_name": _name}},
    )

    async def ask(statement: str) -> Any:
        async with engine.connect() as connection:
            return (await connection.execute(text(statement))).scalar()

    return ask


def _engine() -> Callable[[str], Awaitable[Any]]:
    from sqlalchemy import text

    from tonnage import db

    engine = db.async_engine(_named)

    async def ask(statement: str) -> Any:
        async with engine.connect() as connection:
            return (await connection.execute(text(statement))).scalar()

    return ask


def _threads() -> Callable[[str], Awaitable[Any]]:
    from sqlalchemy import text
    from starlette.concurrency import run_in_threadpool

    from tonnage import db

    engine = db.engine(_named)

    def ask(statement: str) -> Any:
        with engine.connect() as connection:
            return connection.execute(text(statement)).scalar()

    return lambda statement: run_in_threadpool(ask, statement)


def _async_pool() -> Callable[[str], Awaitable[Any]]:
    from tonnage import db

    return db.async_pool(_named).fetchval


def _pool() -> Callable[[str], Awaitable[Any]]:
    from starlette.concurrency import run_in_threadpool

    from tonnage import db

    pool = db.pool(_named)

    def ask(statement: str) -> Any:
        with pool.connection() as connection:
            return connection.execute(statement).fetchone()

    return lambda statement: run_in_threadpool(ask, statement)


_WAYS = {
    "plain": _plain,
    "engine": _engine,
    "threads": _threads,
    "async_pool": _async_pool,
    "pool": _pool,
}
_ask = _WAYS[_way]()

app = FastAPI()


@app.get("/")
async def root() -> dict[str, str]:
    """Do next to nothing."""
    return {"hello": "world"}


@app.get("/ask")
async def ask(ms: int = 20) -> dict[str, str]:
    """Hold a connection for *ms* milliseconds."""
    await _ask(ASK.format(seconds=ms / 1000))
    return {"asked": "yes"}


@app.get("/connections")
async def connections() -> dict[str, int]:
    """Return how many connections there are, as the originals' metrics say it."""
    from tonnage.db import db_connections

    return {"dbConnections": db_connections()}
