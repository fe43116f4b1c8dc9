"""Engines on a real PostgreSQL: how many connections there are, and what happens to them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.support.forking import await_in_child, fork, status_of
from tests.support.postgres import PostgresServer, no_room
from tests.support.slowness import SLOWNESS
from tests.support.waiting import until

from tonnage import db
from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.db.pooling.counting import PoolStatistics
from tonnage.errors import DatabaseAwayError, DatabaseError, PoolBusyError
from tonnage.governor.consumers import registry

pytestmark = pytest.mark.real


class Tried:
    """An engine of the test's own, whose connections the server knows by their name."""

    def __init__(
        self, server: PostgresServer, name: str, parameters: str, user: str = "postgres"
    ) -> None:
        self.name = name
        where = server.url.replace("postgres@", f"{user}@")
        url = f"{where}&application_name={name}&{parameters}"
        self.engine: AsyncEngine = db.async_engine(url, name=name, guard="off")

    async def ask(self, statement: str = "SELECT 1", **values: object) -> Any:
        """Return the first value of a statement's answer."""
        async with self.engine.connect() as connection:
            return (await connection.execute(text(statement), values)).scalar()

    async def sleep(self, seconds: float) -> Any:
        """Hold a connection for so long."""
        return await self.ask("SELECT pg_sleep(:seconds)", seconds=seconds * SLOWNESS)

    @property
    def statistics(self) -> PoolStatistics:
        """How it stands."""
        return db.statistics()[self.name]

    def shrink(self, target_bytes: int) -> int:
        """Have it give memory back, as the governor does."""
        return registry.shrink(self.name, target_bytes)


@pytest.fixture
async def tried(server: PostgresServer, request: pytest.FixtureRequest) -> AsyncIterator[Tried]:
    """Yield an engine; the parameter is what its URL says."""
    parameters = getattr(request, "param", "connection_limit=3")
    # A name of its own, as the process has one registry for all.
    tried = Tried(server, request.function.__name__[-40:], parameters)
    yield tried
    await tried.engine.dispose()


@pytest.fixture
async def other(server: PostgresServer) -> AsyncIterator[Tried]:
    """Somebody else at the same server."""
    other = Tried(server, "somebody_else", "connection_limit=2")
    yield other
    await other.engine.dispose()


async def count(other: Tried, tried: Tried) -> int:
    """Return how many connections the server has of *tried*."""
    return int(
        await other.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name", name=tried.name
        )
    )


async def test_never_more_connections_than_the_limit_and_everybody_is_served(
    tried: Tried, other: Tried
) -> None:
    """Never more connections than the limit and everybody is served."""
    tasks = [asyncio.create_task(tried.sleep(0.01)) for _ in range(50)]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, await count(other, tried))
    assert 1 <= most <= 3
    assert [task.exception() for task in tasks] == [None] * 50
    found = tried.statistics
    assert (found.limit, found.open, found.in_use, found.idle, found.waiting) == (3, 3, 0, 3, 0)
    assert (found.opened_total, found.closed_total, found.timed_out_total) == (3, 0, 0)
    assert found.server_connections is not None
    assert found.server_connections >= 1


@pytest.mark.parametrize("tried", ["connection_limit=1&pool_timeout=0.05"], indirect=True)
async def test_a_wait_is_bounded_and_the_error_says_what_to_do(
    tried: Tried, caplog: pytest.LogCaptureFixture
) -> None:
    """A wait is bounded and the error says what to do."""
    async with tried.engine.connect():
        for _ in range(2):
            with pytest.raises(PoolBusyError, match=r"none came free in 0\.05 s: hold"):
                await tried.ask()
    assert await tried.ask() == 1
    assert tried.statistics.timed_out_total == 2
    # A burst of refusals is one line.
    assert sum("too many requests for the database" in each for each in caplog.messages) == 1


@pytest.mark.parametrize("tried", ["connection_limit=1&pool_timeout=0"], indirect=True)
async def test_no_more_than_so_many_wait(tried: Tried) -> None:
    """No more than so many wait."""
    async with tried.engine.connect():
        waiting = [asyncio.create_task(tried.ask()) for _ in range(500)]
        await until(lambda: tried.statistics.waiting == 500)
        with pytest.raises(PoolBusyError, match="too many wait"):
            await tried.ask()
    assert await asyncio.gather(*waiting) == [1] * 500


@pytest.mark.parametrize("tried", ["connection_limit=1"], indirect=True)
async def test_whoever_is_cancelled_in_line_leaves_no_gap(tried: Tried) -> None:
    """Whoever is cancelled in line leaves no gap."""
    async with tried.engine.connect():
        waiting = [asyncio.create_task(tried.ask()) for _ in range(10)]
        await until(lambda: tried.statistics.waiting == 10)
        for task in waiting[::2]:
            task.cancel()
        # Cancelled in the very moment in which the next one is served.
    waiting[1].cancel()
    await asyncio.wait(waiting)
    assert [task.result() for task in waiting[3::2]] == [1] * 4
    found = tried.statistics
    assert (found.in_use, found.waiting) == (0, 0)
    assert await tried.ask() == 1


async def test_a_statement_that_is_cancelled_costs_its_connection_and_no_place(
    tried: Tried, other: Tried
) -> None:
    """A statement that is cancelled costs its connection and no place."""
    tasks = [asyncio.create_task(tried.sleep(30)) for _ in range(3)]
    await until(lambda: tried.statistics.open == 3)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert await asyncio.gather(*(tried.ask() for _ in range(9))) == [1] * 9
    assert await count(other, tried) <= 3
    assert tried.statistics.in_use == 0


async def test_a_connection_that_was_ended_at_rest_is_replaced_unseen(
    tried: Tried, other: Tried
) -> None:
    """A connection that was ended at rest is replaced unseen."""
    pids = set(await asyncio.gather(*(tried.ask("SELECT pg_backend_pid()") for _ in range(3))))
    for pid in pids:
        await other.ask("SELECT pg_terminate_backend(:pid, 1000)", pid=pid)
    assert await asyncio.gather(*(tried.ask() for _ in range(9))) == [1] * 9
    assert await count(other, tried) <= 3


async def test_a_connection_that_is_ended_under_a_request_is_a_clear_error_and_others_live(
    tried: Tried, other: Tried
) -> None:
    """A connection that is ended under a request is a clear error and others live."""
    async with tried.engine.connect() as kept:
        await kept.execute(text("SELECT 1"))
        async with tried.engine.connect() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar()
            await other.ask("SELECT pg_terminate_backend(:pid, 1000)", pid=pid)
            with pytest.raises(DatabaseAwayError, match="was lost") as caught:
                await connection.execute(text("SELECT 1"))
        assert caught.value.problem.status == 503
        assert caught.value.__cause__ is not None
        assert (await kept.execute(text("SELECT 2"))).scalar() == 2
    assert await asyncio.gather(*(tried.ask() for _ in range(9))) == [1] * 9
    found = tried.statistics
    assert (found.in_use, found.waiting) == (0, 0)
    # The one that lived was asked, and is still there.
    assert found.closed_total == 1


async def test_while_the_server_is_away_nobody_waits_and_afterwards_all_is_well(
    server: PostgresServer, tried: Tried
) -> None:
    """While the server is away nobody waits and afterwards all is well."""
    running = [asyncio.create_task(tried.sleep(30)) for _ in range(3)]
    await until(lambda: tried.statistics.open == 3)
    waiting = [asyncio.create_task(tried.ask()) for _ in range(20)]
    await until(lambda: tried.statistics.waiting == 20)
    server.kill()
    try:
        async with asyncio.timeout(2 * SLOWNESS):
            failed = await asyncio.gather(*running, *waiting, return_exceptions=True)
            failed += await asyncio.gather(
                *(tried.ask() for _ in range(50)), return_exceptions=True
            )
        assert {type(each) for each in failed} == {DatabaseAwayError}
        assert {each.problem.status for each in failed if isinstance(each, DatabaseAwayError)} == {
            503
        }
    finally:
        server.start()

    async def is_back() -> bool:
        try:
            return bool(await tried.ask() == 1)
        except DatabaseAwayError:
            return False

    await until(is_back)
    assert await asyncio.gather(*(tried.ask() for _ in range(20))) == [1] * 20
    found = tried.statistics
    assert (found.in_use, found.waiting) == (0, 0)
    assert found.open <= 3


@pytest.mark.parametrize(
    "tried", ["connection_limit=3&max_idle_connection_lifetime=0.1"], indirect=True
)
async def test_connections_that_rest_are_closed(tried: Tried, other: Tried) -> None:
    """Connections that rest are closed."""
    await asyncio.gather(*(tried.sleep(0.01) for _ in range(3)))
    assert tried.statistics.open == 3

    async def is_none() -> bool:
        return await count(other, tried) == 0

    await until(is_none)
    assert tried.statistics.open == 0
    assert await tried.ask() == 1


@pytest.mark.parametrize("tried", ["connection_limit=1&max_connection_lifetime=0.1"], indirect=True)
async def test_a_connection_does_not_live_for_ever(tried: Tried) -> None:
    """A connection does not live for ever."""
    first = await tried.ask("SELECT pg_backend_pid()")

    async def is_another() -> bool:
        return bool(await tried.ask("SELECT pg_backend_pid()") != first)

    await until(is_another)
    assert tried.statistics.open == 1


async def test_memory_that_is_wanted_back_closes_what_rests(tried: Tried) -> None:
    """Memory that is wanted back closes what rests."""
    await asyncio.gather(*(tried.sleep(0.01) for _ in range(3)))
    async with tried.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        assert tried.shrink(2 * CONNECTION_BYTES) == CONNECTION_BYTES
        await until(lambda: tried.statistics.open == 2)
        assert tried.shrink(0) == CONNECTION_BYTES
        await until(lambda: tried.statistics.open == 1)
        assert tried.shrink(0) == 0
        assert (await connection.execute(text("SELECT 2"))).scalar() == 2
    assert await asyncio.gather(*(tried.ask() for _ in range(9))) == [1] * 9


async def test_a_connection_that_is_lost_to_the_collector_is_no_place_lost(tried: Tried) -> None:
    """A connection that is lost to the collector is no place lost."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        for _ in range(3):
            connection = await tried.engine.connect()
            await connection.execute(text("SELECT 1"))
            del connection
        gc.collect()
    assert await asyncio.gather(*(tried.ask() for _ in range(9))) == [1] * 9
    assert tried.statistics.in_use == 0


async def test_what_the_server_allows_is_asked_for_and_kept(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What the server allows is asked for and kept."""
    tried = Tried(server, "too_many", "connection_limit=50")
    try:
        assert await asyncio.gather(*(tried.ask() for _ in range(60))) == [1] * 60
        # The superuser may have those that are kept for others, too.
        assert tried.statistics.limit == 20
    finally:
        await tried.engine.dispose()
    assert sum("too many connections" in each for each in caplog.messages) >= 1


@pytest.mark.parametrize("tried", ["connection_limit=5&pool_timeout=10"], indirect=True)
async def test_when_the_server_is_full_requests_wait_for_what_there_is(
    server: PostgresServer, tried: Tried, caplog: pytest.LogCaptureFixture
) -> None:
    """When the server is full requests wait for what there is."""
    assert await tried.ask() == 1
    with no_room(server):
        assert await asyncio.gather(*(tried.sleep(0.002) for _ in range(60))) == [None] * 60
        assert tried.statistics.open == 1
    assert sum("requests wait for these" in each for each in caplog.messages) == 1
    found = tried.statistics
    assert (found.in_use, found.idle, found.waiting, found.timed_out_total) == (0, 1, 0, 0)


@pytest.mark.parametrize("tried", ["connection_limit=5&pool_timeout=0.1"], indirect=True)
async def test_waiting_for_a_full_server_is_bounded_and_says_why(
    server: PostgresServer, tried: Tried
) -> None:
    """Waiting for a full server is bounded and says why."""
    async with tried.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        with no_room(server), pytest.raises(PoolBusyError, match="too many connections") as caught:
            await tried.ask()
        assert str(caught.value).startswith("all 1 connections of ")
    assert await tried.ask() == 1


async def test_a_full_server_is_away_for_who_has_no_connection(
    server: PostgresServer, tried: Tried
) -> None:
    """A full server is away for who has no connection."""
    with no_room(server):
        for _ in range(2):
            with pytest.raises(DatabaseAwayError, match="too many connections") as caught:
                await tried.ask()
            assert "too many clients" in str(caught.value.__cause__)
    await until(lambda: _is_there(tried))
    assert await asyncio.gather(*(tried.ask() for _ in range(9))) == [1] * 9


async def _is_there(tried: Tried) -> bool:
    try:
        return bool(await tried.ask() == 1)
    except DatabaseAwayError:
        return False


async def test_all_pools_of_the_process_are_no_more_than_the_server_allows(
    server: PostgresServer, other: Tried
) -> None:
    """All pools of the process are no more than the server allows."""
    gc.collect()  # those of other tests
    several = [Tried(server, f"several_{number}", "connection_limit=12") for number in range(3)]
    try:
        asked = [each.sleep(0.002) for each in several for _ in range(30)]
        assert await asyncio.gather(*asked) == [None] * 90
        limits = [each.statistics.limit for each in several]
        # One is for whoever has been here before.
        assert sum(limits) + 2 <= 20
        assert min(limits) >= 4
    finally:
        for each in several:
            await each.engine.dispose()


@pytest.mark.parametrize(
    "parameters",
    ["sslmode=bogus", "target_session_attrs=bogus", "options=-c%20nothing.such=1%20-c%20no=1"],
)
@pytest.mark.parametrize("make", [db.engine, db.async_engine])
async def test_a_mistake_in_the_url_is_no_outage(
    server: PostgresServer, make: Any, parameters: str
) -> None:
    """A mistake in the URL is no outage."""
    engine = make(f"{server.url}&{parameters}", name="mistaken", guard="off")
    is_async = isinstance(engine, AsyncEngine)
    for _ in range(2):
        asked = engine.connect() if is_async else asyncio.to_thread(engine.connect)
        with pytest.raises(Exception, match=r"bogus|sslmode|unrecognized") as caught:
            await asked
        assert not isinstance(caught.value, DatabaseAwayError)


async def test_a_wrong_database_is_no_outage(server: PostgresServer) -> None:
    """A wrong database is no outage."""
    url = server.url.replace("/postgres?", "/nowhere?")
    engine = db.async_engine(url, name="nowhere", guard="off")
    for _ in range(2):
        with pytest.raises(Exception, match="does not exist") as caught:
            await engine.connect()
        assert not isinstance(caught.value, DatabaseAwayError)


async def test_no_line_has_the_password(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """No line has the password."""
    url = server.url.replace("postgres@", "postgres:s3cret@")
    engine = db.async_engine(url, name="secretive", guard="off")
    with caplog.at_level(logging.INFO, "tonnage.db"):
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        await engine.dispose()
    assert any("opened: secretive" in each for each in caplog.messages)
    assert "s3cret" not in caplog.text
    assert "s3cret" not in f"{engine!r} {db.statistics()}"


async def test_a_forked_child_has_connections_of_its_own(tried: Tried) -> None:
    """A forked child has connections of its own."""
    pid = await tried.ask("SELECT pg_backend_pid()")

    async def in_child() -> None:
        assert tried.statistics.open == 0
        assert await tried.ask("SELECT pg_backend_pid()") != pid
        assert tried.statistics.open == 1
        await tried.engine.dispose()

    assert await await_in_child(in_child) == 0
    # The parent's goes on.
    assert await tried.ask("SELECT pg_backend_pid()") == pid


def test_each_loop_has_its_own_and_closes_them_when_it_ends(server: PostgresServer) -> None:
    """Each loop has its own and closes them when it ends."""
    tried = Tried(server, "in_loops", "connection_limit=2")
    for number in range(1, 3):
        assert asyncio.run(tried.ask()) == 1
        found = tried.statistics
        assert (found.open, found.opened_total, found.closed_total) == (0, number, number)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_loop_that_ends_without_order_is_no_connection_too_many(server: PostgresServer) -> None:
    """A loop that ends without order is no connection too many."""
    tried = Tried(server, "in_disorder", "connection_limit=2")
    first = asyncio.new_event_loop()
    assert first.run_until_complete(tried.ask()) == 1
    with pytest.raises(DatabaseError, match="another event loop, which has not ended"):
        asyncio.run(tried.ask())
    first.close()
    assert asyncio.run(tried.ask()) == 1
    found = tried.statistics
    assert (found.open, found.opened_total, found.closed_total) == (0, 2, 2)
    gc.collect()


async def test_a_second_loop_beside_the_first_is_refused(tried: Tried) -> None:
    """A second loop beside the first is refused."""
    await tried.ask()
    with pytest.raises(DatabaseError, match="in another event loop"):
        await asyncio.to_thread(asyncio.run, tried.ask())
    assert await tried.ask() == 1
    await tried.engine.dispose()
    assert await asyncio.to_thread(asyncio.run, tried.ask()) == 1


@pytest.mark.parametrize(
    "tried", ["connection_limit=3&max_idle_connection_lifetime=4"], indirect=True
)
async def test_the_servers_count_is_asked_again_while_the_pool_is_used(
    tried: Tried, other: Tried
) -> None:
    """Four times while a connection may rest."""
    await tried.ask()
    before = tried.statistics.server_connections
    assert before is not None
    await asyncio.gather(other.sleep(0.01), other.sleep(0.01))
    await until(lambda: (tried.statistics.server_connections or 0) > before)


async def test_a_server_that_does_not_say_its_count_costs_no_connection(
    server: PostgresServer, other: Tried
) -> None:
    """Whoever may not ask is not taken for a connection that has died."""
    await _do(other, "CREATE ROLE silent LOGIN", "REVOKE SELECT ON pg_roles FROM PUBLIC")
    # With two, another would be opened while the server is asked through the first.
    options = "connection_limit=1&max_idle_connection_lifetime=2"
    silent = Tried(server, "silent", options, user="silent")
    try:
        await silent.ask()
        assert silent.statistics.server_connections is None
        for _ in range(15):
            await silent.ask()
            await asyncio.sleep(0.1)
        found = silent.statistics
        assert (found.opened_total, found.closed_total) == (1, 0)
    finally:
        await silent.engine.dispose()
        await _do(other, "GRANT SELECT ON pg_roles TO PUBLIC", "DROP ROLE silent")


def test_what_a_loop_has_left_in_use_takes_no_place_of_the_next(server: PostgresServer) -> None:
    """Nor does it give one back that it never had."""
    left: list[Any] = []

    async def leave(tried: Tried) -> None:
        left.append(await tried.engine.connect())

    async def go_on(tried: Tried) -> int:
        await tried.ask()
        left.clear()
        gc.collect()
        return tried.statistics.in_use

    def run() -> None:
        warnings.simplefilter("ignore")
        tried = Tried(server, "left_in_use", "connection_limit=1")
        first = asyncio.new_event_loop()
        first.run_until_complete(leave(tried))
        first.close()
        assert asyncio.run(go_on(tried)) == 0

    assert status_of(fork(run)) == 0


def test_a_loop_that_ends_while_the_server_is_asked_its_count_closes_that_connection_too(
    server: PostgresServer,
) -> None:
    """The server does not answer."""
    tried = Tried(server, "asked_in_the_end", "connection_limit=1&max_idle_connection_lifetime=2")

    async def end_while_it_is_asked() -> int:
        pid = int(await tried.ask("SELECT pg_backend_pid()"))
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: tried.statistics.in_use == 1)
        return pid

    pid = asyncio.run(end_while_it_is_asked())
    os.kill(pid, signal.SIGCONT)
    assert tried.statistics.open == 0


async def _do(tried: Tried, *statements: str) -> None:
    async with tried.engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
