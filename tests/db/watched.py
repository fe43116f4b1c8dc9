"""Engines with the guard on them, one for each driver; and the same test for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, MetaData, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tonnage.db.guard import watch
from tonnage.db.guard.bounds import Bounds
from tonnage.db.guard.slow import SlowQueries

R = TypeVar("R")

DRIVERS = ("sqlite", "aiosqlite", "psycopg", "psycopg_async", "asyncpg")
_SCHEMES = {
    "sqlite": "sqlite",
    "aiosqlite": "sqlite+aiosqlite",
    "psycopg": "postgresql+psycopg",
    "psycopg_async": "postgresql+psycopg_async",
    "asyncpg": "postgresql+asyncpg",
}

#: A row for each number, made by the database itself.
NUMBERS = {
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {}) "
    "SELECT n FROM s",
    "postgresql": "SELECT n FROM generate_series(1, {}) AS n",
}


def bounded(
    max_rows: int | None = 1000,
    max_bytes: int | None = 2**30,
    mode: str = "stop",
    slow_seconds: float = float("inf"),
) -> Bounds:
    """Return bounds, wide where nothing is said."""
    return Bounds(max_rows, max_bytes, mode, SlowQueries(slow_seconds))


class Watched:
    """An engine, synchronous or not; :meth:`run` has a function called with a connection of it."""

    def __init__(self, driver: str, url: str, **bounds: Any) -> None:
        self.driver = driver
        self.is_async = driver not in ("sqlite", "psycopg")
        given = f"{_SCHEMES[driver]}:{url.split(':', 1)[1]}"
        self._async: AsyncEngine | None = None
        if self.is_async:
            self._async = create_async_engine(given)
            self.engine = self._async.sync_engine
        else:
            self.engine = create_engine(given)
        watch(self.engine, bounded(**bounds))

    @property
    def async_engine(self) -> AsyncEngine:
        """The engine, where it is asynchronous."""
        assert self._async is not None
        return self._async

    def numbers(self, count: int) -> str:
        """Return a statement with so many rows."""
        return NUMBERS[self.engine.dialect.name].format(count)

    def large(self, characters: int) -> str:
        """Return an expression for a string of so many."""
        if self.engine.dialect.name == "sqlite":
            return f"replace(hex(zeroblob({characters // 2})), '0', 'x')"
        return f"repeat('x', {characters})"

    def run(self, function: Callable[[Connection], R], **options: Any) -> R:
        """Call *function* with a connection, which is then closed, and everything with it."""
        if self._async is None:
            try:
                with self.engine.connect() as connection:
                    return function(connection.execution_options(**options))
            finally:
                self.engine.dispose()

        async def run() -> R:
            try:
                async with self.async_engine.connect() as connection:
                    await connection.execution_options(**options)
                    return await connection.run_sync(function)
            finally:
                await self.async_engine.dispose()

        return asyncio.run(run())


Make = Callable[..., Watched]


def maker(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes engines, with bounds, of the driver that a fixture's parameter names."""
    driver: str = request.param
    if "sqlite" in driver:
        url = f"sqlite:///{tmp_path}/test.db"
    else:
        url = request.getfixturevalue("postgres")
    return lambda **bounds: Watched(driver, url, **bounds)


@contextmanager
def tables(watched: Watched, metadata: MetaData) -> Iterator[None]:
    """Have the tables of *metadata* there meanwhile, empty."""

    def change(what: Callable[[Connection], None]) -> Callable[[Connection], None]:
        def run(connection: Connection) -> None:
            what(connection)
            connection.commit()

        return run

    watched.run(change(metadata.create_all))
    try:
        yield
    finally:
        watched.run(change(metadata.drop_all))
