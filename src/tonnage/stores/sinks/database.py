"""A database by way of SQLAlchemy, for what runs in the event loop of all stores.

    database = Database("sqlite:///events.db")
    rows = await database.run(lambda connection: connection.execute(query).all())

Promises: what is run sees one connection and is one transaction, whole or not at all, also where
who waits for it is cancelled. An asynchronous engine runs in the event loop, any other in a thread.
One thing at a time: one connection, and one for each thread whose work was given up and has not
ended; these are as many as the event loop has threads. A forked process leaves its parent's
connection alone.

An engine of the application's own keeps its settings. Where it is asynchronous, its pool belongs to
the application's event loop, so that a pool of the same kind is made for this one.
Does not try again; a lost connection is found out by who uses it, and replaced for the next.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from tonnage.errors import ConfigError
from tonnage.stores.sinks.onlyone import needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine, Pool
    from sqlalchemy.ext.asyncio import AsyncEngine

R = TypeVar("R")

CONNECT_SECONDS: Final = 10.0
#: Statements that asyncpg and SQLAlchemy keep prepared for a connection; theirs is 100.
MOST_STATEMENTS: Final = 16
#: Compiled statements that SQLAlchemy keeps for an engine; its own is 500.
MOST_COMPILED: Final = 32


class Database:
    """An engine, and how to run things on it.

    Args:
        where: a URL as SQLAlchemy has them, or an engine. ``postgresql:`` and ``postgres:`` without
            a driver mean asyncpg. SQLite gets a write-ahead log.

    Raises:
        ConfigError: SQLAlchemy or a driver is not installed, or the URL cannot be read.
    """

    def __init__(self, where: str | Engine | AsyncEngine) -> None:
        needed("sqlalchemy", "sql")
        self._async: AsyncEngine | None = None
        self._is_ours = True
        if isinstance(where, str):
            self._sync = _engine_of(where)
        else:
            self._sync = cast("Engine", getattr(where, "sync_engine", where))
            self._is_ours = self._sync.dialect.is_async
            if self._is_ours:
                self._sync = _like(self._sync)
        if self._sync.dialect.is_async:
            from sqlalchemy.ext.asyncio import AsyncEngine

            self._async = AsyncEngine(self._sync)
        self._lock = asyncio.Lock()
        self._pid = os.getpid()
        # Kept, never closed: closing them would say good-bye in the name of the parent.
        self._parents: list[Pool] = []

    @property
    def dialect(self) -> str:
        """Which kind of SQL it speaks, such as ``sqlite``."""
        return self._sync.dialect.name

    def __repr__(self) -> str:
        return f"Database({self._sync.url.render_as_string(hide_password=True)!r})"

    async def run(self, function: Callable[[Connection], R]) -> R:
        """Call *function* with a connection, in a transaction of its own; return what it returns.

        It is called in a thread, or in what SQLAlchemy makes of a coroutine: it may block on the
        connection, and has to be quick otherwise.
        """
        async with self._own_lock():
            if self._async is None:
                return await self._run_in_thread(function)
            async with self._async.begin() as connection:
                return await connection.run_sync(function)

    async def close(self) -> None:
        """Close the connection; an engine of the application's own stays as it is."""
        async with self._own_lock():
            if self._async is not None:
                await self._async.dispose()
            elif self._is_ours:
                await asyncio.to_thread(self._sync.dispose)

    async def _run_in_thread(self, function: Callable[[Connection], R]) -> R:
        is_given_up = threading.Event()

        def run() -> R:
            with self._sync.begin() as connection:
                found = function(connection)
                if is_given_up.is_set():
                    raise TimeoutError("nobody waits for it any more")
                return found

        try:
            return await asyncio.to_thread(run)
        except asyncio.CancelledError:
            is_given_up.set()
            raise

    def _own_lock(self) -> asyncio.Lock:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = asyncio.Lock()
            if self._is_ours:
                self._parents.append(self._sync.pool)
                self._sync.dispose(close=False)
        return self._lock


def _engine_of(text: str) -> Engine:
    from sqlalchemy import create_engine, event, make_url
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import QueuePool

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not repeated, neither here nor as the cause: there may be a password in it.
        raise ConfigError(
            "the URL of a database cannot be read: write for example sqlite:///events.db"
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+asyncpg")
    arguments: dict[str, Any] = {}
    if url.drivername == "postgresql+asyncpg":
        arguments = {
            "timeout": CONNECT_SECONDS,
            "statement_cache_size": MOST_STATEMENTS,
            "prepared_statement_cache_size": MOST_STATEMENTS,
        }
    try:
        is_async = url.get_dialect().is_async
        given: dict[str, Any] = {
            "pool_size": 1,
            "max_overflow": 0,
            "connect_args": arguments,
            "query_cache_size": MOST_COMPILED,
            "hide_parameters": True,
        }
        if is_async:
            from sqlalchemy.ext.asyncio import create_async_engine

            engine = create_async_engine(url, **given).sync_engine
        else:
            # Whoever waits for a pool is not told when a connection that another one makes fails.
            engine = create_engine(url, poolclass=QueuePool, **given | {"max_overflow": -1})
    except (ImportError, ArgumentError) as error:
        raise ConfigError(f"no database can be reached by {url.drivername}: {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _with_log)
    return engine


def _like(engine: Engine) -> Engine:
    """Return another engine with the same settings, and a pool of its own."""
    from sqlalchemy import Engine as Made

    return Made(
        engine.pool.recreate(), engine.dialect, engine.url, hide_parameters=engine.hide_parameters
    )


def _with_log(connection: Any, record: object) -> None:
    """Have readers and the writer of a SQLite file not wait for each other."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()
