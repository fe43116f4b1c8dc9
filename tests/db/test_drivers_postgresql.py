"""What PostgreSQL's drivers are told: asyncpg, psycopg, and SQLAlchemy with either.

Each is really handed to its driver, and what a line of the table promises is asked from a server.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from tests.db.drivers_settings import options
from tests.support.postgres import PostgresServer

from tonnage.db.drivers import asyncpg as asyncpg_table
from tonnage.db.drivers import psycopg as psycopg_table
from tonnage.db.drivers import sqlalchemy as sqlalchemy_table
from tonnage.db.pooling.serverlimits import allowed, read, statement
from tonnage.db.urls import read_url
from tonnage.errors import ConfigError
from tonnage.settings import DatabaseSettings

asyncpg = pytest.importorskip("asyncpg")
psycopg = pytest.importorskip("psycopg")
sqlalchemy = pytest.importorskip("sqlalchemy")

pytestmark = pytest.mark.real

#: What a server is told that has nothing else to do than time out.
QUICK = options(statement_timeout_seconds=0.1, lock_timeout_seconds=0.05)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database; parameters may follow."""
    with PostgresServer(max_connections="20", reserved_connections="2") as server:
        yield server.url


@asynccontextmanager
async def asyncpgs(url: str, settings: DatabaseSettings | None = None) -> AsyncIterator[Any]:
    """Yield a connection of asyncpg's, told what the table says."""
    told = asyncpg_table.connect_arguments(read_url(url), settings or options())
    connection = await asyncpg.connect(**told)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def psycopgs(url: str, settings: DatabaseSettings | None = None) -> Iterator[Any]:
    """The same of psycopg."""
    wanted = read_url(url)
    told = psycopg_table.connect_arguments(wanted, settings or options())
    with psycopg.connect(**told, autocommit=True) as connection:
        psycopg_table.configured(wanted, settings or options())(connection)
        yield connection


def engine(url: str, limit: int = 2, settings: DatabaseSettings | None = None) -> Any:
    """The same of SQLAlchemy, on psycopg."""
    told = sqlalchemy_table.arguments(read_url(url), settings or options(), limit, is_async=False)
    return sqlalchemy.create_engine(**told)


def async_engine(url: str, limit: int = 2, settings: DatabaseSettings | None = None) -> Any:
    """The same, asynchronous, on asyncpg or what the URL names."""
    from sqlalchemy.ext.asyncio import create_async_engine

    told = sqlalchemy_table.arguments(read_url(url), settings or options(), limit, is_async=True)
    return create_async_engine(**told)


#: Every way to a server.
EVERY = ["asyncpg", "psycopg", "engine", "postgresql+asyncpg", "postgresql+psycopg"]


async def ask(
    how: str, url: str, asked: str, settings: DatabaseSettings | None = None
) -> tuple[Any, ...]:
    """Return the one row that a new connection gets, by one of the ways."""
    if how == "asyncpg":
        async with asyncpgs(url, settings) as connection:
            return tuple(await connection.fetchrow(asked))
    if how == "psycopg":
        with psycopgs(url, settings) as connection:
            return tuple(connection.execute(asked).fetchone())
    if how == "engine":
        made = engine(url, settings=settings)
        with made.connect() as connection:
            found = tuple(connection.exec_driver_sql(asked).one())
        made.dispose()
        return found
    made = async_engine(url.replace("postgresql:", f"{how}:"), settings=settings)
    async with made.connect() as connection:
        found = tuple((await connection.exec_driver_sql(asked)).one())
    await made.dispose()
    return found


# What is set in the server.

SETTINGS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
AS_SET = "SELECT " + ", ".join(f"current_setting('{name}')" for name in (*SETTINGS, "search_path"))


@pytest.mark.parametrize("how", EVERY)
async def test_timeouts_and_schema_are_set_in_the_server(how: str, url: str) -> None:
    """By each driver; options of the URL's own have the last word."""
    settings = options(
        statement_timeout_seconds=7, lock_timeout_seconds=2.5, connection_idle_seconds=90
    )
    awkward = "&schema=My%20%22shop%22%5C"
    assert await ask(how, f"{url}{awkward}", AS_SET, settings) == (
        *("7s", "2500ms", "90s"),
        '"My ""shop""\\"',
    )
    own = "&options=-c%20statement_timeout%3D3s&socket_timeout=5&max_idle_connection_lifetime=8"
    assert await ask(how, f"{url}{own}", AS_SET, settings) == (
        *("3s", "2500ms", "8s"),
        '"$user", public',
    )
    shorter = await ask(how, f"{url}&socket_timeout=5&schema=public", AS_SET, settings)
    assert shorter == ("4s", "2500ms", "90s", '"public"')


async def test_for_ever_is_what_the_server_takes_for_it(url: str) -> None:
    """It counts milliseconds in 31 bits."""
    kept = await ask("asyncpg", f"{url}&max_idle_connection_lifetime=0", AS_SET)
    assert kept == ("30s", "10s", "2147483647ms", '"$user", public')
    settings = options(statement_timeout_seconds=1e9, lock_timeout_seconds=0.0001)
    most = await ask("psycopg", url, AS_SET, settings)
    assert most[:2] == ("2147483647ms", "1ms")


@pytest.mark.parametrize("how", EVERY)
async def test_pgbouncer_is_told_nothing(how: str, url: str) -> None:
    """It refuses what it does not know, and would give one client's settings to another."""
    usual = ("0", "0", "0", '"$user", public')
    assert await ask(how, f"{url}&pgbouncer=true&schema=public", AS_SET, QUICK) == usual
    with pytest.raises(ConfigError, match="schema and pgbouncer=true exclude one another"):
        await ask(how, f"{url}&pgbouncer=true&schema=shop", AS_SET, QUICK)


# How large a pool becomes, and how long one waits for it.


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg"])
async def test_an_async_engines_pool_is_as_large_as_was_said(driver: str, url: str) -> None:
    """No overflow; and it waits as long as the URL says."""
    made = async_engine(f"{url.replace('postgresql', driver, 1)}&pool_timeout=0.05", limit=1)
    async with made.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT 1")).scalar() == 1
        begun = time.monotonic()
        with pytest.raises(sqlalchemy.exc.TimeoutError):
            async with made.connect():
                pass
        assert time.monotonic() - begun >= 0.05
    await made.dispose()


async def test_for_ever_is_not_at_once(url: str) -> None:
    """Prisma's 0: who waits gets the connection that comes free."""
    made = async_engine(f"{url}&pool_timeout=0", limit=1)
    held = await made.connect()
    asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(held.close()))
    async with made.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT 1")).scalar() == 1
    await made.dispose()


# Time-outs.


async def test_statements_and_locks_time_out_in_the_server(url: str) -> None:
    """Which then goes on; the connection is whole."""
    async with asyncpgs(url, QUICK) as holder, asyncpgs(url, QUICK) as connection:
        await holder.execute("CREATE TABLE IF NOT EXISTS locked (id int)")
        with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
            await connection.execute("SELECT pg_sleep(20)")
        async with holder.transaction():
            await holder.execute("LOCK TABLE locked")
            with pytest.raises(asyncpg.LockNotAvailableError, match="lock timeout"):
                await connection.execute("INSERT INTO locked VALUES (1)")
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_transaction_that_nobody_goes_on_with_is_ended(url: str) -> None:
    """After as long as a connection is kept that nobody uses."""
    async with asyncpgs(f"{url}&max_idle_connection_lifetime=0.05") as connection:
        is_ended = asyncio.Event()
        connection.add_termination_listener(lambda _: is_ended.set())
        await connection.execute("BEGIN")
        await asyncio.wait_for(is_ended.wait(), 10)


@pytest.mark.parametrize("how", ["asyncpg", "postgresql+asyncpg"])
async def test_asyncpg_waits_no_longer_than_the_url_says(how: str, url: str) -> None:
    """Also where PgBouncer would hear of no limit."""
    text = f"{url}&socket_timeout=0.1&pgbouncer=true"
    if how == "asyncpg":
        async with asyncpgs(text) as connection:
            with pytest.raises(TimeoutError):
                await connection.execute("SELECT pg_sleep(20)")
        return
    made = async_engine(text)
    async with made.connect() as connection:
        with pytest.raises(TimeoutError):
            await connection.exec_driver_sql("SELECT pg_sleep(20)")
    await made.dispose()


async def test_psycopg_waits_for_an_answer_no_longer_than_the_url_says(url: str) -> None:
    """Of either kind: psycopg itself would wait for ever, and TCP for minutes."""
    text = f"{url}&socket_timeout=0.2&pgbouncer=true"
    with psycopgs(text) as connection:
        assert connection.info.get_parameters()["tcp_user_timeout"] == "200"
        with pytest.raises(psycopg.errors.ConnectionFailure, match=r"not answered for 0\.2 s"):
            connection.execute("SELECT pg_sleep(20)")
        assert connection.broken
    wanted = read_url(text)
    told = psycopg_table.connect_arguments(wanted, options())
    async with await psycopg.AsyncConnection.connect(**told) as other:
        psycopg_table.configured(wanted, options())(other)
        assert await (await other.execute("SELECT 1")).fetchone() == (1,)
        with pytest.raises(psycopg.errors.ConnectionFailure):
            await other.execute("SELECT pg_sleep(20)")
    with psycopgs(f"{url}&tcp_user_timeout=7000") as connection:
        assert connection.info.get_parameters()["tcp_user_timeout"] == "7000"


@pytest.mark.parametrize("how", ["asyncpg", "psycopg", "engine", "async_engine"])
async def test_opening_a_connection_times_out(how: str) -> None:
    """A server that takes connections and says nothing; libpq waits two seconds at least."""
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    text = f"postgresql://u@127.0.0.1:{port}/d?connect_timeout=0.1&sslmode=disable&pool_timeout=3"
    begun = time.monotonic()
    least = 0.1
    if how == "asyncpg":
        with pytest.raises(TimeoutError):
            async with asyncpgs(text):
                pass
    elif how == "async_engine":
        made = async_engine(text)
        with pytest.raises(TimeoutError):
            await made.connect()
        await made.dispose()
    else:
        least = psycopg_table.LEAST_CONNECT_SECONDS
        told = psycopg_table.connect_arguments(read_url(text), options())
        if how == "psycopg":
            assert told["connect_timeout"] == least
            least = 0
        else:
            made = engine(text)
            with pytest.raises(sqlalchemy.exc.OperationalError, match="timeout"):
                await asyncio.to_thread(made.connect)
            made.dispose()
    assert least <= time.monotonic() - begun < 8
    silent.close()


# What is kept prepared.

PREPARED = "SELECT count(*) FROM pg_prepared_statements"


@pytest.mark.parametrize(
    ("said", "most"), [("", 16), ("&statement_cache_size=3", 3), ("&statement_cache_size=0", 0)]
)
async def test_connections_keep_few_statements_prepared(said: str, most: int, url: str) -> None:
    """Of forty different ones, asked so often that each driver would keep it."""
    async with asyncpgs(f"{url}{said}") as connection:
        for number in range(40):
            await connection.fetch(f"SELECT {number}")
        assert most <= await connection.fetchval(PREPARED) <= most + 1
    with psycopgs(f"{url}{said}") as connection:
        for number in range(40):
            for _ in range(6):
                connection.execute(f"SELECT {number}")
        # It lets go of one when it has prepared the next.
        assert most <= connection.execute(PREPARED).fetchone()[0] <= most + 1


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg"])
@pytest.mark.parametrize(("said", "most"), [("", 16), ("&statement_cache_size=0", 0)])
async def test_engines_keep_few_statements_prepared(
    said: str, most: int, driver: str, url: str
) -> None:
    """SQLAlchemy has a cache of its own beside asyncpg's."""
    made = async_engine(f"{url.replace('postgresql', driver, 1)}{said}", limit=1)
    async with made.connect() as connection:
        for number in range(30):
            for _ in range(7 if driver.endswith("psycopg") else 1):
                await connection.exec_driver_sql(f"SELECT {number}")
        # The one that asks, and with asyncpg those that SQLAlchemy has for its types.
        found = (await connection.exec_driver_sql(PREPARED)).scalar()
        assert found <= 2 * most + 1
        assert found >= most
    await made.dispose()


async def test_with_pgbouncer_no_statement_has_a_name_of_others(url: str) -> None:
    """Two clients of one server process would meet by SQLAlchemy's numbered names."""
    told = sqlalchemy_table.arguments(
        read_url(f"{url}&pgbouncer=true"), options(), 1, is_async=True
    )["connect_args"]
    name = told["prepared_statement_name_func"]
    assert name() != name()
    made = async_engine(f"{url}&pgbouncer=true", limit=1)
    async with made.connect() as connection:
        for _ in range(3):
            await connection.exec_driver_sql("SELECT 1")
        assert (await connection.exec_driver_sql(PREPARED)).scalar() <= 1
    await made.dispose()


# The URL's own.


@pytest.mark.parametrize("how", EVERY)
async def test_what_the_driver_knows_goes_on_to_it(how: str, url: str) -> None:
    """Such as the name that the server shows."""
    text = f"{url}&application_name=my%20shop"
    asked = "SELECT current_setting('application_name')"
    assert await ask(how, text, asked) == ("my shop",)


async def test_what_asyncpg_does_not_know_is_refused(url: str) -> None:
    """It would send it to the server as a setting. libpq has it."""
    text = f"{url}&keepalives_idle=10&channel_binding=prefer"
    with pytest.raises(ConfigError, match="asyncpg does not know channel_binding, keepalives_idle"):
        await ask("asyncpg", text, "SELECT 1")
    assert await ask("psycopg", text, "SELECT 1") == (1,)
    made = engine(text.replace("postgresql:", "postgresql+asyncpg:"))
    assert made.dialect.driver == "psycopg"
    made.dispose()


@pytest.mark.parametrize("how", EVERY)
async def test_several_hosts_are_tried_in_turn(how: str, url: str) -> None:
    """The second is the server; SQLAlchemy's own URL could not name two in all its drivers."""
    directory = read_url(url).options["host"]
    text = f"postgresql://postgres@/postgres?host=/nowhere,{directory}"
    assert await ask(how, text, "SELECT 1") == (1,)


def test_an_engine_shows_where_it_is_and_no_password() -> None:
    """Host, port and name, as people look them up; several hosts are for the driver alone."""
    made = engine("postgres://u:p%40ss@db:6543/shop?sslmode=require")
    assert str(made.url) == "postgresql+psycopg://u:***@db:6543/shop"
    assert made.url.password == "p@ss"
    made = engine("postgres://u:s3cret@a:1,b:2/shop")
    assert (made.url.host, made.url.database) == (None, "shop")
    assert "s3cret" not in repr(made)
    assert engine("postgres://u@[::1]:6543/shop").url.host == "::1"


# What the server allows.


async def test_the_servers_limits_are_asked(url: str) -> None:
    """Of a superuser, for whom few hold, and of roles with a limit of their own and without."""
    asked = str(statement("postgresql"))
    async with asyncpgs(url) as connection:
        found = read(await connection.fetchrow(asked))
        assert (found.max_connections, found.reserved) == (20, 0)
        assert (found.role_limit, found.database_limit) == (None, None)
        async with asyncpgs(url) as another:
            assert read(await another.fetchrow(asked)).in_use >= found.in_use + 1
        await connection.execute("CREATE ROLE small LOGIN CONNECTION LIMIT 6")
        await connection.execute("CREATE ROLE plain LOGIN")
        await connection.execute("CREATE ROLE favoured LOGIN IN ROLE pg_use_reserved_connections")
        # It may not see of which kind the sessions of others are; they count.
        found = read(await ask("asyncpg", url.replace("postgres@", "small@"), asked))
        assert (found.reserved, found.role_limit) == (5, 6)
        assert found.in_use >= 2
        assert allowed(found, wanted=5, workers=2)[0] == 3
    found = read(await ask("engine", url.replace("postgres@", "plain@"), asked))
    assert (found.usable, found.role_limit) == (15, None)
    found = read(await ask("psycopg", url.replace("postgres@", "favoured@"), asked))
    assert found.usable == 17
