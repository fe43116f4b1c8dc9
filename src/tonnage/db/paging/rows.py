"""The rows of a statement, and beside each the place where it is in the order.

Promises: what the order is made of is read with each row, whether it is selected or not, and is no
part of what the application gets. Where one thing is selected, as an entity, it gets that thing;
else rows with its columns. Entities that are loaded with collections come once each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tonnage.db.paging.asking import AnyResult, AnySelect
    from tonnage.db.paging.order import Key


def with_places(statement: AnySelect, keys: Sequence[Key]) -> AnySelect:
    """Return *statement* in the order of *keys*, with what they are for each row."""
    places = (key.expression.label(f"tonnage_key_{at}") for at, key in enumerate(keys))
    ordered = statement.order_by(None).order_by(*(key.clause() for key in keys))
    return ordered.add_columns(*places)


def apart(statement: AnySelect, result: AnyResult, count: int) -> tuple[list[Any], list[Any]]:
    """Return the rows of *statement*, and the places of *count* keys that are read with them."""
    if any(each.get("entity") is each["expr"] for each in statement.column_descriptions):
        # What is loaded with a collection comes once for each member of that, and is asked for so.
        result = result.unique()
    kept = result.freeze()
    whole = kept().all()
    if not whole:
        return [], []
    # Of a row, since an entity without a name, as of an alias, is not among the keys of a result.
    width = len(whole[0]) - count
    places = [row[width:] for row in whole]
    rows: Sequence[Any]
    rows = kept().scalars().all() if width == 1 else kept().columns(*range(width)).all()
    return list(rows), places
