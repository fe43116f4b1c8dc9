"""What tells the rows of a statement apart: the primary keys of the tables that they come from.

    sources_of(select(Comment, Post).join(Comment.post), dialect).identity()       # comment.id

Promises: no two rows are equal in all columns of the identity. A table that is joined by its whole
primary key, as the one side of a relationship is, adds nothing: there is one row of it at most. So
a list over many joined tables stays in the order of one index.

Decides only. A table without a primary key, or a subquery, cannot be told apart: the caller is told
what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Alias, Column, Table, literal
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList
from sqlalchemy.sql.selectable import FromGrouping, Join

from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Dialect, FromClause
    from sqlalchemy.sql.selectable import SelectState

    from tonnage.db.paging.asking import AnySelect


@dataclass(frozen=True, slots=True)
class Source:
    """A table, or something like it, that rows come from."""

    table: FromClause
    #: Whether a result can have no row of it, as in an outer join.
    is_optional: bool
    #: Whether each row of the other sources goes with one row of it at most.
    is_determined: bool


@dataclass(frozen=True, slots=True)
class Sources:
    """All sources of one statement's rows."""

    all: tuple[Source, ...]

    def identity(self) -> list[Column[Any]]:
        """Return the columns that tell any two rows apart.

        Raises:
            DatabaseError: there are none that are known.
        """
        found: list[Column[Any]] = []
        for source in self.all:
            if source.is_determined:
                continue
            columns = _primary_key(source.table)
            if not columns:
                raise DatabaseError(
                    f"rows of {_name(source.table)} cannot be told apart, as it has no primary key:"
                    " order the list by columns that tell them apart, and say is_order_unique=True"
                )
            found += columns
        return found

    def may_be_null(self, expression: ColumnElement[Any]) -> bool:
        """Return whether *expression* may have no value; where that is not known, it may."""
        # Only a table says so of its columns; those of a subquery repeat what was said there.
        return not (
            isinstance(expression, Column)
            and not expression.nullable
            and any(
                expression.table == source.table
                and not source.is_optional
                and bool(_primary_key(source.table))
                for source in self.all
            )
        )


def sources_of(statement: AnySelect, dialect: Dialect) -> Sources:
    """Return where the rows of *statement* come from; what is loaded beside them is no source."""
    # Without entities and options, since a collection that is loaded by a join adds no rows.
    bare = statement.order_by(None).with_only_columns(literal(1), maintain_column_froms=True)
    bare._with_options = ()
    # What get_final_froms() does, which knows the SQL of no dialect in particular.
    state = cast("SelectState", bare.compile(dialect=dialect).compile_state)
    return Sources(tuple(each for clause in state._get_display_froms() for each in _within(clause)))


def _within(clause: FromClause, is_optional: bool = False) -> Iterator[Source]:
    if not isinstance(clause, Join):
        yield Source(clause, is_optional, is_determined=False)
        return
    yield from _within(clause.left, is_optional or clause.full)
    is_right_optional = is_optional or clause.isouter or clause.full
    right = clause.right
    # A join within a join is in parentheses.
    while isinstance(right, FromGrouping):
        right = right.element
    if isinstance(right, Join):
        yield from _within(right, is_right_optional)
    else:
        is_determined = not clause.full and _is_joined_by_key(right, clause.onclause)
        yield Source(right, is_right_optional, is_determined)


def _is_joined_by_key(table: FromClause, condition: ColumnElement[Any] | None) -> bool:
    """Return whether *condition* says of the whole primary key of *table* what it equals."""
    own = set(_primary_key(table))
    said: set[Any] = set()
    for part in _parts(condition):
        if isinstance(part, BinaryExpression) and part.operator is operators.eq:
            for one, other in ((part.left, part.right), (part.right, part.left)):
                # What is compared with another column of the same table is still any of its rows.
                if isinstance(other, Column) and other.table != table:
                    said.add(one)
    return bool(own) and own <= said


def _parts(condition: Any) -> Iterator[Any]:
    if isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        for each in condition.clauses:
            yield from _parts(each)
    else:
        yield condition


def _primary_key(table: FromClause) -> list[Column[Any]]:
    is_table = isinstance(table, Table) or (
        isinstance(table, Alias) and isinstance(table.element, Table)
    )
    return cast("list[Column[Any]]", list(table.primary_key)) if is_table else []


def _name(table: FromClause) -> str:
    return repr(str(getattr(table, "name", "a subquery")))
