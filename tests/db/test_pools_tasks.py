"""A pool of asyncpg's connections on a real PostgreSQL: how many, and what befalls them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from tests.support.forking import await_in_child
from tests.support.postgres import PostgresServer
from tests.support.slowness import SLOWNESS
from tests.support.waiting import until

from tonnage import db
from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.db.pools.tasks import AsyncPool
from tonnage.errors import DatabaseAwayError, DatabaseError, PoolBusyError
from tonnage.governor.consumers import registry

pytestmark = pytest.mark.real

PID = "SELECT pg_backend_pid()"


def made(server: PostgresServer, name: str, parameters: str) -> AsyncPool:
    """Return a pool whose connections the server knows by its name."""
    return db.async_pool(f"{server.url}&application_name={name}&{parameters}", name=name)


@pytest.fixture
async def pool(server: PostgresServer, request: pytest.FixtureRequest) -> AsyncIterator[AsyncPool]:
    """Yield a pool; the parameter is what its URL says."""
    parameters = getattr(request, "param", "connection_limit=3")
    pool = made(server, request.function.__name__[-40:], parameters)
    yield pool
    await pool.close()


@pytest.fixture
async def other(server: PostgresServer) -> AsyncIterator[Any]:
    """Yield somebody else at the same server: asyncpg's own connection."""
    connection = await asyncpg.connect(server.url)
    yield connection
    await connection.close()


async def count(other: Any, pool: AsyncPool) -> int:
    """Return how many connections the server has of *pool*."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
    return int(await other.fetchval(statement, pool.name))


def tasks_of(pool: AsyncPool, tasks: int, seconds: float) -> list[asyncio.Task[Any]]:
    """Return tasks that each hold a connection for so long."""
    statement = f"SELECT pg_sleep({seconds})"
    return [asyncio.create_task(pool.fetchval(statement)) for _ in range(tasks)]


async def ask_all(pool: AsyncPool, tasks: int = 9) -> None:
    """Have so many ask at once, and each get its answer."""
    assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(tasks))) == [1] * tasks


async def open_all(pool: AsyncPool, tasks: int) -> None:
    """Have so many connections open: each is held until all are."""
    meeting = asyncio.Barrier(tasks)

    async def hold() -> None:
        async with pool.acquire():
            await meeting.wait()

    await asyncio.gather(*(hold() for _ in range(tasks)))


async def fill(server: PostgresServer, others: list[Any]) -> None:
    """Have others open so many connections that there is no room for one more, and another."""
    while True:
        others.append(await asyncpg.connect(server.url))


async def test_it_answers_as_asyncpg_does(pool: AsyncPool) -> None:
    """It answers as asyncpg does."""
    assert [tuple(row) for row in await pool.fetch("SELECT $1::int AS a", 7)] == [(7,)]
    assert await pool.fetchrow("SELECT 1 AS a WHERE false") is None
    assert (await pool.fetchrow("SELECT 1 AS a, 2 AS b"))["b"] == 2
    assert await pool.fetchval("SELECT 1, 2", column=1) == 2
    assert await pool.execute("CREATE TEMPORARY TABLE said (what text)") == "CREATE TABLE"
    async with pool.acquire() as connection:
        assert isinstance(connection, asyncpg.Connection)
        async with connection.transaction():
            await connection.execute("CREATE TABLE kept (id int)")
            assert await connection.execute("INSERT INTO kept VALUES ($1)", 1) == "INSERT 0 1"
            rows = await connection.fetch("INSERT INTO kept VALUES (2), (3) RETURNING id")
            assert [row["id"] for row in rows] == [2, 3]
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute("CREATE UNIQUE INDEX ON kept ((true))")
    await pool.execute("DROP TABLE kept")


async def test_never_more_connections_than_the_limit_and_everybody_is_served(
    pool: AsyncPool, other: Any
) -> None:
    """Never more connections than the limit, and everybody is served."""
    tasks = tasks_of(pool, 50, 0.005)
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, await count(other, pool))
    assert 1 <= most <= 3
    assert [task.exception() for task in tasks] == [None] * 50
    found = pool.statistics()
    assert (found.kind, found.limit, found.open, found.idle) == ("asyncpg", 3, 3, 3)
    assert (found.opened_total, found.closed_total, found.timed_out_total) == (3, 0, 0)
    assert found.server_connections is not None


@pytest.mark.parametrize("pool", ["connection_limit=1&pool_timeout=0.05"], indirect=True)
async def test_a_wait_is_bounded_and_the_error_says_what_to_do(pool: AsyncPool) -> None:
    """A wait is bounded, and the error says what to do."""
    async with pool.acquire():
        with pytest.raises(PoolBusyError, match=r"none came free in 0\.05 s: hold") as caught:
            await pool.fetch("SELECT 1")
        with pytest.raises(PoolBusyError, match=r"in 0\.01 s"):
            async with pool.acquire(timeout=0.01):
                pass
    assert caught.value.problem.status == 503
    assert await pool.fetchval("SELECT 1") == 1
    assert pool.statistics().timed_out_total == 2


@pytest.mark.parametrize("pool", ["connection_limit=1&pool_timeout=0"], indirect=True)
async def test_no_more_than_so_many_wait(pool: AsyncPool) -> None:
    """No more than so many wait."""
    async with pool.acquire():
        waiting = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(500)]
        await until(lambda: pool.slots.waiting == 500)
        with pytest.raises(PoolBusyError, match="too many wait"):
            await pool.fetch("SELECT 1")
    assert await asyncio.gather(*waiting) == [1] * 500


@pytest.mark.parametrize("pool", ["connection_limit=1"], indirect=True)
async def test_whoever_is_cancelled_in_line_leaves_no_gap(pool: AsyncPool) -> None:
    """Whoever is cancelled in line leaves no gap."""
    async with pool.acquire():
        waiting = tasks_of(pool, 10, 0)
        await until(lambda: pool.slots.waiting == 10)
        for task in waiting[::2]:
            task.cancel()
    # Cancelled in the very moment in which the next one is served.
    waiting[1].cancel()
    await asyncio.wait(waiting)
    assert not any(task.cancelled() for task in waiting[3::2])
    await ask_all(pool)
    assert (pool.slots.in_use, pool.slots.waiting) == (0, 0)


async def test_a_statement_that_is_cancelled_costs_no_place(pool: AsyncPool, other: Any) -> None:
    """A statement that is cancelled costs no place, and ends in the server."""
    tasks = tasks_of(pool, 3, 30)
    await until(lambda: pool.statistics().open == 3)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await ask_all(pool)
    assert await count(other, pool) <= 3
    statement = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(30%' AND pid <> $1"
    active = f"{statement} AND state = 'active'"
    await until(lambda: _is_none(other, active, other.get_server_pid()))


@pytest.mark.parametrize("pool", ["connection_limit=1"], indirect=True)
async def test_a_statement_that_is_cancelled_before_it_begins_does_not_run_on(
    pool: AsyncPool, other: Any
) -> None:
    """A statement that is cancelled before the server begins with it does not run on there."""
    statement = "SELECT pg_sleep($1)"
    await pool.fetch(statement, 0)
    pid = await pool.fetchval(PID)
    os.kill(pid, signal.SIGSTOP)
    asking = asyncio.create_task(pool.fetch(statement, 30))
    await until(lambda: pool.slots.in_use == 1)
    await asyncio.sleep(0)
    asking.cancel()
    await until(lambda: _is_told(pid, signal.SIGINT))
    # The server hears of the end first, when there is nothing to be ended.
    os.kill(pid, signal.SIGCONT)
    async with asyncio.timeout(5 * SLOWNESS):
        await asyncio.wait([asking])
    assert await pool.fetchval(PID) == pid
    assert await count(other, pool) == 1


async def test_what_a_request_leaves_behind_is_undone(pool: AsyncPool) -> None:
    """What a request leaves behind is undone: settings, and a transaction that was left open."""
    await pool.execute("SET application_name = 'somebody'")
    async with pool.acquire() as connection:
        with _without_handler():
            await connection.execute("BEGIN")
            await connection.execute("CREATE TABLE undone (id int)")
    assert await pool.fetchval("SHOW application_name") == pool.name
    assert await pool.fetchval("SELECT to_regclass('undone')") is None
    assert await pool.fetchval("SHOW statement_timeout") == "30s"
    assert await pool.fetchval("SHOW lock_timeout") == "10s"


async def test_a_connection_that_was_ended_at_rest_is_replaced_unseen(
    pool: AsyncPool, other: Any
) -> None:
    """A connection that was ended at rest is replaced unseen."""
    for pid in set(await asyncio.gather(*(pool.fetchval(PID) for _ in range(3)))):
        await other.execute(f"SELECT pg_terminate_backend({pid}, 1000)")
    await ask_all(pool)
    assert await count(other, pool) <= 3


async def test_a_connection_that_is_ended_under_a_request_is_a_clear_error_and_others_live(
    pool: AsyncPool, other: Any
) -> None:
    """A connection that is ended under a request is a clear error, and others live."""
    async with pool.acquire() as kept:
        # Also between two steps of a statement, for which asyncpg has another word.
        for number in range(20):
            asking = asyncio.create_task(pool.fetchval(f"SELECT pg_sleep(30), {number}"))
            await until(lambda: _is_some(other, pool))
            with pytest.raises(DatabaseAwayError, match="was lost") as caught:
                await asking
        assert caught.value.problem.status == 503
        assert caught.value.__cause__ is not None
        assert await kept.fetchval("SELECT 2") == 2
    await ask_all(pool)
    assert (pool.slots.in_use, pool.slots.waiting) == (0, 0)


async def test_while_the_server_is_away_nobody_waits_and_afterwards_all_is_well(
    server: PostgresServer, pool: AsyncPool
) -> None:
    """While the server is away nobody waits, and afterwards all is well."""
    running = tasks_of(pool, 3, 30)
    await until(lambda: pool.statistics().open == 3)
    running += tasks_of(pool, 20, 0)
    await until(lambda: pool.slots.waiting == 20)
    await asyncio.to_thread(server.kill)
    try:
        async with asyncio.timeout(2 * SLOWNESS):
            failed = await asyncio.gather(*running, *tasks_of(pool, 50, 0), return_exceptions=True)
        assert {type(each) for each in failed} == {DatabaseAwayError}
    finally:
        await asyncio.to_thread(server.start)

    async def is_back() -> bool:
        try:
            return bool(await pool.fetchval("SELECT 1") == 1)
        except DatabaseAwayError:
            return False

    await until(is_back)
    await ask_all(pool, 20)
    assert (pool.slots.in_use, pool.slots.waiting) == (0, 0)
    assert pool.statistics().open <= 3


async def test_where_the_server_has_no_room_requests_wait_for_the_connections_that_live(
    server: PostgresServer, pool: AsyncPool
) -> None:
    """Where the server has no room for more, requests wait for the connections that live."""
    await ask_all(pool, 1)
    others: list[Any] = []
    try:
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await fill(server, others)
        await ask_all(pool, 30)
        assert pool.statistics().open == 1
    finally:
        for each in others:
            await each.close()


@pytest.mark.parametrize(
    "pool", ["connection_limit=3&max_idle_connection_lifetime=0.1"], indirect=True
)
async def test_connections_that_rest_are_closed(pool: AsyncPool, other: Any) -> None:
    """Connections that rest are closed."""
    await open_all(pool, 3)
    await until(lambda: _is_gone(other, pool))
    assert pool.statistics().open == 0
    await ask_all(pool)


@pytest.mark.parametrize("pool", ["connection_limit=1&max_connection_lifetime=0.1"], indirect=True)
async def test_a_connection_does_not_live_for_ever(pool: AsyncPool) -> None:
    """A connection does not live for ever."""
    first = await pool.fetchval(PID)

    async def is_another() -> bool:
        return bool(await pool.fetchval(PID) != first)

    await until(is_another)
    assert pool.statistics().open == 1


async def test_memory_that_is_wanted_back_closes_what_rests(pool: AsyncPool) -> None:
    """Memory that is wanted back closes what rests."""
    await open_all(pool, 3)
    async with pool.acquire() as connection:
        assert registry.shrink(pool.name, 2 * CONNECTION_BYTES) == CONNECTION_BYTES
        await until(lambda: pool.statistics().open == 2)
        assert registry.shrink(pool.name, 0) == CONNECTION_BYTES
        await until(lambda: pool.statistics().open == 1)
        assert registry.shrink(pool.name, 0) == 0
        assert await connection.fetchval("SELECT 2") == 2
    await ask_all(pool)


async def test_what_the_server_allows_is_asked_for_and_kept(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What the server allows is asked for and kept."""
    gc.collect()  # pools that were here before would share it
    pool = made(server, "too_many", "connection_limit=50")
    await asyncio.gather(*tasks_of(pool, 60, 0))
    # The superuser may have those that are kept for others, too.
    assert pool.statistics().limit == 20
    await pool.close()
    assert any("too many connections" in each for each in caplog.messages)


async def test_a_wrong_database_is_no_outage(server: PostgresServer) -> None:
    """A wrong database is no outage."""
    pool = db.async_pool(server.url.replace("/postgres?", "/nowhere?"), name="nowhere")
    for _ in range(2):
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await pool.fetch("SELECT 1")


async def test_a_forked_child_begins_anew_and_leaves_its_parent_alone(pool: AsyncPool) -> None:
    """A forked child begins anew, and leaves its parent alone."""
    pid = await pool.fetchval(PID)

    async def in_child() -> None:
        assert pool.statistics().open == 0
        assert await pool.fetchval(PID) != pid
        await pool.close()

    assert await await_in_child(in_child) == 0
    assert await pool.fetchval(PID) == pid


async def test_a_child_that_is_forked_while_one_is_in_use_leaves_it_to_its_parent(
    pool: AsyncPool,
) -> None:
    """A child that is forked while one is in use leaves it to its parent."""
    using = pool.acquire()
    connection = await using.__aenter__()
    pid = await connection.fetchval(PID)

    async def in_child() -> None:
        await using.__aexit__(None, None, None)
        assert await pool.fetchval(PID) != pid
        found = pool.statistics()
        assert (found.open, found.in_use, found.idle) == (1, 0, 1)
        await pool.close()

    assert await await_in_child(in_child) == 0
    assert await connection.fetchval(PID) == pid
    await using.__aexit__(None, None, None)
    assert pool.statistics().in_use == 0


def test_each_event_loop_has_its_own_and_leaves_nothing_open(server: PostgresServer) -> None:
    """Each event loop has its own connections, and leaves nothing open."""
    pool = made(server, "by_turns", "connection_limit=2")
    for _ in range(3):
        assert asyncio.run(pool.fetchval("SELECT 1")) == 1
        assert pool.statistics().open == 0
    assert pool.statistics().opened_total == 3


async def test_another_loop_is_refused_while_this_one_has_connections(pool: AsyncPool) -> None:
    """Another event loop is refused while this one has connections."""
    await pool.fetch("SELECT 1")
    with pytest.raises(DatabaseError, match="in another event loop"):
        await asyncio.to_thread(asyncio.run, pool.fetch("SELECT 1"))
    await pool.close()
    assert await asyncio.to_thread(asyncio.run, pool.fetchval("SELECT 1")) == 1


async def test_closed_it_opens_anew_and_what_is_in_use_is_closed_when_it_comes_back(
    pool: AsyncPool, other: Any
) -> None:
    """Closed, it opens anew; what is in use is closed when it comes back."""
    async with pool.acquire() as connection:
        pid = connection.get_server_pid()
        await pool.close()
        assert await connection.fetchval("SELECT 1") == 1
    assert pool.statistics().open == 0
    await until(lambda: _is_gone(other, pool))
    assert await pool.fetchval(PID) != pid


@pytest.mark.parametrize("pool", ["connection_limit=2"], indirect=True)
async def test_whoever_is_cancelled_while_he_closes_it_costs_no_place(pool: AsyncPool) -> None:
    """As by a time limit; the connections are ended."""
    async with pool.acquire(), pool.acquire():
        pass
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    async with pool.acquire(timeout=1), pool.acquire(timeout=1):
        pass
    assert pool.statistics().in_use == 0
    assert pool.statistics().open == 2


async def test_connections_are_logged_and_never_the_password(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections are logged, and never the password."""
    url = server.url.replace("postgres@", "postgres:s3cret@")
    with caplog.at_level(logging.INFO, "tonnage.db"):
        pool = db.async_pool(url, name="secretive")
        await pool.fetch("SELECT 1")
        await pool.close()
    assert any("opened: secretive" in each for each in caplog.messages)
    assert "s3cret" not in caplog.text


async def _is_none(other: Any, statement: str, *args: Any) -> bool:
    return bool(await other.fetchval(statement, *args) == 0)


async def _is_gone(other: Any, pool: AsyncPool) -> bool:
    return await count(other, pool) == 0


async def _is_some(other: Any, pool: AsyncPool) -> bool:
    """End who sleeps; return whether there was one."""
    statement = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = $1 AND state = 'active' AND query LIKE '%pg_sleep%'"
    )
    return bool(await other.fetchval(statement, pool.name))


def _is_told(pid: int, number: int) -> bool:
    """Return whether a process that is stopped has a signal to hear of."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = next(line for line in status.splitlines() if line.startswith("ShdPnd"))
    return bool(int(pending.split()[1], 16) & (1 << (number - 1)))


class _without_handler:  # noqa: N801  (as those of contextlib are)
    """asyncpg tells the event loop of a transaction that was left open; here it is meant."""

    def __enter__(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "pool", ["connection_limit=3&max_idle_connection_lifetime=4"], indirect=True
)
async def test_the_servers_count_is_asked_again_while_the_pool_is_used(
    server: PostgresServer, pool: AsyncPool
) -> None:
    """Four times while a connection may rest."""
    await ask_all(pool, 1)
    before = pool.statistics().server_connections
    assert before is not None
    another = await asyncpg.connect(server.url)
    try:
        await until(lambda: (pool.statistics().server_connections or 0) > before)
    finally:
        await another.close()
    assert pool.statistics().opened_total == 1


@pytest.mark.parametrize(
    "pool", ["connection_limit=1&max_idle_connection_lifetime=1"], indirect=True
)
async def test_a_loop_that_had_connections_leaves_those_of_another_alone(
    pool: AsyncPool, caplog: pytest.LogCaptureFixture
) -> None:
    """It was to look after its own, which are closed."""
    caplog.set_level(logging.INFO, "tonnage.db")
    await ask_all(pool)
    await pool.close()

    async def go_on() -> None:
        for _ in range(15):
            assert await pool.fetchval("SELECT 1") == 1
            await asyncio.sleep(0.1)

    await asyncio.to_thread(asyncio.run, go_on())
    found = pool.statistics()
    assert (found.opened_total, found.closed_total, found.in_use) == (2, 2, 0)
    assert "does not say what it allows" not in caplog.text
