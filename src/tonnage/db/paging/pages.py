"""A page of a list, after or before a place in it: at the same cost wherever that is ("keyset").

    page = await db.page(connection, select(Event).order_by(Event.starts_at), after=cursor, size=20)
    page.rows, page.next                        # without an asynchronous connection: no await

Promises: the pages of a list together have each row once that is there throughout and keeps its
place, whatever is inserted, deleted or moved meanwhile; forwards and backwards. No page has more
than ``max_size`` rows, and one more is read than it has, to know whether there is a next.

Two statements at most (:mod:`tonnage.db.paging.keyset`). The cost is that of the index which serves
the order: where there is none, the database sorts everything for each page.
Does not count the list, and has no page numbers: see :mod:`tonnage.db.paging.offset`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, TypeVarTuple, Unpack, overload

from tonnage.db.paging.asking import Steps, carry_out, dialect_of
from tonnage.db.paging.cursors import Cursors, refused
from tonnage.db.paging.fitting import fits
from tonnage.db.paging.keyset import conditions_after
from tonnage.db.paging.order import Key, order_of, words_of
from tonnage.db.paging.page import Page
from tonnage.db.paging.rows import apart, with_places
from tonnage.db.paging.web import (
    MOST_ROWS,
    USUAL_SIZE,
    PageQuery,
    checked_size,
    refused_page,
)

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Row, Select

    from tonnage.db.paging.asking import AnySelect, Asynchronous, Synchronous

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
Rest = TypeVarTuple("Rest")


class PageOptions(TypedDict, total=False):
    """What :func:`page` takes by name."""

    size: int
    after: str | None
    before: str | None
    max_size: int
    secret: str | bytes | None
    is_order_unique: bool


@overload
def page(
    where: Synchronous,
    statement: Select[T],
    query: PageQuery | None = None,
    **options: Unpack[PageOptions],
) -> Page[T]: ...


@overload
def page(
    where: Synchronous,
    statement: Select[A, B, *Rest],
    query: PageQuery | None = None,
    **options: Unpack[PageOptions],
) -> Page[Row[A, B, *Rest]]: ...


@overload
def page(
    where: Asynchronous,
    statement: Select[T],
    query: PageQuery | None = None,
    **options: Unpack[PageOptions],
) -> Awaitable[Page[T]]: ...


@overload
def page(
    where: Asynchronous,
    statement: Select[A, B, *Rest],
    query: PageQuery | None = None,
    **options: Unpack[PageOptions],
) -> Awaitable[Page[Row[A, B, *Rest]]]: ...


def page(
    where: Synchronous | Asynchronous,
    statement: AnySelect,
    query: PageQuery | None = None,
    *,
    size: int = USUAL_SIZE,
    after: str | None = None,
    before: str | None = None,
    max_size: int = MOST_ROWS,
    secret: str | bytes | None = None,
    is_order_unique: bool = False,
) -> Any:
    """Return a page of *statement*; an awaitable of it if *where* is asynchronous.

    Args:
        where: SQLAlchemy's connection or session.
        statement: a ``select()``. Its ``order_by()`` may have several columns, expressions and
            directions; primary keys are added to it, so that no two rows are equal. Filters may
            differ from page to page, the order may not.
        query: what a client asks for, instead of *size*, *after* and *before*.
        size: rows of the page; *max_size* at most, whatever is asked for.
        after: the cursor of another page, for what comes after it.
        before: the cursor of another page, for what comes before it.
        max_size: the most rows of a page.
        secret: what signs cursors, 16 bytes or more, the same in all processes; None: a client can
            make up cursors, and so go to any place of this list.
        is_order_unique: whether ``order_by()`` tells any two rows apart, so that nothing is added;
            needed for a subquery, or a table without a primary key.

    Raises:
        PageCursorError: the cursor is none of this list; answered with 400.
        RequestRefusedError: a page of no rows is asked for, or one both after and before something;
            answered with 400.
        DatabaseError: the statement cannot be read in pages, a cursor cannot hold its order,
            *where* is no connection or session, or a size is no number.
        ConfigError: the secret is too short.
    """
    query = query or PageQuery(size, after, before)
    if query.after is not None and query.before is not None:
        raise refused_page("before", "a page comes after a cursor or before one, not both")
    dialect = dialect_of(where, statement)
    listing = _List(statement, dialect, secret, is_order_unique)
    return carry_out(where, listing.page(query, checked_size(query.size, max_size)))


class _List:
    """A statement in its order."""

    def __init__(
        self,
        statement: AnySelect,
        dialect: Dialect,
        secret: str | bytes | None,
        is_order_unique: bool,
    ) -> None:
        self._keys = order_of(statement, dialect, is_order_unique=is_order_unique)
        self._cursors = Cursors(words_of(self._keys, dialect), secret)
        self._dialect = dialect
        self._statement = statement

    def page(self, query: PageQuery, size: int) -> Steps[Page[Any]]:
        """Ask for the page."""
        is_backward = query.before is not None
        cursor = query.before if is_backward else query.after
        keys = tuple(key.backwards() for key in self._keys) if is_backward else self._keys
        statement = with_places(self._statement, keys)
        conditions = [None] if cursor is None else self._conditions(keys, cursor)
        rows: list[Any] = []
        places: list[Any] = []
        for condition in conditions:
            asked = statement if condition is None else statement.where(condition)
            result = yield asked.limit(size + 1 - len(rows))
            found, there = apart(self._statement, result, len(keys))
            rows += found
            places += there
            if len(rows) > size:
                break
        has_more = len(rows) > size
        del rows[size:], places[size:]
        if is_backward:
            rows.reverse()
            places.reverse()
        has_next, has_previous = has_more, cursor is not None
        if is_backward:
            has_next, has_previous = has_previous, has_next
        return Page(
            rows,
            next=self._cursor(places[-1]) if places and has_next else None,
            previous=self._cursor(places[0]) if places and has_previous else None,
            size=size,
        )

    def _conditions(self, keys: tuple[Key, ...], cursor: str) -> Sequence[Any]:
        values = self._cursors.read(cursor, len(keys))
        if not all(
            fits(value, key, self._dialect) for value, key in zip(values, keys, strict=True)
        ):
            raise refused("it does not fit this list")
        return conditions_after(keys, values, self._dialect.name)

    def _cursor(self, place: Sequence[Any]) -> str:
        return self._cursors.write(
            [value.name if isinstance(value, Enum) else value for value in place]
        )
