"""Where the guard sits: how one engine executes a statement.

Promises: each statement that returns rows is loaded in chunks and counted, whatever runs it: Core,
ORM, ``text()``, ``exec_driver_sql``, ``RETURNING``. Not counted is what is streamed
(``stream_results``, ``yield_per``, ``AsyncConnection.stream``), nor what an INSERT of many rows
returns: the application has as many in its hands already. To read row by row is a load, too, on
every database alike: PostgreSQL's drivers load everything on execution.

For asyncpg, psycopg and aiosqlite there are cursors here; MySQL's drivers load through their
unbuffered ones, any other through its usual one: that is bounded where it fetches bit by bit, as
sqlite3 does, and only counted where it loads at once.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy

from tonnage.db.guard.chunks import fetch_chunk
from tonnage.db.guard.holding import held

if TYPE_CHECKING:
    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.guard.tally import Tally

#: What a text must look like to be loaded in chunks: it may have rows then. Possessive throughout,
#: so that the time it takes grows with the text and no faster.
_RETURNS_ROWS: Final = re.compile(
    r"(?:\s|\(|--[^\n]*+\n|/\*(?:[^*]|\*(?!/))*+\*/)*+"
    r"(?:SELECT|VALUES|TABLE|WITH|PRAGMA|FETCH|EXECUTE|SHOW|EXPLAIN)\b|.*\bRETURNING\b",
    re.IGNORECASE | re.DOTALL,
)
#: By driver, and whether it is asynchronous: where the cursor is that loads in chunks.
_CURSORS: Final = {
    ("asyncpg", True): ("asyncpg", "LoadingCursor"),
    ("psycopg", False): ("psycopg", "LoadingCursor"),
    ("psycopg", True): ("psycopg", "AdaptedCursor"),
    ("aiosqlite", True): ("aiosqlite", "LoadingCursor"),
}


def guarded(base: type[Any], bounds: Bounds, driver: str, is_async: bool) -> type[Any]:
    """Return a context of execution like *base* that loads no more than *bounds* allow.

    If *base* is one already, these bounds take the place of those that it has.
    """
    if issubclass(base, _Guarded):
        base = base.__bases__[1]
    members: dict[str, Any] = {"bounds": bounds, "make_cursor": None, "streams": None}
    if (driver, is_async) in _CURSORS:
        module_name, name = _CURSORS[driver, is_async]
        module = import_module(f"tonnage.db.guard.{module_name}")
        members["make_cursor"] = getattr(module, name)
        if hasattr(module, "StreamCursor"):
            members["streams"] = module
    return type(f"Guarded{base.__name__}", (_Guarded, base), members)


class _Guarded:
    """Mixed into a dialect's context, of which there is one for each execution."""

    bounds: Bounds
    #: What makes a cursor of ours for a connection; None: the driver has none.
    make_cursor: type[Any] | None
    #: Where StreamCursor and close_left are; None: the driver's own streams will do.
    streams: Any
    _tally: Tally | None = None
    _begun_seconds = 0.0

    def create_default_cursor(self: Any) -> Any:
        """Return a cursor for a statement that is not streamed."""
        if self.streams is not None:
            self.streams.close_left(self._dbapi_connection.dbapi_connection)
        if _loads(self):
            self._tally = self.bounds.tally(self.unicode_statement, self.execution_options)
        if self._tally is not None:
            if self.make_cursor is not None:
                connection = self._dbapi_connection.dbapi_connection
                return self.make_cursor(connection, self._tally, self.root_connection)
            if self.dialect.name in ("mysql", "mariadb"):
                return super().create_server_side_cursor()  # type: ignore[misc]
        return super().create_default_cursor()  # type: ignore[misc]

    def create_server_side_cursor(self: Any) -> Any:
        """Return a cursor for a stream."""
        if self.streams is not None:
            connection = self._dbapi_connection.dbapi_connection
            self.streams.close_left(connection)
            return self.streams.StreamCursor(connection)
        return super().create_server_side_cursor()  # type: ignore[misc]

    def pre_exec(self: Any) -> None:
        """Begin: called before the statement is executed."""
        super().pre_exec()  # type: ignore[misc]
        self._begun_seconds = self.bounds.slow.now()

    def post_exec(self: Any) -> None:
        """Load the rows, where the cursor has not: called when the statement has been executed."""
        super().post_exec()  # type: ignore[misc]
        if self._tally is not None and self.make_cursor is None:
            self._take_rows(self.cursor, self._tally)
        if self.bounds.slow.is_slow(self._begun_seconds):
            rows = self.cursor.rowcount if self._tally is None else self._tally.rows
            self.bounds.slow.note(self._begun_seconds, self.unicode_statement, rows)

    def _take_rows(self: Any, cursor: Any, tally: Tally) -> None:
        description = cursor.description
        if description is None:
            return
        rows = _load(cursor, tally)
        if self.dialect.name in ("mysql", "mariadb"):
            self._rowcount = len(rows)
        if self.dialect.is_async:
            # Now, while it can be waited for.
            cursor.close()
        self.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(
            cursor, alternate_description=description, initial_buffer=rows
        )


def _loads(context: Any) -> bool:
    """Return whether *context* may have rows to load."""
    if context.execution_options.get("stream_results") or context.isddl:
        return False
    if context.compiled is None or context.is_text:
        text = context.unicode_statement
        return not context.executemany and bool(text and _RETURNS_ROWS.match(text))
    if context.is_crud:
        return bool(context._is_explicit_returning) and not context.executemany
    return True


def _load(cursor: Any, tally: Tally) -> list[Any]:
    """Return the rows of *cursor*, which does not load by itself."""
    rows: list[Any] = []
    try:
        is_done = _load_chunk(cursor, tally, rows)
        while not is_done:
            with held(tally.next_bytes):
                is_done = _load_chunk(cursor, tally, rows)
    except BaseException:
        # Whoever keeps the error keeps this frame.
        rows.clear()
        raise
    return rows


def _load_chunk(cursor: Any, tally: Tally, rows: list[Any]) -> bool:
    found, size_bytes, is_done = fetch_chunk(cursor.fetchmany, tally.next_rows)
    rows += found
    count = len(found)
    del found
    tally.add(count, size_bytes)
    return is_done
