"""A page of a list by its number: for lists that end soon.

    page = await db.page_of(connection, select(Event).order_by(Event.starts_at), 3, count_to=1000)
    page.rows, page.next, page.total            # without an asynchronous connection: no await

Promises: no page has more than ``max_size`` rows, none begins after more than ``max_offset`` rows,
and no more rows are counted than ``count_to``: what is before a page is read and thrown away by the
database, and a count reads the whole list.

Does not hold a list still: where a row is inserted or deleted before the page, another row is seen
twice, or not at all. What does is :mod:`tonnage.db.paging.pages`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Unpack,
    overload,
)

from sqlalchemy import func, select

from tonnage.db.paging.asking import Steps, carry_out, dialect_of
from tonnage.db.paging.order import Key, order_of, refuse_limit
from tonnage.db.paging.rows import apart, with_places
from tonnage.db.paging.web import (
    MOST_ROWS,
    USUAL_SIZE,
    check_whole,
    checked_size,
    link_header,
    plain_items,
    refused_page,
)
from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Row, Select

    from tonnage.db.paging.asking import AnySelect, Asynchronous, Synchronous

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
Rest = TypeVarTuple("Rest")

#: Rows that may be passed over to get to a page.
MOST_PASSED_OVER: Final = 10_000


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[T]):
    """The rows of one number, and which others there are."""

    #: Where one thing is selected, as an entity, that thing; else rows with its columns.
    rows: Sequence[T]
    #: From 1.
    number: int
    #: The number of the page after; None: there is none, or it cannot be asked for.
    next: int | None
    #: The number of the page before.
    previous: int | None
    #: How many rows it could have.
    size: int
    #: How many rows the whole list has; None: not counted.
    total: int | None = None
    #: Whether there are no more than *total*; else there are so many at least.
    is_total_exact: bool = False

    def body(self) -> dict[str, Any]:
        """Return what a client gets: ``items``, ``page``, ``next``, ``previous``, and the total."""
        found: dict[str, Any] = {
            "items": plain_items(self.rows),
            "page": self.number,
            "next": self.next,
            "previous": self.previous,
        }
        if self.total is not None:
            found |= {"total": self.total, "isTotalExact": self.is_total_exact}
        return found

    def links(self, url: str) -> str:
        """Return the value of a ``Link`` header; *url* is that of this page, and may be relative.

        The number is the parameter ``page``. Empty where there is no page before or after.
        """
        return link_header(
            url,
            {
                "next": {"page": self.next} if self.next else None,
                "prev": {"page": self.previous} if self.previous else None,
            },
        )


class NumberedPageOptions(TypedDict, total=False):
    """What :func:`page_of` takes by name."""

    size: int
    max_size: int
    max_offset: int
    count_to: int | None


@overload
def page_of(
    where: Synchronous,
    statement: Select[T],
    number: int = 1,
    **options: Unpack[NumberedPageOptions],
) -> NumberedPage[T]: ...


@overload
def page_of(
    where: Synchronous,
    statement: Select[A, B, *Rest],
    number: int = 1,
    **options: Unpack[NumberedPageOptions],
) -> NumberedPage[Row[A, B, *Rest]]: ...


@overload
def page_of(
    where: Asynchronous,
    statement: Select[T],
    number: int = 1,
    **options: Unpack[NumberedPageOptions],
) -> Awaitable[NumberedPage[T]]: ...


@overload
def page_of(
    where: Asynchronous,
    statement: Select[A, B, *Rest],
    number: int = 1,
    **options: Unpack[NumberedPageOptions],
) -> Awaitable[NumberedPage[Row[A, B, *Rest]]]: ...


def page_of(
    where: Synchronous | Asynchronous,
    statement: AnySelect,
    number: int = 1,
    *,
    size: int = USUAL_SIZE,
    max_size: int = MOST_ROWS,
    max_offset: int = MOST_PASSED_OVER,
    count_to: int | None = None,
) -> Any:
    """Return a page by its number; an awaitable of it if *where* is asynchronous.

    Args:
        where: SQLAlchemy's connection or session.
        statement: a ``select()``. Primary keys are added to its order, where they are known, so
            that rows which are equal in it do not change places from page to page.
        number: which page, from 1.
        size: rows of a page; *max_size* at most, whatever is asked for.
        max_size: the most rows of a page.
        max_offset: the most rows before a page; what is behind them is not to be had by number.
        count_to: whether to count the list, and how far: ``total`` is no more than that.

    Raises:
        RequestRefusedError: there is no such number, it is too far, or a page of no rows is asked
            for; answered with 400.
        DatabaseError: the statement has a LIMIT of its own, *where* is no connection or session,
            or an argument is no number.
    """
    size = checked_size(size, max_size)
    check_whole("number", number)
    check_whole("max_offset", max_offset, least=0)
    if count_to is not None:
        check_whole("count_to", count_to, least=0)
    last = max_offset // size + 1
    if not 1 <= number <= last:
        raise refused_page(
            "page", f"pages of {size} rows are numbered 1 to {last}: ask for less by a filter"
        )
    refuse_limit(statement)
    keys = _keys_of(statement, dialect_of(where, statement))
    return carry_out(where, _steps(statement, keys, number, size, last, count_to))


def _steps(
    statement: AnySelect,
    keys: Sequence[Key],
    number: int,
    size: int,
    last: int,
    count_to: int | None,
) -> Steps[NumberedPage[Any]]:
    ordered = with_places(statement, keys) if keys else statement
    result = yield ordered.limit(size + 1).offset((number - 1) * size)
    rows, _ = apart(statement, result, len(keys))
    has_more = len(rows) > size
    del rows[size:]
    total = None
    if count_to is not None:
        some = statement.order_by(None).limit(count_to + 1).subquery()
        counted = yield select(func.count()).select_from(some)
        total = int(counted.scalar_one())
    return NumberedPage(
        rows,
        number=number,
        next=number + 1 if has_more and number < last else None,
        previous=number - 1 if number > 1 else None,
        size=size,
        total=None if total is None or count_to is None else min(total, count_to),
        is_total_exact=total is not None and count_to is not None and total <= count_to,
    )


def _keys_of(statement: AnySelect, dialect: Dialect) -> tuple[Key, ...]:
    try:
        return order_of(statement, dialect)
    except DatabaseError:
        # Its own order has to do: a page by number goes on from nowhere.
        return ()
