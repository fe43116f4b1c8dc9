"""For applications that make a driver's pool by themselves: what it is told.

    pool = await asyncpg.create_pool(**db.arguments_for("asyncpg"))

Promises: a URL with Prisma's names does for each of these, with the limits and time-outs that the
options say; what a pool has no argument for is said in its table (:mod:`tonnage.db.drivers`).

What is made of it is the application's own: it is not in ``db.statistics()``, its queries are not
bounded, and it has no part in what other pools share. Without a ``connection_limit`` in the URL its
limit is the whole share of a worker, which is known only in a worker: ask there, not at import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tonnage.db.settings import current, share
from tonnage.db.urls import wanted_url
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from tonnage.db.urls import UrlLike

PoolKind = Literal["asyncpg", "psycopg_pool", "sqlalchemy", "sqlalchemy-async", "pymongo"]


def arguments_for(kind: PoolKind, url: UrlLike | None = None) -> dict[str, Any]:
    """Return the keyword arguments of a driver's own pool; the database's address is among them.

    Args:
        kind: ``asyncpg`` for ``asyncpg.create_pool``, ``psycopg_pool`` for ``ConnectionPool``,
            ``sqlalchemy`` for ``create_engine``, ``sqlalchemy-async`` for ``create_async_engine``,
            ``pymongo`` for ``AsyncMongoClient`` and ``MongoClient``.
        url: of the database; by default what DATABASE_URL or MONGO_URL says.

    Raises:
        ConfigError: the URL makes no sense, or is of a database that is not for this *kind*.
    """
    found, settings = wanted_url(url, for_mongo=kind == "pymongo"), current()
    limit = found.pool.connection_limit or share()
    if kind == "sqlalchemy" or kind == "sqlalchemy-async":
        from tonnage.db.drivers import sqlalchemy

        return sqlalchemy.arguments(found, settings, limit, is_async=kind == "sqlalchemy-async")
    if kind == "pymongo":
        from tonnage.db.drivers import pymongo

        return pymongo.arguments(found, settings, limit)
    if kind not in ("asyncpg", "psycopg_pool"):
        raise ConfigError(
            "arguments are for asyncpg, psycopg_pool, sqlalchemy, sqlalchemy-async or pymongo, not"
            f" {kind!r:.40}"
        )
    if found.dialect != "postgresql":
        raise ConfigError(f"{found.shown} is no database for {kind}, which is for PostgreSQL")
    if kind == "asyncpg":
        from tonnage.db.drivers import asyncpgpool

        return asyncpgpool.arguments(found, settings, limit)
    from tonnage.db.drivers import psycopgpool

    return psycopgpool.arguments(found, settings, limit)
