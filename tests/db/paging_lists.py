"""Lists of things in any order, for the tests of pages, and how to read one to its end."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Uuid,
    func,
)
from sqlalchemy.orm import Session

from tonnage import db

if TYPE_CHECKING:
    from tonnage.db.paging.asking import AnySelect

#: ``a``, ``c`` and ``d`` may be NULL; few values, so that there are ties.
THINGS = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("a", Integer),
    Column("b", Integer, nullable=False),
    Column("c", String),
    Column("d", Float),
)

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-50, 50),
            "a": st.none() | st.integers(0, 2),
            "b": st.integers(0, 2),
            "c": st.none() | st.sampled_from(["", "a", "b", "ä"]),
            "d": st.none() | st.sampled_from([0.1, -1e300, 1 / 3]),
        }
    ),
    unique_by=lambda row: row["id"],
    max_size=8,
)

_EXPRESSIONS: dict[str, ColumnElement[Any]] = {
    **{name: THINGS.c[name] for name in ("id", "a", "b", "c", "d")},
    "a + b": THINGS.c.a + THINGS.c.b,
    "a > b": THINGS.c.a > THINGS.c.b,
    "length(c)": func.length(THINGS.c.c),
    "coalesce(c)": func.coalesce(THINGS.c.c, "a"),
}

#: What is ordered by, whether down, and where NULLs are said to be.
Order = list[tuple[str, bool, str | None]]


def orders() -> st.SearchStrategy[Order]:
    """Return orders of up to three keys."""
    return st.lists(
        st.tuples(
            st.sampled_from(sorted(_EXPRESSIONS)),
            st.booleans(),
            st.sampled_from([None, None, "first", "last"]),
        ),
        max_size=3,
    )


def order_by(order: Order, *, with_id: bool = False) -> list[ColumnElement[Any]]:
    """Return the clauses of *order*; with those that break ties, if *with_id*."""
    clauses: list[ColumnElement[Any]] = []
    for name, is_down, nulls in order:
        clause: Any = _EXPRESSIONS[name].desc() if is_down else _EXPRESSIONS[name].asc()
        if nulls is not None:
            clause = clause.nulls_first() if nulls == "first" else clause.nulls_last()
        clauses.append(clause)
    if with_id:
        # Where something is ordered by twice, the first is what counts, for the direction too.
        names = list(dict.fromkeys(name for name, *_ in order))
        is_down = bool(names) and next(down for name, down, _ in order if name == names[-1])
        clauses.append(THINGS.c.id.desc() if is_down else THINGS.c.id.asc())
    return clauses


class Colour(enum.Enum):
    """What is kept by its name."""

    RED = "#f00"
    BLUE = "#00f"


MOMENT = datetime(2026, 1, 1, 12, 30, 15, 123456)
#: Types of columns, and how to make a value of each from a small number.
KINDS: list[tuple[Any, Callable[[int], Any]]] = [
    (Integer, lambda n: n * 2**40),
    (SmallInteger, lambda n: n - 1 - 2**15),
    (BigInteger, lambda n: n - 1 - 2**63),
    (Float, lambda n: n / 7),
    (Numeric(12, 4), lambda n: Decimal(n) / 8),
    (String, lambda n: "äöü%_'\"\\"[:n] + str(n)),
    (DateTime, lambda n: MOMENT + timedelta(microseconds=n)),
    (LargeBinary, lambda n: bytes([n, 255 - n])),
    (Uuid, lambda n: uuid.UUID(int=n << 100)),
    (Boolean, lambda n: n % 2 == 0),
    (Enum(Colour), lambda n: list(Colour)[n % 2]),
    (Enum("small", "large", name="width"), lambda n: ("small", "large")[n % 2]),
]


def read_forwards(
    where: Connection | Session, statement: AnySelect, size: int, **options: Any
) -> list[Any]:
    """Return all rows, a page after the other."""
    rows: list[Any] = []
    page = db.page(where, statement, size=size, **options)
    assert page.previous is None
    while True:
        _check(page.rows, size, has_more=page.next is not None)
        rows += page.rows
        if page.next is None:
            return rows
        page = db.page(where, statement, size=size, after=page.next, **options)


def read_backwards(
    where: Connection | Session, statement: AnySelect, size: int, **options: Any
) -> list[Any]:
    """Return all rows, the last page first, as one goes back from the end."""
    page = db.page(where, statement, size=size, **options)
    while page.next is not None:
        page = db.page(where, statement, size=size, after=page.next, **options)
    rows = list(page.rows)
    while page.previous is not None:
        page = db.page(where, statement, size=size, before=page.previous, **options)
        assert page.next is not None
        _check(page.rows, size, has_more=page.previous is not None)
        rows[:0] = page.rows
    return rows


def _check(rows: Sequence[Any], size: int, *, has_more: bool) -> None:
    assert len(rows) <= size
    assert len(rows) == size or not has_more
