"""Pools of plain connections, without SQLAlchemy: psycopg's for threads, asyncpg's for event loops.

    pool = db.pool()              # see tonnage.db.pools.threads
    pool = db.async_pool()        # see tonnage.db.pools.tasks

Promises: each imports its driver when it is made, and nothing else; no connection is opened then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.pools.tasks import AsyncPool
    from tonnage.db.pools.threads import Pool
    from tonnage.db.urls import DatabaseUrl, UrlLike
    from tonnage.settings import DatabaseSettings


def pool(
    url: UrlLike | None = None,
    *,
    name: str = "database",
    max_rows: int | None = None,
    max_bytes: int | None = None,
    guard: str | None = None,
    slow_seconds: float | None = None,
) -> Pool:
    """Return a pool of psycopg's connections, for code that may block: threads, scripts, Flask.

    Args:
        url: of a PostgreSQL, with limits as in ``?connection_limit=5&pool_timeout=20``; by default
            what DATABASE_URL says.
        name: for logs and statistics.
        max_rows: how many rows one query may load at once; by default ``--max-query-rows``.
        max_bytes: how large these may be, in bytes; by default ``--max-query-bytes``.
        guard: what happens to a query that would load more: ``stop``, ``warn`` or ``off``.
        slow_seconds: a query that takes longer is logged.

    Raises:
        ConfigError: psycopg is missing, or an argument makes no sense.
    """
    settled = _settled(url, "psycopg", max_rows, max_bytes, guard, slow_seconds)
    from tonnage.db.pools.threads import Pool

    return Pool(name, *settled)


def async_pool(
    url: UrlLike | None = None,
    *,
    name: str = "database",
    max_rows: int | None = None,
    max_bytes: int | None = None,
    guard: str | None = None,
    slow_seconds: float | None = None,
) -> AsyncPool:
    """Return a pool of asyncpg's connections, for code in an event loop: FastAPI and its like.

    Args:
        url: as for :func:`pool`.
        name: for logs and statistics.
        max_rows: as for :func:`pool`.
        max_bytes: as for :func:`pool`.
        guard: as for :func:`pool`.
        slow_seconds: as for :func:`pool`.

    Raises:
        ConfigError: asyncpg is missing, or an argument makes no sense.
    """
    settled = _settled(url, "asyncpg", max_rows, max_bytes, guard, slow_seconds)
    from tonnage.db.pools.tasks import AsyncPool

    return AsyncPool(name, *settled)


def _settled(
    text: UrlLike | None, driver: str, *given: Any
) -> tuple[DatabaseUrl, DatabaseSettings, Bounds]:
    """Return where the database is, what the options say, and the bounds; *driver* is there."""
    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.settings import current
    from tonnage.db.urls import wanted_url
    from tonnage.stores.sinks.onlyone import needed

    url = wanted_url(text)
    # Whichever driver the URL names: one URL does for all of a program, as with engines.
    if url.dialect != "postgresql":
        raise ConfigError(f"{url.shown} is no database for {driver}: use db.engine() for it")
    needed(driver, {"asyncpg": "postgres"}.get(driver, driver))
    settings = current()
    return url, settings, Bounds.of(settings, *given)
