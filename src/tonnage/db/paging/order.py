"""The order of a statement's rows: what its ORDER BY says, and what makes it whole.

    keys = order_of(select(Event).order_by(Event.starts_at.desc()), dialect)
    # starts_at DESC, id DESC

Promises: after the keys no two rows are equal, since what tells them apart is added (see
:mod:`tonnage.db.paging.ties`), in the direction of the last key, so that one index serves all. Each
key knows where its NULLs are, which databases see differently. Labels and their names are
followed to what they stand for. Decides only; asks nothing of the database.

A statement that has no such order is refused with what to do about it: one by positions, by
constants, by text, windows, or functions that are known to have another value each time. What is
volatile within functions of the application is not known here. Clauses of a ``Select`` that
have no accessor, as ``_order_by_clauses``, are read where SQLAlchemy keeps them, in 2.0 as in 2.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.functions import FunctionElement

from tonnage.db.paging.ties import Sources, sources_of
from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Dialect

    from tonnage.db.paging.asking import AnySelect

#: Dialects in which NULL is larger than everything; in the others it is smaller.
_NULL_IS_LARGEST: Final = frozenset({"postgresql", "oracle"})
_DIRECTIONS: Final[dict[Any, str]] = {
    operators.asc_op: "asc",
    operators.desc_op: "desc",
    operators.nulls_first_op: "first",
    operators.nulls_last_op: "last",
}
#: What has columns in an expression.
_COLUMNS: Final = frozenset({"column", "table_valued_column"})
#: Functions that have another value for the same row, in any of the databases.
_VOLATILE: Final = re.compile(
    r"(random|random_normal|randomblob|gen_random_\w+|uuidv[47]|uuid_generate_v[14]\w*|newid"
    r"|clock_timestamp|timeofday|nextval|next_value|sysdate)",
    re.IGNORECASE,
)
_CALL: Final = re.compile(rf"\b{_VOLATILE.pattern}\s*\(", re.IGNORECASE)
#: As a literal: a position in the list of columns, or the same for all rows.
_CONSTANT: Final = re.compile(r"\s*([-+]?[\d.]+|'[^']*'|null|true|false|\w+\s*\(\s*\))\s*", re.I)


@dataclass(frozen=True, slots=True)
class Key:
    """One column, or expression, that rows are ordered by."""

    expression: ColumnElement[Any]
    is_descending: bool
    #: Whether rows without a value come after the others.
    is_null_last: bool
    #: Whether the statement says so itself.
    is_null_said: bool
    #: Whether there can be rows without a value.
    may_be_null: bool

    def backwards(self) -> Self:
        """Return the key of the same list, read from its end."""
        return replace(
            self, is_descending=not self.is_descending, is_null_last=not self.is_null_last
        )

    def clause(self) -> ColumnElement[Any]:
        """Return it as a part of ORDER BY."""
        made = self.expression.desc() if self.is_descending else self.expression.asc()
        if not self.is_null_said:
            return made
        return made.nulls_last() if self.is_null_last else made.nulls_first()


def order_of(
    statement: AnySelect, dialect: Dialect, *, is_order_unique: bool = False
) -> tuple[Key, ...]:
    """Return the keys of *statement*'s rows in the database *dialect*.

    Args:
        statement: what to read; its filters and joins may be any.
        dialect: of the database that is to be asked.
        is_order_unique: whether its ORDER BY tells any two rows apart as it is.

    Raises:
        DatabaseError: it has no order that could be gone on in.
    """
    _refuse_others(statement)
    sources = sources_of(statement, dialect)
    # What is ordered by twice is in order already.
    keys: dict[ColumnElement[Any], Key] = {}
    for clause in statement._order_by_clauses:
        key = _key_of(clause, statement, dialect.name, sources)
        keys.setdefault(key.expression, key)
    if is_order_unique and keys:
        return tuple(keys.values())
    is_descending = bool(keys) and list(keys.values())[-1].is_descending
    for column in sources.identity():
        keys.setdefault(column, _key(column, is_descending, None, dialect.name, sources))
    if not keys:
        raise DatabaseError("the statement reads no table, so that there is nothing to order by")
    return tuple(keys.values())


def words_of(keys: tuple[Key, ...], dialect: Dialect) -> str:
    """Return the order in words, the same for the same order."""
    said = []
    for key in keys:
        compiled = key.expression.compile(dialect=dialect)
        direction = "DESC" if key.is_descending else "ASC"
        nulls = "LAST" if key.is_null_last else "FIRST"
        said.append(f"{compiled} {compiled.params} {direction} {nulls}")
    return ", ".join(said)


def refuse_limit(statement: AnySelect) -> None:
    """Raise a DatabaseError where *statement* itself says how many rows, and which."""
    said = (statement._limit_clause, statement._offset_clause, statement._fetch_clause)
    if any(clause is not None for clause in said):
        raise DatabaseError("the statement has a LIMIT or OFFSET of its own: leave it to size=")


def _refuse_others(statement: AnySelect) -> None:
    """Raise for what changes its meaning when conditions and columns are added to it."""
    advice = (
        "make it a subquery: rows = statement.subquery(), then select(rows).order_by(...), with"
        " is_order_unique=True where the order tells any two rows apart"
    )
    if getattr(statement, "__visit_name__", "") != "select":
        raise DatabaseError(f"only a select() can be read in pages: {advice}")
    for name, found in {
        "DISTINCT": statement._distinct,
        "GROUP BY": statement._group_by_clauses,
    }.items():
        if found:
            raise DatabaseError(f"a statement with {name} cannot be read in pages: {advice}")
    refuse_limit(statement)


def _key_of(clause: Any, statement: AnySelect, dialect: str, sources: Sources) -> Key:
    """Return what one clause of ORDER BY says, without its wrappings."""
    said: set[str] = set()
    while True:
        kind = clause.__visit_name__
        if kind in ("label_reference", "label"):
            clause = clause.element
        elif kind == "textual_label_reference":
            clause = _named(str(clause.element), statement)
        elif kind == "unary" and clause.modifier in _DIRECTIONS:
            said.add(_DIRECTIONS[clause.modifier])
            clause = clause.element
        else:
            break
    _refuse_places_lost(clause)
    is_null_last = True if "last" in said else False if "first" in said else None
    return _key(clause, "desc" in said, is_null_last, dialect, sources)


def _refuse_places_lost(clause: ColumnElement[Any]) -> None:
    """Raise for an order in which what a row has says nothing of where it is."""
    parts = list(visitors.iterate(clause))
    if any(part.__visit_name__ in ("over", "textclause") for part in parts):
        reason = "it has text or windows"
    elif not any(map(_is_column, parts)):
        reason = "there is no column in it"
    elif any(map(_is_volatile, parts)):
        reason = "it has another value each time"
    else:
        return
    raise DatabaseError(
        f"the order {str(clause)!r} cannot be gone on in, since {reason}: order by columns and"
        " expressions of them, not by text or windows"
    )


def _is_volatile(part: Any) -> bool:
    if part.__visit_name__ == "column":
        return part.is_literal and _CALL.search(part.name) is not None
    return isinstance(part, FunctionElement) and _VOLATILE.fullmatch(part.name) is not None


def _is_column(part: Any) -> bool:
    if part.__visit_name__ not in _COLUMNS:
        return False
    return not getattr(part, "is_literal", False) or _CONSTANT.fullmatch(part.name) is None


def _named(name: str, statement: AnySelect) -> Any:
    try:
        return statement.selected_columns[name]
    except KeyError:
        raise DatabaseError(
            f"the list is ordered by {name!r}, which is not selected: name a column of it, and"
            " write desc(...) for the direction"
        ) from None


def _key(
    expression: ColumnElement[Any],
    is_descending: bool,
    is_null_last: bool | None,
    dialect: str,
    sources: Sources,
) -> Key:
    usual = is_descending != (dialect in _NULL_IS_LARGEST)
    return Key(
        expression=expression,
        is_descending=is_descending,
        is_null_last=usual if is_null_last is None else is_null_last,
        is_null_said=is_null_last is not None,
        may_be_null=sources.may_be_null(expression),
    )
