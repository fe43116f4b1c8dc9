"""Which rows come after a place in an ordered list, as conditions that an index can answer.

    conditions_after(keys, (5, 17), "postgresql")     # [(event.size, event.id) > (5, 17)]

Promises: the conditions together are true for exactly the rows after the place, and no row meets
two of them. Rows of an earlier condition come before those of a later, so that they may be asked
for one after the other until there are enough. Each begins with a bound of the first key
or with its being NULL, so that the database goes to the place in its index, and does not count from
the beginning.

There are two at most: NULLs of the first key are not in one range with the others. Decides only.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, Integer, Numeric, and_, literal, or_, tuple_
from sqlalchemy.types import NullType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

    from tonnage.db.paging.order import Key

#: Dialects that find ``(a, b) > (x, y)`` in an index; MySQL understands it, and reads the table.
_COMPARING_ROWS: Final = frozenset({"postgresql", "sqlite"})


def conditions_after(
    keys: Sequence[Key], values: Sequence[Any], dialect: str
) -> list[ColumnElement[bool]]:
    """Return the conditions for the rows after the one with *values*, in the order of *keys*.

    Args:
        keys: the order; it tells any two rows apart.
        values: what that row has, one for each key; the row itself need not exist any more.
        dialect: SQLAlchemy's name of the kind of database.

    Returns:
        None, one or two; none means that there are no such rows.
    """
    first, rest = keys[0], keys[1:]
    if values[0] is None:
        found = []
        inside = _after(rest, values[1:], dialect)
        if inside is not None:
            found.append(and_(first.expression.is_(None), inside))
        if not first.is_null_last:
            found.append(first.expression.is_not(None))
        return found
    # NULL is neither larger nor smaller, so that comparing leaves those rows out.
    begun = _after([replace(first, may_be_null=False), *rest], values, dialect)
    assert begun is not None
    if first.may_be_null and first.is_null_last:
        return [begun, first.expression.is_(None)]
    return [begun]


def _after(keys: Sequence[Key], values: Sequence[Any], dialect: str) -> ColumnElement[bool] | None:
    """Return one condition for what comes after; None where nothing does."""
    if len(keys) > 1 and _can_compare_rows(keys, dialect):
        columns = tuple_(*(key.expression for key in keys))
        place = tuple_(*map(_literal, keys, values))
        after = columns < place if keys[0].is_descending else columns > place
        # Only the columns of one table are found in one index.
        is_bound = len({getattr(key.expression, "table", None) for key in keys}) == 1
        return after if is_bound else and_(_not_before(keys[0], values[0]), after)
    found: ColumnElement[bool] | None = None
    for key, value in zip(reversed(keys), reversed(values), strict=True):
        is_same = key.expression.is_(None) if value is None else _equals(key, value)
        parts = [_alone_after(key, value), None if found is None else and_(is_same, found)]
        said = [part for part in parts if part is not None]
        found = or_(*said) if said else None
    if len(keys) > 1 and found is not None and not keys[0].may_be_null:
        return and_(_not_before(keys[0], values[0]), found)
    return found


def _can_compare_rows(keys: Sequence[Key], dialect: str) -> bool:
    return (
        dialect in _COMPARING_ROWS
        and not any(key.may_be_null for key in keys)
        and len({key.is_descending for key in keys}) == 1
    )


def _alone_after(key: Key, value: Any) -> ColumnElement[bool] | None:
    """Return the condition for rows after *value* by this key alone; None where there are none."""
    expression = key.expression
    if value is None:
        return None if key.is_null_last else expression.is_not(None)
    place = _literal(key, value)
    after: ColumnElement[bool] = expression < place if key.is_descending else expression > place
    if key.may_be_null and key.is_null_last:
        return or_(after, expression.is_(None))
    return after


def _not_before(key: Key, value: Any) -> ColumnElement[bool]:
    place = _literal(key, value)
    return key.expression <= place if key.is_descending else key.expression >= place


def _equals(key: Key, value: Any) -> ColumnElement[bool]:
    same: ColumnElement[bool] = key.expression == _literal(key, value)
    return same


def _literal(key: Key, value: Any) -> ColumnElement[Any]:
    kind = key.expression.type
    if isinstance(kind, Integer) and not isinstance(key.expression, Column):
        # A sum of integers, which has their type here, is of a longer one in the database.
        kind = Numeric() if isinstance(value, Decimal) else BigInteger()
    return literal(value) if isinstance(kind, NullType) else literal(value, kind)
