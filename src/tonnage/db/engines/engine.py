"""SQLAlchemy's engines, with bounds.

    engine = db.async_engine()                    # DATABASE_URL; db.engine() without async
    async with engine.connect() as connection:
        rows = (await connection.execute(select(Event).limit(50))).all()

Promises: what is returned is SQLAlchemy's own Engine or AsyncEngine, to be used as ever. Its pool
is :mod:`tonnage.db.engines.boundedpool`: one in each worker, opened at the first use, so that an
engine may be made when the application is imported; limits, waits and lifetimes as the URL and the
options say. Its queries have bounds too, and slow ones are logged (:mod:`tonnage.db.guard`). The
pool is shown in :func:`tonnage.db.statistics` and gives memory back under pressure.

Engines of another making are not touched. Bounded: a pool for each engine; make one for each
database, not one for each request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tonnage.db.urls import DatabaseUrl, UrlLike
    from tonnage.settings import DatabaseSettings

#: Compiled statements that SQLAlchemy keeps for an engine; its own is 500, at some 10 KB each.
MOST_COMPILED: Final = 128
#: What SQLAlchemy calls the settings of its own pools, and where ours come from.
_OURS: Final = {
    "max_overflow": "there is none: raise connection_limit in the URL",
    "pool_recycle": "use max_connection_lifetime in the URL",
    "pool_pre_ping": "connections are tested anyway, where they may have died",
    "pool_use_lifo": "it is so",
    "poolclass": "for another pool, use SQLAlchemy's create_engine",
    "pool": "for another pool, use SQLAlchemy's create_engine",
    "pool_timeout": "use pool_timeout in the URL",
    "pool_size": "use connection_limit in the URL",
}


def engine(
    url: UrlLike | None = None,
    *,
    name: str = "database",
    max_rows: int | None = None,
    max_bytes: int | None = None,
    guard: str | None = None,
    slow_seconds: float | None = None,
    **passed_on: Any,
) -> Engine:
    """Return an engine for code that may block: threads, scripts, Flask.

    Args:
        url: of the database, with limits as in ``?connection_limit=5&pool_timeout=20``, as text or
            as SQLAlchemy's ``URL``; by default what DATABASE_URL says.
        name: for logs and statistics.
        max_rows: how many rows one query may load at once; by default ``--max-query-rows``.
        max_bytes: how large these may be, in bytes; by default ``--max-query-bytes``.
        guard: what happens to a query that would load more: ``stop``, ``warn`` or ``off``.
        slow_seconds: a query that takes longer is logged.
        passed_on: further arguments of :func:`sqlalchemy.create_engine`.

    Raises:
        ConfigError: SQLAlchemy or the driver is missing, or an argument makes no sense.
    """
    given = max_rows, max_bytes, guard, slow_seconds
    return _make(url, name, given, passed_on, is_async=False)


def async_engine(
    url: UrlLike | None = None,
    *,
    name: str = "database",
    max_rows: int | None = None,
    max_bytes: int | None = None,
    guard: str | None = None,
    slow_seconds: float | None = None,
    **passed_on: Any,
) -> AsyncEngine:
    """Return an engine for code in an event loop: FastAPI and its like.

    Args:
        url: as for :func:`engine`.
        name: for logs and statistics.
        max_rows: as for :func:`engine`.
        max_bytes: as for :func:`engine`.
        guard: as for :func:`engine`.
        slow_seconds: as for :func:`engine`.
        passed_on: further arguments of :func:`sqlalchemy.ext.asyncio.create_async_engine`.

    Raises:
        ConfigError: as :func:`engine`.
    """
    given = max_rows, max_bytes, guard, slow_seconds
    made = _make(url, name, given, passed_on, is_async=True)
    from sqlalchemy.ext.asyncio import AsyncEngine

    return AsyncEngine(made)


def _make(
    text: UrlLike | None,
    name: str,
    given_bounds: tuple[int | None, int | None, str | None, float | None],
    passed_on: dict[str, Any],
    *,
    is_async: bool,
) -> Engine:
    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.settings import current
    from tonnage.db.urls import wanted_url

    settings = current()
    bounds = Bounds.of(settings, *given_bounds)
    for argument, instead in _OURS.items():
        if argument in passed_on:
            raise ConfigError(f"an engine of Tonnage takes no {argument}: {instead}")
    url = wanted_url(text)
    given = _arguments(url, settings, passed_on, is_async=is_async)

    from tonnage.db.engines.asyncpool import AsyncBoundedPool
    from tonnage.db.engines.boundedpool import BoundedPool
    from tonnage.db.engines.events import EngineEvents
    from tonnage.db.guard import watch
    from tonnage.db.pooling.keeper import Keeper

    keeper = Keeper("sqlalchemy", name, url, settings, is_async=is_async)
    made = _create(
        given | {"poolclass": AsyncBoundedPool if is_async else BoundedPool, "keeper": keeper},
        is_async=is_async,
    )
    EngineEvents(keeper).listen(made)
    keeper.show(url.shown)
    watch(made, bounds)
    return made


def _arguments(
    url: DatabaseUrl, settings: DatabaseSettings, passed_on: dict[str, Any], *, is_async: bool
) -> dict[str, Any]:
    """Return what SQLAlchemy is told, but for the pool."""
    from tonnage.db.drivers.sqlalchemy import arguments

    found = arguments(url, settings, url.pool.connection_limit or 1, is_async=is_async)
    connecting = {**found.get("connect_args", {}), **passed_on.pop("connect_args", {})}
    events = [*found.pop("pool_events", []), *passed_on.pop("pool_events", [])]
    kept = {key: value for key, value in found.items() if key not in _OURS}
    return {
        "query_cache_size": MOST_COMPILED,
        **kept,
        "connect_args": connecting,
        "pool_events": events,
        **passed_on,
    }


def _create(given: dict[str, Any], *, is_async: bool) -> Engine:
    from sqlalchemy.exc import ArgumentError

    try:
        if is_async:
            from sqlalchemy.ext.asyncio import create_async_engine

            return create_async_engine(**given).sync_engine
        from sqlalchemy import create_engine

        return create_engine(**given)
    except ModuleNotFoundError as error:
        raise ConfigError(_missing(given["url"].drivername, error)) from error
    except (ArgumentError, TypeError) as error:
        raise ConfigError(f"no engine can be made: {error}") from error


def _missing(driver: str, error: ModuleNotFoundError) -> str:
    extras = {"asyncpg": "postgres", "psycopg": "psycopg", "aiosqlite": "sql", "greenlet": "sql"}
    extra = extras.get(error.name or "")
    how = f"'tonnage[{extra}]'" if extra else error.name
    return f"{driver} needs {error.name}: pip install {how}"
