"""A ``select()`` of the columns that are wanted, and no others.

    db.only(Event, "id", "title", Event.starts_at).where(Event.is_public)

Promises: what is not named is not read. A name that the model or table does not have is an error
which names the nearest; so is what is no column, as a relationship or another model.

Rows have the columns by their names; they are no entities of the model. For entities without some
columns SQLAlchemy has ``load_only()`` and ``deferred=True``: docs/how-to/pages.md shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ClauseElement, FromClause, inspect, select
from sqlalchemy.orm import RelationshipProperty

from tonnage.errors import DatabaseError
from tonnage.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tonnage.db.paging.asking import AnySelect


def only(model: Any, *columns: Any) -> AnySelect:
    """Return a ``select()`` of *columns* of *model*, to be filtered and ordered as any.

    Args:
        model: a mapped class, an ``aliased()`` one, or a table.
        columns: names, attributes, or expressions.

    Raises:
        DatabaseError: there is no such column, something is no column, or none is named.
    """
    if not columns:
        raise DatabaseError("only() needs the names of columns: only(Model, 'id', 'name')")
    known = _columns_of(model)
    return select(*(_column(model, each, known) for each in columns))


def _columns_of(model: Any) -> Mapping[str, Any]:
    if isinstance(model, FromClause):
        return dict(model.c.items())
    found: Any = inspect(model, raiseerr=False)
    if not (getattr(found, "is_mapper", False) or getattr(found, "is_aliased_class", False)):
        raise DatabaseError(f"only() takes a mapped class or a table, and {model!r:.80} is neither")
    names = [each.key for each in found.mapper.column_attrs]
    return {name: getattr(model, name) for name in names}


def _column(model: Any, wanted: Any, known: Mapping[str, Any]) -> Any:
    if not isinstance(wanted, str):
        is_expression = isinstance(wanted, ClauseElement) or hasattr(wanted, "__clause_element__")
        is_relationship = isinstance(getattr(wanted, "property", None), RelationshipProperty)
        if not is_expression or is_relationship or isinstance(wanted, FromClause):
            raise DatabaseError(
                f"{wanted!s:.80} is no column: only() takes columns and names of them"
            )
        return wanted
    if wanted in known:
        return known[wanted]
    name = getattr(model, "__name__", None) or getattr(model, "name", model)
    meant = nearest(wanted, known)
    hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(known)}"
    raise DatabaseError(f"{name} has no column {wanted!r}: {hint}")
