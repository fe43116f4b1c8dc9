"""Databases with bounds: pools from the plan, queries that load no more than they may.

    from tonnage import db

    engine = db.async_engine()              # DATABASE_URL; or db.engine() without async
    async with engine.connect() as connection:
        page = await db.page(connection, select(Event).order_by(Event.starts_at), after=cursor)

===========================  =====================================================================
``db.engine(url)``           SQLAlchemy's Engine, with bounds
``db.async_engine(url)``     the same, asynchronous
``db.pool(url)``             a pool of psycopg's connections
``db.async_pool(url)``       a pool of asyncpg's connections
``db.mongo(url)``            PyMongo's asynchronous client
``db.page(...)``             a page of a ``select()``, by keyset: see :mod:`tonnage.db.paging`
``db.page_of(...)``          the same by number
``db.PageQuery``             what a client asks of a page, as a dependency of FastAPI
``db.only(Model, "id")``     a ``select()`` of these columns
``db.stream(...)``           rows as they come, with a server-side cursor
``db.statistics()``          connections of every pool of this process
``db.db_connections()``      how many they are, in one number
``db.arguments_for(kind)``   what a driver's own pool is told, for who makes one by himself
``db.driver_url(url)``       ``DATABASE_URL`` as drivers and sinks take it
``db.migrate(directory)``    Alembic's migrations, one process at a time
===========================  =====================================================================

Importing the package costs nothing: each name is loaded when it is used, with the extra it needs.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from tonnage.db.arguments import arguments_for
    from tonnage.db.engines.engine import async_engine, engine
    from tonnage.db.migrations import migrate
    from tonnage.db.mongodb.client import mongo
    from tonnage.db.paging.offset import page_of
    from tonnage.db.paging.only import only
    from tonnage.db.paging.pages import page
    from tonnage.db.paging.web import PageQuery
    from tonnage.db.pooling.counting import db_connections, statistics
    from tonnage.db.pools import async_pool, pool
    from tonnage.db.streaming import stream
    from tonnage.db.urls import driver_url

__all__ = [
    "PageQuery",
    "arguments_for",
    "async_engine",
    "async_pool",
    "db_connections",
    "driver_url",
    "engine",
    "migrate",
    "mongo",
    "only",
    "page",
    "page_of",
    "pool",
    "statistics",
    "stream",
]

_WHERE = {
    "arguments_for": "arguments",
    "async_engine": "engines.engine",
    "async_pool": "pools",
    "db_connections": "pooling.counting",
    "driver_url": "urls",
    "engine": "engines.engine",
    "migrate": "migrations",
    "mongo": "mongodb.client",
    "only": "paging.only",
    "PageQuery": "paging.web",
    "page": "paging.pages",
    "page_of": "paging.offset",
    "pool": "pools",
    "statistics": "pooling.counting",
    "stream": "streaming",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'tonnage.db' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"tonnage.db.{_WHERE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
