"""Engines for threads: on a real PostgreSQL by psycopg."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text
from tests.support.forking import fork, status_of
from tests.support.postgres import PostgresServer, no_room
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

from tonnage import db
from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.db.pooling.counting import PoolStatistics
from tonnage.errors import DatabaseAwayError, PoolBusyError
from tonnage.governor.consumers import registry

pytestmark = pytest.mark.real


class Tried:
    """An engine of the test's own."""

    def __init__(self, server: PostgresServer, name: str, parameters: str) -> None:
        self.name = name
        url = f"{server.url}&application_name={name}&{parameters}"
        self.engine: Engine = db.engine(url, name=name, guard="off")

    def ask(self, statement: str = "SELECT 1", **values: object) -> Any:
        """Return the first value of a statement's answer."""
        with self.engine.connect() as connection:
            return connection.execute(text(statement), values).scalar()

    def sleep(self, seconds: float) -> Any:
        """Hold a connection for so long."""
        return self.ask("SELECT pg_sleep(:seconds)", seconds=seconds * SLOWNESS)

    @property
    def statistics(self) -> PoolStatistics:
        """How it stands."""
        return db.statistics()[self.name]


Make = Callable[..., Tried]


@pytest.fixture
def make(server: PostgresServer) -> Iterator[Make]:
    """Yield what makes engines."""
    made: list[Tried] = []

    def make(name: str, parameters: str = "connection_limit=3") -> Tried:
        made.append(Tried(server, name, parameters))
        return made[-1]

    yield make
    for each in made:
        each.engine.dispose()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Yield 50 threads."""
    with ThreadPoolExecutor(50) as pool:
        yield pool


def test_never_more_connections_than_the_limit_and_every_thread_is_served(
    make: Make, threads: ThreadPoolExecutor
) -> None:
    """Never more connections than the limit and every thread is served."""
    tried, other = make("threads"), make("threads_seen")
    found = [threads.submit(tried.sleep, 0.01) for _ in range(50)]
    most = 0
    while not all(each.done() for each in found):
        counted = other.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'threads'"
        )
        most = max(most, counted)
    assert 1 <= most <= 3
    assert [each.exception() for each in found] == [None] * 50
    statistics = tried.statistics
    assert (statistics.open, statistics.in_use, statistics.idle) == (3, 0, 3)


def test_a_wait_in_a_thread_is_bounded(make: Make) -> None:
    """A wait in a thread is bounded."""
    tried = make("threads_wait", "connection_limit=1&pool_timeout=0.05")
    with tried.engine.connect(), pytest.raises(PoolBusyError, match=r"none came free in 0\.05 s"):
        tried.ask()
    assert tried.ask() == 1


def test_a_server_that_restarts_is_away_and_comes_back(
    server: PostgresServer, make: Make, threads: ThreadPoolExecutor
) -> None:
    """A server that restarts is away and comes back."""
    tried = make("threads_restart")
    running = [threads.submit(tried.sleep, 30) for _ in range(3)]
    await_true(lambda: tried.statistics.open == 3, "all connections to be in use")
    waiting = [threads.submit(tried.ask) for _ in range(20)]
    await_true(lambda: tried.statistics.waiting == 20, "the others to wait")
    server.kill()
    try:
        errors = [each.exception(5 * SLOWNESS) for each in running + waiting]
        begun = time.monotonic()
        for _ in range(20):
            with pytest.raises(DatabaseAwayError) as caught:
                tried.ask()
            assert caught.value.problem.status == 503
        assert time.monotonic() - begun < 2 * SLOWNESS
    finally:
        server.start()
    assert {type(each) for each in errors} == {DatabaseAwayError}

    def is_back() -> bool:
        try:
            return bool(tried.ask() == 1)
        except DatabaseAwayError:
            return False

    await_true(is_back, "the server to be asked again")
    assert [each.result() for each in [threads.submit(tried.ask) for _ in range(20)]] == [1] * 20
    assert tried.statistics.in_use == 0


def test_a_connection_that_is_ended_under_a_thread_is_a_clear_error(make: Make) -> None:
    """A connection that is ended under a thread is a clear error."""
    tried, other = make("threads_killed"), make("threads_killer")
    with tried.engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        other.ask("SELECT pg_terminate_backend(:pid, 1000)", pid=pid)
        with pytest.raises(DatabaseAwayError, match="was lost") as caught:
            connection.execute(text("SELECT 1"))
    assert caught.value.__cause__ is not None
    assert tried.ask() == 1
    assert tried.statistics.in_use == 0


def test_connections_that_rest_are_closed_beside_the_threads(make: Make) -> None:
    """Connections that rest are closed beside the threads."""
    tried = make("threads_idle", "connection_limit=2&max_idle_connection_lifetime=0.1")
    assert tried.ask() == 1
    await_true(lambda: tried.statistics.open == 0, "the idle connection to be closed")
    assert tried.ask() == 1


def test_memory_that_is_wanted_back_closes_what_rests_in_threads(make: Make) -> None:
    """Memory that is wanted back closes what rests in threads."""
    tried = make("threads_memory")
    assert tried.ask() == 1
    assert registry.shrink("threads_memory", 0) == CONNECTION_BYTES
    await_true(lambda: tried.statistics.open == 0, "the connection to be closed")
    assert tried.ask() == 1


def test_a_forked_child_leaves_its_parents_connections_alone(make: Make) -> None:
    """A forked child leaves its parent's connections alone."""
    tried = make("threads_forked")
    pid = tried.ask("SELECT pg_backend_pid()")

    def in_child() -> None:
        assert tried.statistics.open == 0
        assert tried.ask("SELECT pg_backend_pid()") != pid
        tried.engine.dispose()

    assert status_of(fork(in_child)) == 0
    assert tried.ask("SELECT pg_backend_pid()") == pid


def test_nothing_is_opened_and_no_thread_begun_by_making_an_engine(make: Make) -> None:
    """Nothing is opened and no thread begun by making an engine."""
    before = threading.active_count()
    tried = make("threads_unused")
    assert tried.statistics.open == 0
    assert threading.active_count() == before


def test_errors_of_statements_stay_what_they_are(make: Make) -> None:
    """Errors of statements stay what they are."""
    from sqlalchemy.exc import ProgrammingError

    tried = make("threads_errors")
    with pytest.raises(ProgrammingError):
        tried.ask("SELECT nothing")
    assert tried.statistics.closed_total == 0


def test_when_the_server_is_full_threads_wait_for_what_there_is(
    server: PostgresServer, make: Make, threads: ThreadPoolExecutor
) -> None:
    """When the server is full threads wait for what there is."""
    tried = make("threads_full", "connection_limit=5&pool_timeout=10")
    assert tried.ask() == 1
    with no_room(server):
        found = [threads.submit(tried.sleep, 0.002) for _ in range(50)]
        assert [each.result() for each in found] == [""] * 50
        assert tried.statistics.open == 1


def test_a_connection_that_ended_just_now_is_replaced_unseen(make: Make) -> None:
    """A connection that ended just now is replaced unseen."""
    tried, other = make("threads_ended"), make("threads_ender")
    pid = tried.ask("SELECT pg_backend_pid()")
    other.ask("SELECT pg_terminate_backend(:pid, 1000)", pid=pid)
    assert tried.ask("SELECT pg_backend_pid()") != pid


def test_a_child_forked_while_one_is_in_use_leaves_it_alone(make: Make) -> None:
    """A child forked while one is in use leaves it alone."""
    tried = make("threads_forked_in_use", "connection_limit=2")
    with tried.engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        connection.execute(text("CREATE TEMPORARY TABLE ours (number integer)"))

        def in_child() -> None:
            with pytest.raises(Exception, match="is the parent's"):
                connection.execute(text("SELECT 1"))
            connection.close()
            assert (tried.statistics.in_use, tried.statistics.idle) == (0, 0)
            assert tried.ask("SELECT pg_backend_pid()") != pid
            found = tried.statistics
            assert (found.open, found.in_use, found.idle) == (1, 0, 1)
            tried.engine.dispose()

        assert status_of(fork(in_child)) == 0
        # Its transaction goes on: the child has said nothing.
        assert connection.execute(text("SELECT count(*) FROM ours")).scalar() == 0
