"""A pool of psycopg's connections on a real PostgreSQL: how many, and what befalls them."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.support.forking import fork, status_of
from tests.support.postgres import PostgresServer
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

from tonnage import db
from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.db.pools.threads import GIVEN, Pool
from tonnage.errors import DatabaseAwayError, PoolBusyError
from tonnage.governor.consumers import registry
from tonnage.stores import background

pytestmark = pytest.mark.real

PID = "SELECT pg_backend_pid()"


def made(server: PostgresServer, name: str, parameters: str) -> Pool:
    """Return a pool whose connections the server knows by its name."""
    return db.pool(f"{server.url}&application_name={name}&{parameters}", name=name)


@pytest.fixture
def pool(server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Yield a pool; the parameter is what its URL says."""
    parameters = getattr(request, "param", "connection_limit=3")
    pool = made(server, request.function.__name__[-40:], parameters)
    yield pool
    pool.close()


@pytest.fixture
def other(server: PostgresServer) -> Iterator[Any]:
    """Yield somebody else at the same server: psycopg's own connection."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Yield threads for those who ask."""
    with ThreadPoolExecutor(64) as threads:
        yield threads


def ask(pool: Pool, statement: str = "SELECT 1") -> Any:
    """Return the first value of a statement's answer."""
    with pool.connection() as connection:
        found = connection.execute(statement).fetchone()
        assert found is not None
        return found[0]


def ask_by(connection: Any, statement: str) -> int:
    """Return the number that is a statement's answer."""
    return int(connection.execute(statement).fetchone()[0])


def ask_all(pool: Pool, threads: ThreadPoolExecutor, many: int = 9) -> None:
    """Have so many ask at once, and each get its answer."""
    assert list(threads.map(lambda _: ask(pool), range(many))) == [1] * many


def count(other: Any, pool: Pool) -> int:
    """Return how many connections the server has of *pool*."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    return int(other.execute(statement, [pool.name]).fetchone()[0])


def held(threads: ThreadPoolExecutor, pool: Pool, many: int, seconds: float) -> list[Future[Any]]:
    """Have so many connections held for so long."""
    return [threads.submit(ask, pool, f"SELECT pg_sleep({seconds})") for _ in range(many)]


def open_all(pool: Pool, threads: ThreadPoolExecutor, many: int) -> None:
    """Have so many connections open: each is held until all are."""
    meeting = threading.Barrier(many)

    def hold(_: int) -> None:
        with pool.connection():
            meeting.wait(20 * SLOWNESS)

    list(threads.map(hold, range(many)))


def fill(server: PostgresServer, others: ExitStack) -> None:
    """Have others open so many connections that there is no room for one more, and another."""
    while True:
        others.enter_context(psycopg.connect(server.url))


def test_it_answers_as_psycopg_does_and_commits(pool: Pool) -> None:
    """It answers as psycopg does, and commits at the end, or rolls back."""
    with pool.connection() as connection:
        connection.execute("CREATE TABLE kept (id int, name text)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO kept VALUES (%s, %s)", [(1, "a"), (2, "b"), (3, None)])
            assert cursor.rowcount == 3
    with pytest.raises(psycopg.errors.DivisionByZero), pool.connection() as connection:
        connection.execute("WITH gone AS (DELETE FROM kept RETURNING id) SELECT 1 / 0 FROM gone")
    with pool.connection() as connection:
        assert connection.execute("SELECT id FROM kept ORDER BY 1").fetchall() == [(1,), (2,), (3,)]
        connection.execute("DROP TABLE kept")
    assert pool.statistics().opened_total == 1


def test_never_more_connections_than_the_limit_and_everybody_is_served(
    pool: Pool, other: Any, threads: ThreadPoolExecutor
) -> None:
    """Never more connections than the limit, and everybody is served."""
    asking = held(threads, pool, 50, 0.005)
    most = 0
    while not all(each.done() for each in asking):
        most = max(most, count(other, pool))
    assert 1 <= most <= 3
    assert [each.exception() for each in asking] == [None] * 50
    found = pool.statistics()
    assert (found.kind, found.limit, found.open, found.idle) == ("psycopg", 3, 3, 3)
    assert (found.opened_total, found.closed_total, found.timed_out_total) == (3, 0, 0)
    assert found.server_connections is not None


@pytest.mark.parametrize("pool", ["connection_limit=1&pool_timeout=0.05"], indirect=True)
def test_a_wait_is_bounded_and_the_error_says_what_to_do(pool: Pool) -> None:
    """A wait is bounded, and the error says what to do."""
    with pool.connection():
        with pytest.raises(PoolBusyError, match=r"none came free in 0\.05 s: hold") as caught:
            ask(pool)
        with pytest.raises(PoolBusyError, match=r"in 0\.01 s"), pool.connection(timeout=0.01):
            pass
    assert caught.value.problem.status == 503
    assert ask(pool) == 1
    assert pool.statistics().timed_out_total == 2


def test_a_connection_that_was_ended_at_rest_is_replaced_unseen(
    pool: Pool, other: Any, threads: ThreadPoolExecutor
) -> None:
    """A connection that was ended at rest is replaced unseen."""
    together = threading.Barrier(3)

    def meet() -> None:
        with pool.connection():
            together.wait(10)

    for each in [threads.submit(meet) for _ in range(3)]:
        each.result()
    pids = {each.item.info.backend_pid for each in pool.slots._resting if each.item is not None}
    assert len(pids) == 3
    for pid in pids:
        other.execute(f"SELECT pg_terminate_backend({pid}, 1000)")
    ask_all(pool, threads)
    assert count(other, pool) <= 3
    assert pool.statistics().open <= 3


def test_a_connection_that_is_ended_under_a_request_is_a_clear_error_and_others_live(
    pool: Pool, other: Any, threads: ThreadPoolExecutor
) -> None:
    """A connection that is ended under a request is a clear error, and others live."""
    with pool.connection() as kept:
        (asking,) = held(threads, pool, 1, 30)
        await_true(lambda: end_who_sleeps(other, pool), "somebody to sleep")
        with pytest.raises(DatabaseAwayError, match="was lost") as caught:
            asking.result()
        assert caught.value.problem.status == 503
        assert isinstance(caught.value.__cause__, psycopg.OperationalError)
        assert kept.execute("SELECT 2").fetchone() == (2,)
    ask_all(pool, threads)
    assert (pool.slots.in_use, pool.slots.waiting) == (0, 0)


def test_while_the_server_is_away_nobody_waits_and_afterwards_all_is_well(
    server: PostgresServer, pool: Pool, threads: ThreadPoolExecutor
) -> None:
    """While the server is away nobody waits, and afterwards all is well."""
    asking = held(threads, pool, 3, 30)
    await_true(lambda: pool.statistics().open == 3, "three connections")
    asking += held(threads, pool, 20, 0)
    await_true(lambda: pool.slots.waiting == 20, "twenty in line")
    server.kill()
    try:
        begun = time.monotonic()
        asking += held(threads, pool, 30, 0)
        assert {type(each.exception(timeout=10)) for each in asking} == {DatabaseAwayError}
        assert time.monotonic() - begun < 2 * SLOWNESS
    finally:
        server.start()
    await_true(lambda: is_back(pool), "the pool to be back")
    ask_all(pool, threads, 20)
    assert (pool.slots.in_use, pool.slots.waiting) == (0, 0)
    assert pool.statistics().open <= 3


def test_where_the_server_has_no_room_requests_wait_for_the_connections_that_live(
    server: PostgresServer, pool: Pool, threads: ThreadPoolExecutor
) -> None:
    """Where the server has no room for more, requests wait for the connections that live."""
    assert ask(pool) == 1
    with ExitStack() as others:
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            fill(server, others)
        ask_all(pool, threads, 30)
        assert stand(pool) == (1, 0, 1)


@pytest.mark.parametrize(
    "pool", ["connection_limit=3&max_idle_connection_lifetime=0.1"], indirect=True
)
def test_connections_that_rest_are_closed(
    pool: Pool, other: Any, threads: ThreadPoolExecutor
) -> None:
    """Connections that rest are closed."""
    open_all(pool, threads, 3)
    await_true(lambda: count(other, pool) == 0, "connections to be closed")
    assert pool.statistics().open == 0
    ask_all(pool, threads)


@pytest.mark.parametrize("pool", ["connection_limit=1&max_connection_lifetime=0.1"], indirect=True)
def test_a_connection_does_not_live_for_ever(pool: Pool) -> None:
    """A connection does not live for ever."""
    first = ask(pool, PID)
    await_true(lambda: ask(pool, PID) != first, "another connection")
    assert pool.statistics().open == 1


def test_memory_that_is_wanted_back_closes_what_rests(
    pool: Pool, threads: ThreadPoolExecutor
) -> None:
    """Memory that is wanted back closes what rests."""
    open_all(pool, threads, 3)
    with pool.connection() as connection:
        assert registry.shrink(pool.name, 0) == 2 * CONNECTION_BYTES
        await_true(lambda: pool.statistics().open == 1, "two to be closed")
        assert connection.execute("SELECT 2").fetchone() == (2,)
    ask_all(pool, threads)


def test_prepared_statements_are_bounded(pool: Pool) -> None:
    """Prepared statements are bounded."""
    with pool.connection() as connection:
        for number in range(40):
            connection.execute(f"SELECT {number}", prepare=True)
        kept = ask_by(connection, "SELECT count(*) FROM pg_prepared_statements")
    assert 0 < kept <= 16


def test_a_forked_child_begins_anew_and_leaves_its_parent_alone(pool: Pool) -> None:
    """A forked child begins anew, and leaves its parent alone."""
    pid = ask(pool, PID)

    def in_child() -> None:
        assert pool.statistics().open == 0
        assert ask(pool, PID) != pid
        pool.close()

    assert status_of(fork(in_child)) == 0
    assert ask(pool, PID) == pid


def test_a_child_that_is_forked_while_one_is_in_use_leaves_it_to_its_parent(
    pool: Pool, other: Any
) -> None:
    """A child that is forked while one is in use leaves it to its parent, with its transaction."""
    using = pool.connection()
    connection = using.__enter__()
    connection.execute("CREATE TABLE forked ()")

    def in_child() -> None:
        using.__exit__(None, None, None)
        assert stand(pool) == (0, 0, 0)
        assert ask(pool, PID) != connection.info.backend_pid
        assert stand(pool) == (1, 0, 1)
        pool.close()

    assert status_of(fork(in_child)) == 0
    assert ask_by(other, "SELECT count(*) FROM pg_class WHERE relname = 'forked'") == 0
    connection.rollback()
    using.__exit__(None, None, None)
    assert stand(pool) == (1, 0, 1)


def test_it_is_closed_when_the_process_ends(pool: Pool, other: Any) -> None:
    """It is closed when the process ends."""

    def in_child() -> None:
        ask(pool)
        assert count_in_child(pool) == 1
        background.close(5)
        assert pool.statistics().open == 0

    def count_in_child(pool: Pool) -> int:
        return pool.statistics().open

    assert status_of(fork(in_child)) == 0
    await_true(lambda: count(other, pool) == 0, "the child's connection to be closed")


def test_closed_it_opens_anew_and_what_is_in_use_is_closed_when_it_comes_back(pool: Pool) -> None:
    """Closed, it opens anew; what is in use is closed when it comes back."""
    with pool.connection() as connection:
        pid = connection.info.backend_pid
        pool.close()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert pool.statistics().open == 0
    assert ask(pool, PID) != pid


def test_whoever_closes_a_connection_costs_no_place(pool: Pool) -> None:
    """Whoever closes a connection, or leaves it in the middle of something, costs no place."""
    for _ in range(5):
        with pool.connection() as connection:
            connection.close()
        with pytest.raises(psycopg.ProgrammingError), pool.connection() as connection:
            connection.execute("COPY pg_class TO STDOUT")
    assert ask(pool) == 1
    assert pool.slots.in_use == 0
    assert pool.statistics().open == 1


@pytest.mark.parametrize("pool", ["connection_limit=1"], indirect=True)
def test_whoever_closes_a_connection_that_he_has_given_back_costs_nobody_anything(
    pool: Pool,
) -> None:
    """It has died while it rested, and is replaced."""
    with pool.connection() as connection:
        connection.execute("SELECT 1")
    connection.close()
    assert ask(pool) == 1
    assert stand(pool) == (1, 0, 1)


@pytest.mark.parametrize("pool", ["connection_limit=1"], indirect=True)
def test_whoever_is_interrupted_while_he_gives_one_back_costs_no_place(pool: Pool) -> None:
    """Here it is rolled back, and the server does not answer."""

    class InterruptedError(BaseException):
        """Raised by a signal."""

    def interrupt(*_: object) -> None:
        raise InterruptedError

    def fail() -> None:
        with pool.connection() as connection:
            connection.execute("SELECT 1")
            os.kill(pid, signal.SIGSTOP)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            raise ValueError

    before = signal.signal(signal.SIGALRM, interrupt)
    pid = ask(pool, PID)
    try:
        with pytest.raises(InterruptedError):
            fail()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.kill(pid, signal.SIGCONT)
    assert ask(pool) == 1
    assert stand(pool) == (1, 0, 1)


@pytest.mark.parametrize("pool", ["connection_limit=1"], indirect=True)
def test_whoever_is_interrupted_while_he_waits_costs_no_place(pool: Pool) -> None:
    """Whoever is interrupted while he waits, as by Celery's time limit, costs no place."""

    class InterruptedError(BaseException):
        """Raised by a signal."""

    def interrupt(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ThreadPoolExecutor(1) as threads:
            using = pool.connection()
            threads.submit(using.__enter__).result()
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(InterruptedError):
                ask(pool)
            assert pool.slots.waiting == 0
            threads.submit(using.__exit__, None, None, None).result()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stand(pool) == (1, 0, 1)
    assert ask(pool) == 1


@pytest.mark.parametrize("pool", ["connection_limit=1"], indirect=True)
def test_a_connection_comes_back_as_it_was_given_out(pool: Pool) -> None:
    """A connection comes back as it was given out: the next finds no attribute of the last."""
    with pool.connection() as connection:
        pid = connection.info.backend_pid
        connection.commit()
        before = {name: getattr(connection, name) for name in GIVEN}
        connection.read_only, connection.deferrable = True, True
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        connection.prepare_threshold, connection.prepared_max = 0, 3
        connection.row_factory, connection.bounds = dict_row, None
        connection.cursor_factory = psycopg.ClientCursor
        connection.server_cursor_factory = psycopg.ServerCursor[Any]
        connection.autocommit = True
        assert not [name for name in GIVEN if getattr(connection, name) is before[name]]
    with pool.connection() as connection:
        assert {name: getattr(connection, name) for name in GIVEN} == before
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
        assert connection.info.backend_pid == pid


def test_no_thread_but_the_stores_own_is_begun(pool: Pool) -> None:
    """No thread is begun but the one of all stores."""
    ask(pool)
    before = threading.active_count()
    for _ in range(10):
        ask(pool)
    assert threading.active_count() <= before


def test_connections_are_logged_and_never_the_password(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections are logged, and never the password."""
    url = server.url.replace("postgres@", "postgres:s3cret@")
    with caplog.at_level(logging.INFO, "tonnage.db"):
        pool = db.pool(url, name="secretive")
        ask(pool)
        pool.close()
    assert any("opened: secretive" in each for each in caplog.messages)
    assert "s3cret" not in caplog.text


def stand(pool: Pool) -> tuple[int, int, int]:
    """Return how many are open, in use and idle."""
    found = pool.statistics()
    return found.open, found.in_use, found.idle


def end_who_sleeps(other: Any, pool: Pool) -> bool:
    """End who sleeps; return whether there was one."""
    statement = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = %s AND state = 'active' AND query LIKE '%%pg_sleep%%'"
    )
    return bool(other.execute(statement, [pool.name]).fetchone()[0])


def is_back(pool: Pool) -> bool:
    """Return whether the pool answers."""
    try:
        return bool(ask(pool) == 1)
    except DatabaseAwayError:
        return False


@pytest.mark.parametrize(
    "pool", ["connection_limit=3&max_idle_connection_lifetime=4"], indirect=True
)
def test_the_servers_count_is_asked_again_while_the_pool_is_used(
    server: PostgresServer, pool: Pool
) -> None:
    """Four times while a connection may rest."""
    ask(pool)
    before = pool.statistics().server_connections
    assert before is not None
    with psycopg.connect(server.url), psycopg.connect(server.url):
        await_true(
            lambda: (pool.statistics().server_connections or 0) > before, "the others to be counted"
        )
    assert pool.statistics().opened_total == 1


def test_a_count_that_fails_costs_no_place(server: PostgresServer) -> None:
    """Not even where an answer of one row is more than may be loaded."""
    url = f"{server.url}&connection_limit=1&max_idle_connection_lifetime=1"
    pool = db.pool(url, name="small", max_bytes=100)
    for _ in range(15):
        with pool.connection(timeout=2 * SLOWNESS):
            pass
        time.sleep(0.1)
    pool.close()
