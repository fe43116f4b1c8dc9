"""How pages are asked for: the order, and the conditions for what comes after a place."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    REAL,
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Table,
    and_,
    desc,
    func,
    literal_column,
    select,
)
from tests.db.paging_books import DIALECTS, Author, Book, Shelf, after, ordered, sql

from tonnage.db.paging.fitting import fits
from tonnage.db.paging.keyset import conditions_after
from tonnage.db.paging.order import order_of
from tonnage.db.paging.rows import with_places


def test_ties_are_broken_by_primary_keys() -> None:
    """In the direction of the last key, so that one index has the whole order."""
    assert ordered(select(Book)) == "book.id ASC"
    assert ordered(select(Book).order_by(Book.id.desc())) == "book.id DESC"
    assert ordered(select(Book).order_by(Book.year.desc())) == "book.year DESC, book.id DESC"
    assert ordered(select(Shelf).order_by(Shelf.number)) == "shelf.number ASC, shelf.room ASC"
    assert (
        ordered(select(Author).order_by(Author.country.desc().nulls_last(), Author.id))
        == "author.country DESC NULLS LAST, author.id ASC"
    )


def test_what_a_row_says_of_itself_is_an_order() -> None:
    """Whatever functions are called that say it, and though literals are part of it."""
    orders: list[ColumnElement[Any]] = [
        func.uuid_extract_timestamp(Book.title),
        func.random_of(Book.id),
        literal_column("2 + year"),
        func.coalesce(Book.year, 0),
    ]
    for by in orders:
        assert ordered(select(Book).order_by(by)).endswith(" ASC, book.id ASC")


def test_what_is_joined_by_its_key_breaks_no_ties() -> None:
    """There is one of it at most; so the index of the other table has the whole order."""
    assert ordered(select(Book).join(Book.author).order_by(Book.year)) == (
        "book.year ASC, book.id ASC"
    )
    assert ordered(select(Shelf).join(Book).outerjoin(Book.author)) == (
        "shelf.room ASC, shelf.number ASC"
    )
    # The whole key, that is: there may be many shelves with one number, and books of one year.
    for condition in (Shelf.number == Book.id, and_(Shelf.number == Book.id, Shelf.room == 1)):
        assert ordered(select(Book).join(Shelf, condition)) == (
            "book.id ASC, shelf.room ASC, shelf.number ASC"
        )
    assert ordered(select(Book).join(Author, Author.id == Author.id)) == (
        "book.id ASC, author.id ASC"
    )


def test_rows_are_compared_as_one_where_an_index_can() -> None:
    """All in one direction, and without NULL behind the first."""
    statement = select(Book).order_by(Book.year)
    assert after(statement, (1990, 7)) == ["(book.year, book.id) > (1990, 7)"]
    assert after(select(Book).order_by(Book.year.desc()), (1990, 7)) == [
        "(book.year, book.id) < (1990, 7)"
    ]
    assert after(select(Book), (7,)) == ["book.id > 7"]


def test_other_orders_begin_with_a_bound_of_the_first_key() -> None:
    """So that the database begins there, and not at the beginning."""
    mixed = select(Book).order_by(Book.year.desc(), Book.id)
    assert after(mixed, (1990, 7)) == [
        "book.year <= 1990 AND (book.year < 1990 OR book.year = 1990 AND book.id > 7)"
    ]
    # MySQL compares rows, but does not look for them in an index.
    assert after(select(Book).order_by(Book.year), (1990, 7), "mysql") == [
        "book.year >= 1990 AND (book.year > 1990 OR book.year = 1990 AND book.id > 7)"
    ]
    # And no index has the columns of two tables.
    joined = select(Book).join(Book.author).order_by(Author.name)
    assert after(joined, ("Ada", 7)) == [
        "author.name >= 'Ada' AND (author.name, book.id) > ('Ada', 7)"
    ]


def test_null_is_where_the_database_has_it() -> None:
    """Each range of the index is asked for by itself, in the order in which they are."""
    up, down = select(Author).order_by(Author.country), select(Author).order_by(desc("country"))
    is_null, rows = "author.country IS NULL", "(author.country, author.id)"
    assert after(up, ("UK", 1)) == [f"{rows} > ('UK', 1)", is_null]
    assert after(up, (None, 1)) == [f"{is_null} AND author.id > 1"]
    assert after(down, ("UK", 1)) == [f"{rows} < ('UK', 1)"]
    assert after(down, (None, 1)) == [f"{is_null} AND author.id < 1", "author.country IS NOT NULL"]
    assert after(up, ("UK", 1), "sqlite") == [f"{rows} > ('UK', 1)"]
    assert after(down, ("UK", 1), "sqlite") == [f"{rows} < ('UK', 1)", is_null]
    first = select(Author).order_by(Author.country.asc().nulls_first())
    assert after(first, ("UK", 1)) == [f"{rows} > ('UK', 1)"]


def test_mysql_understands_what_it_is_asked() -> None:
    """NULLS LAST, which it does not know, is never added."""
    statement = select(Author).order_by(Author.country.desc())
    keys = order_of(statement, DIALECTS["mysql"])
    for condition in conditions_after(keys, ("UK", 7), "mysql"):
        whole = sql(with_places(statement, keys).where(condition).limit(21), "mysql")
        assert "NULLS" not in whole
        assert whole.endswith("ORDER BY author.country DESC, author.id DESC LIMIT 21")


def test_a_place_that_was_in_the_list_fits() -> None:
    """In databases whose types have more room than those of PostgreSQL."""
    table = Table("numbers", MetaData(), Column("i", Integer), Column("r", REAL))
    for column, value in [(table.c.i, 2**32 - 1), (table.c.r, 1e300)]:
        key = order_of(select(table).order_by(column), DIALECTS["mysql"], is_order_unique=True)[0]
        assert fits(value, key, DIALECTS["mysql"])
        assert fits(value, key, DIALECTS["sqlite"])
        assert not fits(value, key, DIALECTS["postgresql"])
