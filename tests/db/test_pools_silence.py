"""Servers that say nothing, or not all: pools and psycopg's engines on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
import sqlalchemy
from tests.support.postgres import PostgresServer

from tonnage import db
from tonnage.db.pools.tasks import AsyncPool
from tonnage.errors import DatabaseAwayError

pytestmark = pytest.mark.real

PID = "SELECT pg_backend_pid()"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Yield a server."""
    with PostgresServer() as server:
        yield server


class Asked:
    """One way to ask, by a connection at most."""

    def __init__(self, how: str, url: str) -> None:
        url = f"{url}&connection_limit=1&pool_timeout=5"
        psycopgs = url.replace("postgresql:", "postgresql+psycopg:", 1)
        self._run = asyncio.Runner()
        self.pool: Any
        self._ask: Callable[[Any, str], Any]
        if how == "pool":
            self.pool, self._ask = db.pool(url), _by_pool
        elif how == "async_pool":
            self.pool, self._ask = db.async_pool(url), AsyncPool.fetchval
        elif how == "engine":
            self.pool, self._ask = db.engine(psycopgs), _by_engine
        else:
            self.pool, self._ask = db.async_engine(psycopgs), _by_async_engine

    def ask(self, text: str) -> Any:
        """Return the first value of the answer."""
        return self._ended(self._ask(self.pool, text))

    def close(self) -> None:
        """Close it."""
        is_engine = hasattr(self.pool, "dispose")
        self._ended(self.pool.dispose() if is_engine else self.pool.close())
        self._run.close()

    def _ended(self, found: Any) -> Any:
        return self._run.run(found) if isinstance(found, Coroutine) else found


def _by_pool(pool: Any, text: str) -> Any:
    with pool.connection() as connection:
        return connection.execute(text).fetchone()[0]


def _by_engine(engine: Any, text: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.text(text)).scalar()


async def _by_async_engine(engine: Any, text: str) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(sqlalchemy.text(text))).scalar()


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """Have a process of the server do nothing inside."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("how", ["pool", "async_pool", "engine", "async_engine"])
def test_a_server_that_does_not_answer_costs_a_connection_and_no_place(
    server: PostgresServer, how: str
) -> None:
    """A server that does not answer costs a connection, and no place."""
    with closing(Asked(how, f"{server.url}&socket_timeout=0.5")) as asked:
        pid = asked.ask(PID)
        with stopped(pid), pytest.raises(DatabaseAwayError, match="was lost") as caught:
            asked.ask("SELECT 1")
        assert "has not answered" in str(caught.value.__cause__)
        assert asked.ask(PID) != pid


@pytest.mark.parametrize("how", ["pool", "async_pool", "engine", "async_engine"])
def test_a_statement_ends_in_time_where_the_server_is_told_nothing(
    server: PostgresServer, how: str
) -> None:
    """A statement ends in time where the server is told nothing, as behind PgBouncer."""
    with closing(Asked(how, f"{server.url}&pgbouncer=true&socket_timeout=0.2")) as asked:
        with pytest.raises(DatabaseAwayError, match="was lost"):
            asked.ask("SELECT pg_sleep(20)")
        assert asked.ask("SELECT 1") == 1


def test_a_statement_that_takes_too_long_is_ended_by_the_server_and_by_its_word(
    server: PostgresServer,
) -> None:
    """A statement that takes too long is ended by the server first, each time, and by its word."""
    url = f"{server.url}&connection_limit=8&socket_timeout=1"

    def in_thread(_: int) -> Any:
        with pool.connection() as connection:
            with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
                connection.execute("SELECT pg_sleep(20)")
            connection.rollback()
            return ask(connection)

    def ask(connection: Any) -> Any:
        return connection.execute("SELECT 1").fetchone()[0]

    async def in_task() -> Any:
        async with tasks.acquire() as connection:
            with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
                await connection.fetch("SELECT pg_sleep(20)")
            return await connection.fetchval("SELECT 1")

    async def all_tasks() -> list[Any]:
        return list(await asyncio.gather(*(in_task() for _ in range(8))))

    pool, tasks = db.pool(url), db.async_pool(url)
    with closing(pool), ThreadPoolExecutor(8) as threads:
        assert list(threads.map(in_thread, range(8))) == [1] * 8
    assert asyncio.run(all_tasks()) == [1] * 8


def test_silence_is_no_fault_where_nothing_is_owed(server: PostgresServer) -> None:
    """Silence is no fault where nothing is owed: who listens may wait for long."""
    with closing(db.pool(f"{server.url}&socket_timeout=0.1")) as pool:
        with pool.connection() as connection:
            connection.execute("LISTEN news")
            connection.commit()
            assert list(connection.notifies(timeout=0.5)) == []
            connection.execute("NOTIFY news")
            connection.commit()
            assert [each.channel for each in connection.notifies(timeout=5, stop_after=1)] == [
                "news"
            ]
        assert pool.statistics().closed_total == 0


async def test_whoever_gives_a_time_of_his_own_hears_of_it_as_ever(server: PostgresServer) -> None:
    """Whoever gives a time of his own hears of it as ever, and has his connection."""
    pool = db.async_pool(server.url)
    async with pool.acquire() as connection:
        for ask in (connection.fetch, connection.execute):
            with pytest.raises(TimeoutError):
                await ask("SELECT pg_sleep(20)", timeout=0.1)
        assert await connection.fetchval("SELECT 1") == 1
    await pool.close()


@pytest.mark.parametrize("how", ["pool", "async_pool"])
def test_a_server_that_may_not_say_what_it_allows_is_used_all_the_same(
    server: PostgresServer, how: str
) -> None:
    """A server that may not say what it allows is used all the same."""
    with psycopg.connect(server.url, autocommit=True) as other:
        other.execute("CREATE ROLE small LOGIN")
        other.execute("REVOKE SELECT ON pg_roles FROM PUBLIC")
        try:
            with closing(Asked(how, server.url.replace("postgres@", "small@"))) as asked:
                assert asked.ask("SELECT session_user::text") == "small"
                assert asked.pool.statistics().server_connections is None
        finally:
            other.execute("GRANT SELECT ON pg_roles TO PUBLIC")
            other.execute("DROP ROLE small")
