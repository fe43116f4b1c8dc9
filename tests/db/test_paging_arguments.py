"""What the application gives that pages cannot be made of: told at once, and to it alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import pytest
from benchmarks import paging
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.pool import StaticPool
from tests.db.paging_lists import THINGS

from tonnage import db
from tonnage.errors import DatabaseError

THINGS_BY_ID = select(THINGS.c.id).order_by(THINGS.c.id)


@pytest.fixture
def connection() -> Iterator[Connection]:
    """Yield a connection to an empty table of things."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        THINGS.create(connection)
        yield connection
    engine.dispose()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "5"}, "size= is a whole number, and '5' is a str"),
        ({"size": 2.0}, "size= is a whole number"),
        ({"size": True}, "size= is a whole number"),
        ({"max_size": 0}, "max_size= is 1 or more"),
    ],
)
def test_what_is_no_number_is_told_to_the_application(
    connection: Connection, options: Any, message: str
) -> None:
    """And not made something of."""
    for ask in (db.page, db.page_of):
        with pytest.raises(DatabaseError, match=message):
            ask(connection, THINGS_BY_ID, **options)


def test_what_numbers_of_pages_are_is_told(connection: Connection) -> None:
    """The same for what only pages by number have."""
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"number": "2"}, "number= is a whole number, and '2' is a str"),
        ({"max_offset": -1}, "max_offset= is 0 or more"),
        ({"count_to": -1}, "count_to= is 0 or more"),
        ({"count_to": "9"}, "count_to= is a whole number"),
    ]
    for options, message in wrong:
        with pytest.raises(DatabaseError, match=message):
            db.page_of(connection, THINGS_BY_ID, **options)


def test_an_engine_is_no_connection(connection: Connection) -> None:
    """Nor is anything else that statements are not run by."""
    for where in (connection.engine, "things"):
        for ask in (db.page, db.page_of):
            with pytest.raises(
                DatabaseError, match=r"a connection or a session, and .* is neither"
            ):
                ask(where, THINGS_BY_ID)  # type: ignore[call-overload]


def test_the_benchmark_needs_as_many_pages_as_it_times() -> None:
    """And says so before it has filled a list."""
    chosen = argparse.Namespace(rows=2000, size=100, databases="sqlite")
    with pytest.raises(SystemExit, match="102 pages of 100 at least"):
        paging.run(chosen)
