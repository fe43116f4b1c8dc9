"""Pages of lists in SQLite: any order, any data, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Table,
    create_engine,
    func,
    insert,
    select,
    table,
)
from sqlalchemy.pool import StaticPool
from tests.db.paging_lists import (
    KINDS,
    MOMENT,
    ROWS,
    THINGS,
    order_by,
    orders,
    read_backwards,
    read_forwards,
)
from tests.db.paging_places import PLACES, made_up_places

from tonnage import db
from tonnage.db.paging import PageQuery
from tonnage.errors import DatabaseError, PageCursorError, RequestRefusedError


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    """Yield a connection to an empty table of things."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        THINGS.create(connection)
        yield connection
    engine.dispose()


@settings(max_examples=60, deadline=None)
@given(ROWS, orders(), st.integers(1, 4))
def test_pages_together_are_the_list(
    connection: Connection, rows: list[dict[str, Any]], order: Any, size: int
) -> None:
    """Whatever it is ordered by, with NULLs and ties; forwards and backwards."""
    with connection.begin_nested() as attempt:
        if rows:
            connection.execute(insert(THINGS), rows)
        whole = list(connection.execute(select(THINGS).order_by(*order_by(order, with_id=True))))
        statement = select(THINGS).order_by(*order_by(order))
        assert read_forwards(connection, statement, size) == whole
        assert read_backwards(connection, statement, size) == whole
        attempt.rollback()


@pytest.fixture
def things(connection: Connection) -> Iterator[Connection]:
    """Yield a connection to seven things, ``id`` and ``b`` from 1 to 7."""
    with connection.begin_nested() as attempt:
        connection.execute(
            insert(THINGS), [{"id": n, "a": n % 3 or None, "b": n, "c": "x"} for n in range(1, 8)]
        )
        yield connection
        attempt.rollback()


BY_ID = select(THINGS.c.id).order_by(THINGS.c.id)


def test_a_page_leads_to_the_next_and_back(things: Connection) -> None:
    """The first has none before it, the last none after."""
    first = db.page(things, BY_ID, size=3)
    assert (first.rows, first.previous) == ([1, 2, 3], None)
    second = db.page(things, BY_ID, size=3, after=first.next)
    assert second.rows == [4, 5, 6]
    third = db.page(things, BY_ID, size=3, after=second.next)
    assert (third.rows, third.next) == ([7], None)
    assert db.page(things, BY_ID, size=3, before=third.previous) == second
    back = db.page(things, BY_ID, size=3, before=second.previous)
    assert (back.rows, back.previous) == (first.rows, None)
    assert db.page(things, BY_ID, size=3, after=back.next) == second


def test_a_page_goes_on_where_its_row_was(things: Connection) -> None:
    """Though that is deleted; nothing is missed, and nothing doubled, as others come and go."""
    first = db.page(things, BY_ID, size=3)
    things.execute(THINGS.delete().where(THINGS.c.id.in_([1, 3])))
    things.execute(insert(THINGS), {"id": 0, "b": 0})
    assert db.page(things, BY_ID, size=3, after=first.next).rows == [4, 5, 6]


def test_nothing_after_is_an_empty_page(things: Connection) -> None:
    """As where all that followed was deleted."""
    first = db.page(things, BY_ID, size=5)
    things.execute(THINGS.delete().where(THINGS.c.id > 5))
    after = db.page(things, BY_ID, size=5, after=first.next)
    assert (after.rows, after.next, after.previous) == ([], None, None)


def test_the_size_is_bounded(things: Connection) -> None:
    """A larger one is made smaller; none at all is refused."""
    assert len(db.page(things, BY_ID, size=1_000_000, max_size=5).rows) == 5
    assert db.page(things, BY_ID, size=1_000_000, max_size=5).size == 5
    for size in (0, -1):
        with pytest.raises(RequestRefusedError, match="1 row at least") as caught:
            db.page(things, BY_ID, size=size)
        assert caught.value.problem.status == 400


def test_what_a_client_asks_for_is_one_object(things: Connection) -> None:
    """As a framework makes it from the parameters of a query."""
    first = db.page(things, BY_ID, PageQuery(size=2))
    assert db.page(things, BY_ID, PageQuery(2, after=first.next)).rows == [3, 4]
    with pytest.raises(RequestRefusedError, match="not both"):
        db.page(things, BY_ID, PageQuery(2, first.next, first.next))


def test_a_response_has_items_and_cursors(things: Connection) -> None:
    """Rows of several columns are objects; the header names the pages beside, as URLs."""
    statement = select(THINGS.c.id, THINGS.c.b).order_by(THINGS.c.b)
    first = db.page(things, statement, size=1)
    assert first.body() == {"items": [{"id": 1, "b": 1}], "next": first.next, "previous": None}
    second = db.page(things, statement, size=1, after=first.next)
    assert second.links("/things?after=x&tag=a%26b&size=1") == (
        f'</things?tag=a%26b&size=1&after={second.next}>; rel="next",'
        f' </things?tag=a%26b&size=1&before={second.previous}>; rel="prev"'
    )
    assert db.page(things, statement).links("/things") == ""


def test_a_cursor_is_for_one_order(things: Connection) -> None:
    """Filters may change, the order may not."""
    after = db.page(things, BY_ID, size=3).next
    assert db.page(things, BY_ID.where(THINGS.c.id != 5), size=2, after=after).rows == [4, 6]
    for other in (THINGS.c.id.desc(), THINGS.c.b, func.abs(THINGS.c.id) + 1):
        with pytest.raises(PageCursorError, match="another order"):
            db.page(things, select(THINGS.c.id).order_by(other), after=after)


def test_a_constant_in_an_order_is_part_of_it(things: Connection) -> None:
    """How far from 3, and how far from 5, are two orders."""
    near = [select(THINGS.c.id).order_by(func.abs(THINGS.c.b - place)) for place in (3, 5)]
    after = db.page(things, near[0], size=3).next
    assert sorted(db.page(things, near[0], after=after).rows) == [1, 5, 6, 7]
    with pytest.raises(PageCursorError, match="another order"):
        db.page(things, near[1], after=after)


def test_cursors_are_signed_with_a_secret(things: Connection) -> None:
    """Then one without, or with another, is refused."""
    one, other = b"one secret, long enough", b"another, as long as that"
    after = db.page(things, BY_ID, size=3, secret=one).next
    assert db.page(things, BY_ID, size=3, after=after, secret=one).rows == [4, 5, 6]
    for cursor in (after, db.page(things, BY_ID, size=3).next):
        with pytest.raises(PageCursorError):
            db.page(things, BY_ID, after=cursor, secret=other)


@pytest.mark.parametrize(("kind", "value"), KINDS, ids=lambda each: str(each)[:20])
@pytest.mark.parametrize("is_nullable", [False, True])
def test_columns_of_any_kind_can_be_ordered_by(
    connection: Connection, kind: Any, value: Callable[[int], Any], is_nullable: bool
) -> None:
    """Cursors hold their values exactly."""
    ordered = Table(
        "ordered",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("value", kind, nullable=is_nullable),
    )
    with connection.begin_nested() as attempt:
        ordered.create(connection)
        rows = [{"id": n, "value": value(n)} for n in range(1, 7)]
        if is_nullable:
            rows += [{"id": 8, "value": None}, {"id": 9, "value": None}]
        connection.execute(insert(ordered), rows)
        for order in (
            [ordered.c.value, ordered.c.id],
            [ordered.c.value.desc(), ordered.c.id.desc()],
        ):
            whole = list(connection.execute(select(ordered).order_by(*order)))
            statement = select(ordered).order_by(order[0])
            assert read_forwards(connection, statement, 2) == whole
            assert read_backwards(connection, statement, 3) == whole
        attempt.rollback()


def test_a_moment_has_its_zone(connection: Connection) -> None:
    """What SQLite gives back has none, and is compared as it is."""
    moments = Table("moments", MetaData(), Column("at", DateTime(timezone=True), primary_key=True))
    with connection.begin_nested() as attempt:
        moments.create(connection)
        days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
        connection.execute(insert(moments), [{"at": each} for each in days])
        read = read_forwards(connection, select(moments.c.at), 1)
        assert [each.date() for each in read] == [date(2026, 1, day) for day in (1, 2, 3)]
        attempt.rollback()


@pytest.mark.parametrize(
    ("value", "column"),
    [
        ("seven", THINGS.c.b),
        (2**70, THINGS.c.b),
        (None, THINGS.c.b),
        (True, THINGS.c.b),
        (Decimal("sNaN"), THINGS.c.b),
        (Decimal("1E+9999"), THINGS.c.d),
        (7, THINGS.c.c),
        ("\x00", THINGS.c.c),
        ("\ud800", THINGS.c.c),
        (MOMENT, THINGS.c.d),
    ],
)
def test_a_made_up_place_that_does_not_fit_is_refused(
    things: Connection, value: Any, column: Column[Any]
) -> None:
    """Rather than met by the driver, which would make it an error of the application."""
    from tonnage.db.paging.cursors import Cursors
    from tonnage.db.paging.order import order_of, words_of

    statement = select(THINGS).order_by(column)
    words = words_of(order_of(statement, things.dialect), things.dialect)
    with pytest.raises(PageCursorError, match="does not fit"):
        db.page(things, statement, after=Cursors(words).write([value, 1]))


def test_no_made_up_place_reaches_the_driver(connection: Connection) -> None:
    """Columns of all kinds, and values that fit others."""
    with connection.begin_nested() as attempt:
        PLACES.create(connection)
        refused = 0
        for _, statement, cursor in made_up_places(connection.dialect):
            try:
                db.page(connection, statement, after=cursor)
            except PageCursorError:
                refused += 1
        assert refused
        attempt.rollback()


def test_numbered_pages_end_somewhere(things: Connection) -> None:
    """What is passed over is read, so that it is bounded."""
    first = db.page_of(things, BY_ID, size=3)
    assert (first.rows, first.number, first.next, first.previous) == ([1, 2, 3], 1, 2, None)
    last = db.page_of(things, BY_ID, 3, size=3)
    assert (last.rows, last.next, last.previous) == ([7], None, 2)
    assert db.page_of(things, BY_ID, 4, size=3).rows == []
    assert db.page_of(things, BY_ID, 2, size=3, max_offset=5).next is None
    for number in (0, -1, 3):
        with pytest.raises(RequestRefusedError, match="numbered 1 to 2"):
            db.page_of(things, BY_ID, number, size=3, max_offset=5)
    with pytest.raises(RequestRefusedError, match="numbered 1 to 501"):
        db.page_of(things, BY_ID, 10**30)


def test_a_list_is_counted_no_further_than_told(things: Connection) -> None:
    """More than that is at least so many."""
    assert db.page_of(things, BY_ID).total is None
    exact = db.page_of(things, BY_ID, count_to=7)
    assert (exact.total, exact.is_total_exact) == (7, True)
    more = db.page_of(things, BY_ID, count_to=6, size=2)
    assert (more.total, more.is_total_exact) == (6, False)
    assert more.body() == {
        "items": [1, 2],
        "page": 1,
        "next": 2,
        "previous": None,
        "total": 6,
        "isTotalExact": False,
    }
    assert more.links("/?page=1&size=2") == '</?size=2&page=2>; rel="next"'


def test_numbered_pages_are_of_any_statement(things: Connection) -> None:
    """Groups too, in the order they say."""
    groups = select(THINGS.c.a, func.count()).group_by(THINGS.c.a).order_by(THINGS.c.a)
    assert db.page_of(things, groups, 2, size=1).rows == [(1, 3)]
    with pytest.raises(DatabaseError, match="LIMIT"):
        db.page_of(things, groups.limit(3))


def test_only_what_is_named_is_selected(things: Connection) -> None:
    """By names or columns; a wrong name is told with the nearest."""
    statement = db.only(THINGS, "id", THINGS.c.b).order_by("b")
    assert things.execute(statement).first() == (1, 1)
    assert "things.c" not in str(statement)
    with pytest.raises(DatabaseError, match="things has no column 'idd': did you mean 'id'"):
        db.only(THINGS, "idd")
    with pytest.raises(DatabaseError, match="there are id, a, b"):
        db.only(THINGS, "somewhere")
    with pytest.raises(DatabaseError, match="needs the names"):
        db.only(THINGS)
    with pytest.raises(DatabaseError, match="is neither"):
        db.only(7, "id")


def test_a_table_without_a_key_is_told_apart_by_the_application(things: Connection) -> None:
    """A view, or what SQLAlchemy knows the name of only."""
    bare = table("things", Column("b", Integer))
    with pytest.raises(DatabaseError, match="'things' cannot be told apart"):
        db.page(things, select(bare.c.b).order_by(bare.c.b))
    statement = select(bare.c.b).order_by(bare.c.b)
    first = db.page(things, statement, size=3, is_order_unique=True)
    assert db.page(things, statement, after=first.next, is_order_unique=True).rows == [4, 5, 6, 7]
