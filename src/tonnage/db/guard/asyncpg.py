"""A cursor of SQLAlchemy's for asyncpg that loads in chunks, and stops when it is too much.

Promises: a result that ends within the first chunk costs no round trip more than without the guard;
beyond it, one for each megabyte or so. The statement runs once, and its plan is the one it would
have. Where it is stopped the transaction goes on. With AUTOCOMMIT a statement that may have many
rows is run in a transaction of its own, as chunks are had in one only: two short round trips more.

How: PostgreSQL's protocol lets the client ask for so many rows of a portal. asyncpg uses that for
its cursors; the unnamed portal, which this uses as ``fetch`` does, need not be closed.
"""

from __future__ import annotations

import re
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from asyncpg.exceptions import OutdatedSchemaCacheError  # type: ignore[import-untyped]
from sqlalchemy.dialects.postgresql.asyncpg import (
    AsyncAdapt_asyncpg_cursor,
    AsyncAdapt_asyncpg_ss_cursor,
)
from sqlalchemy.util.concurrency import await_only, in_greenlet

from tonnage.governor.reservations import reserved, taken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tonnage.db.guard.tally import Tally

_ROW_COUNT: Final = re.compile(r"(?:SELECT|UPDATE|DELETE|MERGE|INSERT \d+) (\d+)")
_UNNAMED: Final = ""
#: Rows that a stream fetches at least.
_FEWEST_ROWS: Final = 50


class LoadingCursor(AsyncAdapt_asyncpg_cursor):
    """Executes a statement and loads its rows, as far as *tally* lets it."""

    __slots__ = ("_tally",)

    # SQLAlchemy's adapter and asyncpg's own connection; both without types.
    _adapt_connection: Any
    _connection: Any
    _description: Any

    def __init__(self, connection: Any, tally: Tally) -> None:
        super().__init__(connection)
        self._tally = tally

    async def _prepare_and_execute(self, operation: Any, parameters: Any) -> None:
        connection = self._adapt_connection
        async with connection._execute_mutex:
            if connection._transaction is None:
                await connection._start_transaction()
            try:
                prepared, attributes = await connection._prepare(
                    operation, self._invalidate_schema_cache_asof
                )
                self._description = [
                    (each.name, each.type.oid, None, None, None, None, None)
                    for each in attributes or ()
                ] or None
                try:
                    async with _transaction(self._connection, self._description):
                        status = await self._load(prepared, parameters or ())
                finally:
                    # asyncpg makes rows of what arrives while nobody's step runs.
                    taken(self._tally.size_bytes)
            except Exception as error:  # noqa: BLE001  (raises it again, translated)
                self._handle_exception(error)  # type: ignore[no-untyped-call]
        if self._description is not None:
            # The server says only how many there were in the last chunk.
            self._rowcount = len(self._rows)
        else:
            found = _ROW_COUNT.match(status)
            self._rowcount = int(found[1]) if found else -1

    async def _load(self, prepared: Any, parameters: Any) -> str:
        tally, state, protocol = self._tally, prepared._state, self._connection._protocol
        try:
            rows, status, is_done = await protocol.bind_execute(
                state, parameters, _UNNAMED, tally.next_rows, True, None
            )
        except OutdatedSchemaCacheError:
            # As asyncpg has it: a type has changed meanwhile, so the statement is prepared anew.
            await self._connection.reload_schema_state()
            state.mark_closed()
            raise
        self._rows = deque(rows)
        tally.count(rows)
        while not is_done:
            async with reserved(tally.next_bytes):
                rows, status, is_done = await protocol.execute(
                    state, _UNNAMED, tally.next_rows, True, None
                )
                self._rows.extend(rows)
                tally.count(rows)
        return (status or b"").decode()


class StreamCursor(AsyncAdapt_asyncpg_ss_cursor):
    """A server-side cursor that is closed in the server, too: SQLAlchemy's stays to the commit.

    Until then the table could not be altered, and what it has read could not be vacuumed.
    """

    __slots__ = ()

    _adapt_connection: Any
    _connection: Any
    _cursor: Any

    def fetchmany(self, size: int | None = None) -> Any:
        """Return the next *size* rows, had in one round trip; fewer: there are no more."""
        if size is None:
            return self.fetchall()  # type: ignore[no-untyped-call]
        buffer, missing = self._rowbuffer, size - len(self._rowbuffer)
        if missing > 0 and self._cursor is not None:
            # SQLAlchemy asks for one row at first, to see what there is.
            buffer.extend(await_only(self._cursor.fetch(max(missing, _FEWEST_ROWS))))
        return [buffer.popleft() for _ in range(min(size, len(buffer)))]

    def close(self) -> None:
        """Close it; outside of SQLAlchemy's greenlets, as by the collector, it is left as it is."""
        cursor = self._cursor
        super().close()  # type: ignore[no-untyped-call]
        if cursor is not None and in_greenlet():
            await_only(self._close_portal(cursor))

    async def _close_portal(self, cursor: Any) -> None:
        async with self._adapt_connection._execute_mutex:
            if self._connection.is_in_transaction() and cursor._portal_name:
                await cursor._close_portal(None)


@asynccontextmanager
async def _transaction(connection: Any, description: Any) -> AsyncIterator[None]:
    if description is None or connection.is_in_transaction():
        yield
    else:
        async with connection.transaction():
            yield
