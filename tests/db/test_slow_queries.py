"""Slow queries in the log: which, how long, how many rows, and where."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from tests.db.watched import Watched

from tonnage.db.guard.slow import LINES_PER_SECOND, LineLimit, SlowQueries
from tonnage.governor.admission import Request
from tonnage.governor.costs import RouteCost
from tonnage.logs import context
from tonnage.web.meter import current_request


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Yield the log of databases."""
    with caplog.at_level(logging.WARNING, "tonnage.db"):
        yield caplog


@pytest.mark.parametrize("driver", ["sqlite", "aiosqlite"])
def test_a_slow_query_is_logged_with_all_that_helps(
    driver: str, log: pytest.LogCaptureFixture
) -> None:
    """Where every query is slow."""
    watched = Watched(driver, "sqlite://", slow_seconds=0.0)
    line = 0

    def read(connection: Connection) -> None:
        nonlocal line
        line = read.__code__.co_firstlineno + 3
        connection.execute(text(f"{watched.numbers(150)} WHERE n <> :secret"), {"secret": 4711})

    watched.run(read)
    (record,) = (each for each in log.records if "RECURSIVE" in each.getMessage())
    message = record.getMessage()
    assert record.levelname == "WARNING"
    assert message.startswith("slow query: ")
    assert f" s, 150 rows, at tests/db/{__name__.rpartition('.')[2]}.py:{line}: WITH" in message
    assert "4711" not in message


def test_a_query_that_is_quick_or_fails_is_not_logged(log: pytest.LogCaptureFixture) -> None:
    """Who catches an error knows more of it."""
    watched = Watched("sqlite", "sqlite://", slow_seconds=60.0)
    watched.run(lambda connection: connection.execute(text("SELECT 1")).all())
    watched = Watched("sqlite", "sqlite://", slow_seconds=0.0)

    def fail(connection: Connection) -> None:
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT nothing"))

    watched.run(fail)
    assert "SELECT" not in log.text


@pytest.mark.parametrize(
    ("has_ended", "named"),
    [(False, ", GET /events, request 3f2a: SELECT 1"), (True, ", request 3f2a: SELECT 1")],
)
def test_route_and_request_are_named_where_they_are_known(
    log: pytest.LogCaptureFixture, has_ended: bool, named: str
) -> None:
    """As they are under ``tonnage run``; a driver's own task outlives the request it began in."""
    route = RouteCost("GET /events", memoryview(bytearray(8 * 64)).cast("d"))
    request = current_request.set(Request(route, 0.0, has_ended=has_ended))
    identified = context.current.set("3f2a")
    try:
        SlowQueries(0.5, now=lambda: 12.0, limit=LineLimit()).note(10.0, "SELECT 1", -1)
    finally:
        current_request.reset(request)
        context.current.reset(identified)
    assert log.messages[0].startswith("slow query: 2 s, at ")
    assert log.messages[0].endswith(named)
    assert ("GET /events" in log.messages[0]) is not has_ended


def test_only_some_lines_come_a_second_and_the_others_are_counted(
    log: pytest.LogCaptureFixture,
) -> None:
    """A thousand slow queries are a handful of lines."""
    now = 100.0
    slow = SlowQueries(0.5, now=lambda: now, limit=LineLimit())
    assert slow.is_slow(99.0)
    assert not slow.is_slow(99.9)
    for _ in range(1000):
        slow.note(99.0, "SELECT 1", 1)
    assert len(log.records) == LINES_PER_SECOND
    now = 101.0
    slow.note(99.0, "SELECT 2", 1)
    left_out = 1000 - LINES_PER_SECOND
    assert log.messages[-1].endswith(f"SELECT 2 ({left_out} more were slow and not logged)")
