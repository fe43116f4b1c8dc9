"""Rows as they come: results of any size in little memory.

    async for row in db.stream(session, select(Event.id, Event.name)):
        ...
    for row in db.stream(connection, select(Event)):      # without async
        ...

Promises: rows are fetched with a cursor in the server, a chunk at a time, about a megabyte or
*chunk_rows*; memory stays flat, however many there are. The cursor is closed when all have been
read, when an error ends the reading, and when the reading is left early; the connection can be used
further. Each chunk but the first is asked for from the governor before it is fetched.

Asynchronous iteration that is left by ``break`` is closed by the event loop, a moment later; where
that is not soon enough, use ``contextlib.aclosing``. Not counted by the guard: what is gathered
from a stream is the application's. A stream needs a transaction, so there is none with AUTOCOMMIT
on PostgreSQL; and it keeps its connection until it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast, overload

from tonnage.db.guard.chunks import MOST_ROWS, Pace
from tonnage.db.guard.holding import held
from tonnage.db.guard.weights import weigh
from tonnage.governor.reservations import reserved

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable, Sequence

    from sqlalchemy import Connection, Executable, Row
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

#: Rows of a chunk of a session's at most, which makes objects of them.
MOST_OBJECTS: Final = 100


@overload
def stream(
    source: AsyncConnection | AsyncSession, statement: Executable, *, chunk_rows: int | None = None
) -> AsyncGenerator[Row[Any], None]: ...


@overload
def stream(
    source: Connection | Session, statement: Executable, *, chunk_rows: int | None = None
) -> Generator[Row[Any], None, None]: ...


def stream(
    source: AsyncConnection | AsyncSession | Connection | Session,
    statement: Executable,
    *,
    chunk_rows: int | None = None,
) -> AsyncGenerator[Row[Any], None] | Generator[Row[Any], None, None]:
    """Return the rows of *statement* one after the other.

    Args:
        source: a connection or a session of SQLAlchemy's; an asynchronous one is iterated with
            ``async for``.
        statement: what to read; a ``select()`` or a ``text()``.
        chunk_rows: rows that are fetched at a time; without it one at first, then more, about a
            megabyte; for a session, which makes objects of them, at most :data:`MOST_OBJECTS`.

    Raises:
        TypeError: *source* is something else, as an engine.
        ValueError: *chunk_rows* is no whole number, or below 1.
        MemoryShortError: while it is iterated: the room for a chunk did not come free in time.
    """
    if not hasattr(source, "execute"):
        raise TypeError(
            f"stream() reads from a connection or a session, not from {type(source).__name__}"
        )
    if chunk_rows is not None and (type(chunk_rows) is not int or chunk_rows < 1):
        raise ValueError(f"chunk_rows must be a whole number of at least 1, not {chunk_rows!r}")
    is_session = hasattr(source, "get_bind")
    pace = Pace(chunk_rows, first_rows=1, most_rows=MOST_OBJECTS if is_session else MOST_ROWS)
    # A session has to know at the beginning that not all rows are to be had at once.
    options = {"stream_results": True} | ({"yield_per": pace.next_rows} if is_session else {})
    if hasattr(source, "stream"):
        asynchronous = cast("AsyncConnection | AsyncSession", source)
        return _stream_async(asynchronous, statement, options, pace)
    return _stream(source, statement, options, pace)


def _weigh(rows: Sequence[Row[Any]]) -> int:
    # Objects of an ORM know their session and all that belongs to it: their values are meant.
    plain = [
        tuple(each for value in row for each in _values(value))
        for row in (rows[0], rows[len(rows) // 2], rows[-1])
    ]
    return weigh(plain) * len(rows) // len(plain)


def _values(value: object) -> Iterable[object]:
    state = getattr(value, "_sa_instance_state", None)
    if state is None:
        return (value,)
    return [each for name, each in vars(value).items() if each is not state]


def _has_ended(result: Any) -> bool:
    """Return whether the connection of *result* was given back, and its transaction ended."""
    connection: Connection = getattr(result, "raw", result).connection
    return connection.closed or connection.invalidated


def _let_grow(result: Any) -> None:
    # A session's chunks are otherwise as large as its first one, where the driver has no cursors in
    # a server.
    if hasattr(result, "dynamic_yield_per"):
        result.dynamic_yield_per = True


async def _stream_async(
    source: AsyncConnection | AsyncSession,
    statement: Executable,
    options: dict[str, Any],
    pace: Pace,
) -> AsyncGenerator[Row[Any], None]:
    result = await source.stream(statement, execution_options=options)
    _let_grow(result._real_result)
    try:
        rows = await result.fetchmany(pace.next_rows)
        while rows:
            pace.note(rows, _weigh(rows))
            for row in rows:
                yield row
            async with reserved(pace.next_bytes):
                rows = await result.fetchmany(pace.next_rows)
    finally:
        # One that was left by break or an error is closed by the event loop, perhaps when others
        # use its connection already.
        if not _has_ended(result._real_result):
            await result.close()


def _stream(
    source: Connection | Session, statement: Executable, options: dict[str, Any], pace: Pace
) -> Generator[Row[Any], None, None]:
    result = source.execute(statement, execution_options=options)
    _let_grow(result)
    try:
        rows = result.fetchmany(pace.next_rows)
        while rows:
            pace.note(rows, _weigh(rows))
            yield from rows
            with held(pace.next_bytes):
                rows = result.fetchmany(pace.next_rows)
    finally:
        result.close()
