"""What ``create_engine`` and ``create_async_engine`` are told.

===============================  ===============================================================
a URL's parameter                argument
===============================  ===============================================================
``connection_limit``             ``pool_size``, and ``max_overflow=0``, where the default is 10
``pool_timeout``                 ``pool_timeout``; for ever is None, where 0 would be at once
``max_connection_lifetime``      ``pool_recycle``; for ever is -1
``max_idle_connection_lifetime`` none: for whoever owns the engine
the others                       ``connect_args``: what the driver has for them
===============================  ===============================================================

``statement_cache_size`` bounds two caches with asyncpg, its own and that of SQLAlchemy. A SQLite
file has foreign keys checked, a write-ahead log, and waits for a lock as long as others do; a
database in memory has one connection, which stays. MySQL's arguments follow what its drivers
document.

A driver that the URL names, and that is for the other kind of engine, gives way to the usual one:
so one URL does for an asynchronous application and its migrations. Imports SQLAlchemy, no driver.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from tonnage.db.drivers import asyncpg, psycopg
from tonnage.db.drivers.durations import (
    answer_seconds,
    finite,
    lifetime_seconds,
    milliseconds,
    statement_seconds,
)
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

#: For engines without async, and for those with it: the usual driver first.
_SYNC: Final = {"postgresql": ("psycopg",), "sqlite": ("pysqlite",), "mysql": ("pymysql",)}
_ASYNC: Final = {
    "postgresql": ("asyncpg", "psycopg"),
    "sqlite": ("aiosqlite",),
    "mysql": ("aiomysql",),
}

_PACKAGES: Final = {
    "asyncpg": "'tonnage[sql,postgres]'",
    "psycopg": "'tonnage[sql,psycopg]'",
    "aiosqlite": "'tonnage[sql]'",
    "pymysql": "PyMySQL",
    "aiomysql": "aiomysql",
}


def arguments(
    url: DatabaseUrl, settings: DatabaseSettings, limit: int, *, is_async: bool
) -> dict[str, Any]:
    """Return the arguments of ``create_engine``, or of the asynchronous one, with ``url``.

    Raises:
        ConfigError: SQLAlchemy is not installed, or the URL has what the driver does not know.
    """
    driver = driver_of(url, is_async=is_async)
    lifetime = lifetime_seconds(url.pool, settings)
    found: dict[str, Any] = {
        "url": _address(url, driver),
        "pool_size": limit,
        "max_overflow": 0,
        "pool_timeout": url.pool.pool_timeout_seconds,
        "pool_recycle": -1 if math.isinf(lifetime) else math.ceil(lifetime),
        # The last one used is the next: so the others become idle, and can be closed.
        "pool_use_lifo": True,
        # A statement in an error or in the log, without the values in it.
        "hide_parameters": True,
    }
    listeners: list[tuple[Callable[..., None], str]] = []
    if driver == "asyncpg":
        found["connect_args"] = _asyncpg(url, settings)
    elif driver == "psycopg":
        found["connect_args"] = psycopg.connect_arguments(url, settings)
        listeners = [(_on_driver(psycopg.configured(url, settings)), "connect")]
    elif url.dialect == "sqlite":
        found["connect_args"] = {"timeout": finite(settings.lock_timeout_seconds)}
        listeners = [(_with_rules(url), "connect")]
        if url.is_in_memory:
            found |= _in_memory(is_async=is_async)
    else:
        found["connect_args"] = _mysql(url, settings, driver)
    return {**found, "pool_events": listeners} if listeners else found


def driver_of(url: DatabaseUrl, *, is_async: bool) -> str:
    """Return the driver of an engine: the one that the URL names, if it can be of this kind.

    Raises:
        ConfigError: none is installed.
    """
    drivers = (_ASYNC if is_async else _SYNC)[url.dialect]
    if url.driver in drivers:
        drivers = (url.driver,)
    for driver in drivers:
        if driver == "pysqlite" or find_spec(driver):
            return driver
    raise ConfigError(
        f"an engine for {url.shown} needs {drivers[0]}: pip install {_PACKAGES[drivers[0]]}"
    )


def _address(url: DatabaseUrl, driver: str) -> URL:
    """Return what SQLAlchemy shall know of the URL; PostgreSQL's drivers read the whole of it."""
    try:
        from sqlalchemy import URL, make_url
    except ImportError:
        raise ConfigError("an engine needs SQLAlchemy: pip install 'tonnage[sql]'") from None
    if url.dialect != "postgresql":
        return make_url(url.address).set(drivername=f"{url.dialect}+{driver}")
    parts = urlsplit(url.address)
    has_one_host = "," not in parts.netloc and "%" not in (parts.hostname or "")
    return URL.create(
        f"postgresql+{driver}",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        host=parts.hostname or None if has_one_host else None,
        port=parts.port if has_one_host else None,
        database=unquote(parts.path[1:]) or None,
    )


def _asyncpg(url: DatabaseUrl, settings: DatabaseSettings) -> dict[str, Any]:
    found = asyncpg.connect_arguments(url, settings)
    found["prepared_statement_cache_size"] = url.pool.statement_cache_size
    if url.pool.is_pgbouncer:
        # Else a statement would have the name of another client's in the same server process.
        found["prepared_statement_name_func"] = _unique_name
    return found


def _unique_name() -> str:
    from uuid import uuid4

    return f"__tonnage_{uuid4().hex}__"


def _mysql(url: DatabaseUrl, settings: DatabaseSettings, driver: str) -> dict[str, Any]:
    # MariaDB's name of the second limit, and its unit, are others; each server takes the comment
    # of the other for one.
    statement = milliseconds(statement_seconds(url.pool, settings))
    rules = (
        f"SET SESSION innodb_lock_wait_timeout={max(1, math.ceil(settings.lock_timeout_seconds))}"
        f" /*!50708 , SESSION max_execution_time={statement} */"
        f" /*M!100101 , SESSION max_statement_time={statement / 1000:g} */"
    )
    own = url.options.get("init_command")
    found: dict[str, Any] = {
        "connect_timeout": max(1, math.ceil(url.pool.connect_timeout_seconds)),
        "init_command": own or rules,
    }
    if driver == "pymysql":
        # aiomysql has no such arguments.
        found["read_timeout"] = found["write_timeout"] = answer_seconds(url.pool, settings)
    return found


def _in_memory(*, is_async: bool) -> dict[str, Any]:
    """Return what keeps the one connection of a database that would end with it."""
    from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

    return {
        "poolclass": AsyncAdaptedQueuePool if is_async else QueuePool,
        "pool_size": 1,
        "pool_recycle": -1,
        "connect_args": {"check_same_thread": False},
    }


def _on_driver(configure: Callable[[Any], None]) -> Callable[..., None]:
    """Return what has *configure* see the driver's own connection, also that of an async one."""

    def connected(connection: object, record: Any) -> None:
        configure(record.driver_connection)

    return connected


def _with_rules(url: DatabaseUrl) -> Callable[..., None]:
    import sqlite3

    def connected(connection: Any, record: object) -> None:
        cursor = connection.cursor()
        try:
            # SQLite checks none unless each connection says so.
            cursor.execute("PRAGMA foreign_keys=ON")
            if not url.is_in_memory:
                # Readers and the writer do not wait for each other.
                cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # A file that may only be read stays as it is; one that another has locked just now,
            # most likely to do the same, does until the next connection.
            as_it_is = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY)
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in as_it_is:
                raise
        finally:
            cursor.close()

    return connected
