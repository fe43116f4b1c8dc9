"""The same steps with ``await`` and without: who decides what to ask does not know how it is asked.

    def steps() -> Steps[int]:
        result = yield select(func.count()).select_from(table)
        return result.scalar_one()

    carry_out(connection, steps())              # 3; or with an asynchronous one: await ...

One statement after the other, on the connection that is given. Bounded by the steps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Result, Select
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    #: With columns of any number and type.
    AnySelect: TypeAlias = Select[*tuple[Any, ...]]
    AnyResult: TypeAlias = Result[*tuple[Any, ...]]
    Synchronous: TypeAlias = Connection | Session | scoped_session[Any]
    Asynchronous: TypeAlias = AsyncConnection | AsyncSession | async_scoped_session[Any]

R = TypeVar("R")

#: Yields statements, gets their results, returns what was wanted.
Steps: TypeAlias = Generator["AnySelect", "AnyResult", R]


def carry_out(where: Synchronous | Asynchronous, steps: Steps[R]) -> R | Awaitable[R]:
    """Ask *where* what *steps* yields; return what they return, or what is to be awaited for it."""
    if iscoroutinefunction(where.execute):
        return _carry_out_awaiting(where, steps)
    try:
        statement = next(steps)
        while True:
            statement = steps.send(where.execute(statement))  # type: ignore[arg-type]
    except StopIteration as end:
        found: R = end.value
        return found


async def _carry_out_awaiting(where: Any, steps: Steps[R]) -> R:
    try:
        statement = next(steps)
        while True:
            statement = steps.send(await where.execute(statement))
    except StopIteration as end:
        found: R = end.value
        return found


def dialect_of(where: Synchronous | Asynchronous, statement: AnySelect) -> Dialect:
    """Return the dialect of the database that *where* would ask *statement*.

    Raises:
        DatabaseError: it is no connection or session, as an engine is none.
    """
    if not hasattr(where, "execute"):
        raise DatabaseError(
            f"pages are asked for by a connection or a session, and {where!r:.80} is neither:"
            " with engine.connect() as connection"
        )
    if hasattr(where, "get_bind"):
        return where.get_bind(clause=statement).dialect
    return cast("Connection | AsyncConnection", where).dialect
