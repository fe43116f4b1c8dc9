"""What a driver's own pool is told: each is really handed to it, and asked by a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.postgres import PostgresServer
from tests.support.waiting import until

from tonnage import db
from tonnage.db import settings
from tonnage.db.drivers.psycopgpool import MOST_WAITING
from tonnage.db.pooling import keeper
from tonnage.errors import ConfigError

asyncpg = pytest.importorskip("asyncpg")
psycopg_pool = pytest.importorskip("psycopg_pool")
sqlalchemy = pytest.importorskip("sqlalchemy")
pymongo = pytest.importorskip("pymongo")

PREPARED = "SELECT count(*) FROM pg_prepared_statements"
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'own pool'"
TIMES = (
    "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
    " current_setting('search_path')"
)
SAID = "&application_name=own%20pool&connection_limit=2&schema=shop&pool_timeout=0.05"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database; parameters may follow."""
    with PostgresServer(max_connections="20") as server:
        yield server.url


# asyncpg's.


@pytest.mark.real
async def test_asyncpgs_pool_has_the_bounds_of_the_url(url: str) -> None:
    """Nothing is opened before it is used, nor more than was said; what is set arrives."""
    async with asyncpg.create_pool(**db.arguments_for("asyncpg", f"{url}{SAID}")) as pool:
        assert (pool.get_size(), pool.get_min_size(), pool.get_max_size()) == (0, 0, 2)
        async with pool.acquire() as first, pool.acquire() as second:
            assert tuple(await first.fetchrow(TIMES)) == ("30s", "10s", '"shop"')
            assert await second.fetchval(OPEN) == 2
            # Its table says so: how long to wait is said each time.
            with pytest.raises(TimeoutError):
                await pool.acquire(timeout=0.05)
            for number in range(40):
                await first.fetch(f"SELECT {number}")
            assert 16 <= await first.fetchval(PREPARED) <= 17


@pytest.mark.real
async def test_asyncpgs_pool_closes_what_rests_and_waits_for_answers(url: str) -> None:
    """As long as the URL says; with PgBouncer nothing is set, and the driver's own time counts."""
    said = f"{url}{SAID}&max_idle_connection_lifetime=0.05"
    async with asyncpg.create_pool(**db.arguments_for("asyncpg", said)) as pool:
        await pool.fetchval("SELECT 1")
        assert pool.get_size() == 1
        await until(lambda: not pool.get_size())
    said = f"{url}&pgbouncer=true&socket_timeout=0.1&max_idle_connection_lifetime=0"
    async with asyncpg.create_pool(**db.arguments_for("asyncpg", said)) as pool:
        with pytest.raises(TimeoutError):
            await pool.execute("SELECT pg_sleep(20)")
        assert await pool.fetchval("SHOW statement_timeout") == "0"
    said = f"{url}&socket_timeout=0"
    async with asyncpg.create_pool(**db.arguments_for("asyncpg", said)) as pool:
        # No end of waiting for an answer, but for what a statement may take.
        assert await pool.fetchval("SHOW statement_timeout") == "30s"


# psycopg's.


@pytest.mark.real
def test_psycopgs_pool_has_the_bounds_of_the_url(url: str) -> None:
    """Nothing is opened before it is used, nor more than was said; what is set arrives."""
    pool = psycopg_pool.ConnectionPool(**db.arguments_for("psycopg_pool", f"{url}{SAID}"))
    assert pool.closed  # nor any thread begun
    with pool:
        assert (pool.min_size, pool.max_size, pool.max_waiting) == (0, 2, MOST_WAITING)
        with pool.connection() as first, pool.connection() as second:
            assert first.execute(TIMES).fetchone() == ("30s", "10s", '"shop"')
            assert second.execute(OPEN).fetchone() == (2,)
            begun = time.monotonic()
            with pytest.raises(psycopg_pool.PoolTimeout), pool.connection():
                pass
            assert time.monotonic() - begun >= 0.05
            for number in range(30):
                for _ in range(6):
                    first.execute(f"SELECT {number}")
            found: Any = first.execute(PREPARED).fetchone()
            assert 16 <= found[0] <= 17


@pytest.mark.real
def test_psycopgs_pool_takes_for_ever_for_what_it_is(url: str) -> None:
    """Prisma's 0; a time-out of 0 would be over at once."""
    said = "&pool_timeout=0&max_idle_connection_lifetime=0&max_connection_lifetime=0"
    told = db.arguments_for("psycopg_pool", f"{url}&connection_limit=1{said}")
    assert min(told["timeout"], told["max_idle"], told["max_lifetime"]) > 20 * 24 * 3600
    with psycopg_pool.ConnectionPool(**told) as pool, pool.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_as_many_may_wait_as_with_our_own_pools() -> None:
    """The number is written in two places."""
    assert MOST_WAITING == keeper.MOST_WAITING


# The others.


@pytest.mark.real
async def test_sqlalchemys_engines_are_told_what_they_take(url: str) -> None:
    """Of both kinds, from one URL."""
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = sqlalchemy.create_engine(**db.arguments_for("sqlalchemy", f"{url}{SAID}"))
    with engine.connect() as connection:
        assert tuple(connection.exec_driver_sql(TIMES).one()) == ("30s", "10s", '"shop"')
    assert engine.pool.size() == 2
    engine.dispose()
    made = create_async_engine(**db.arguments_for("sqlalchemy-async", f"{url}{SAID}"))
    async with made.connect() as connection:
        assert tuple((await connection.exec_driver_sql(TIMES)).one()) == ("30s", "10s", '"shop"')
    await made.dispose()


async def test_pymongos_client_is_told_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the URL of the environment; of either kind."""
    monkeypatch.setenv("MONGO_URL", "mongodb://db/shop?connection_limit=4&pool_timeout=1.5")
    made = pymongo.AsyncMongoClient(**db.arguments_for("pymongo"))
    assert made.options.pool_options.max_pool_size == 4
    await made.close()
    made = pymongo.MongoClient(connect=False, **db.arguments_for("pymongo"))
    assert made.options.pool_options.wait_queue_timeout == 1.5
    made.close()


def test_without_a_limit_a_pool_may_have_what_a_worker_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is a usual number, where there is no worker."""
    settings.use_share(None)
    monkeypatch.setenv("TONNAGE_DATABASE_CONNECTIONS", "6")
    # Half of it: the process may have one beside it that takes its place.
    for kind in ("asyncpg", "psycopg_pool"):
        assert db.arguments_for(kind, "postgresql://db/shop")["max_size"] == 3


def test_what_makes_no_sense_is_refused() -> None:
    """Another database than the pool is for, and another pool."""
    for kind in ("asyncpg", "psycopg_pool"):
        with pytest.raises(ConfigError, match=f"no database for {kind}"):
            db.arguments_for(kind, "sqlite:///app.db")
    with pytest.raises(ConfigError, match=r"is for db.mongo"):
        db.arguments_for("sqlalchemy", "mongodb://db/shop")
    with pytest.raises(ConfigError, match="asyncpg does not know service"):
        db.arguments_for("asyncpg", "postgresql://db/shop?service=nosuch")
    with pytest.raises(ConfigError, match="not 'aiopg'"):
        db.arguments_for("aiopg", "postgresql://db/shop")  # type: ignore[arg-type]
