"""A cursor of SQLAlchemy's for asyncpg that loads in chunks, and stops when it is too much.

Promises: a result that ends within the first chunk costs no round trip more than without the guard;
beyond it, one for each megabyte or so. The statement runs once. Where it is stopped the transaction
goes on, unless rows are so much larger than expected that what arrives would exceed the bound: then
it is cut off in the wire (:mod:`tonnage.db.pools.wire`), and the connection with it. With
AUTOCOMMIT a statement that may have many rows is run in a transaction of its own, as chunks are had
in one only: two short round trips more.

How: PostgreSQL's protocol lets the client ask for so many rows of a portal. asyncpg uses that for
its cursors; the unnamed portal, which this uses as ``fetch`` does, need not be closed. A portal
that is read in parts is not run in parallel by the server: its plan is made for it, its workers are
not started.
"""

from __future__ import annotations

import re
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from asyncpg.exceptions import OutdatedSchemaCacheError  # type: ignore[import-untyped]
from sqlalchemy.dialects.postgresql.asyncpg import (
    AsyncAdapt_asyncpg_cursor,
    AsyncAdapt_asyncpg_ss_cursor,
)
from sqlalchemy.util.concurrency import await_only

from tonnage.db.pools.wire import Wire
from tonnage.governor.reservations import reserved, taken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from tonnage.db.guard.tally import Tally

_ROW_COUNT: Final = re.compile(r"(?:SELECT|UPDATE|DELETE|MERGE|INSERT \d+) (\d+)")
_UNNAMED: Final = ""
# By connection of asyncpg's: streams that were left, with the transactions that they were in.
_left: WeakKeyDictionary[Any, list[tuple[Any, Any]]] = WeakKeyDictionary()


class LoadingCursor(AsyncAdapt_asyncpg_cursor):
    """Executes a statement and loads its rows, as far as *tally* lets it."""

    __slots__ = ("_received_bytes", "_root", "_tally")

    # SQLAlchemy's adapter and asyncpg's own connection; both without types.
    _adapt_connection: Any
    _connection: Any
    _description: Any

    def __init__(self, connection: Any, tally: Tally, root: Any) -> None:
        super().__init__(connection)
        self._tally = tally
        self._root = root
        self._received_bytes = 0

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
                    # asyncpg makes rows of what arrives while nobody's step runs. The wire has said
                    # what came; as objects it is more.
                    taken(self._tally.size_bytes - self._received_bytes)
            except Exception as error:  # noqa: BLE001  (raises it again, translated)
                # Whoever keeps the error keeps this cursor.
                self._rows.clear()
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
            rows, status, is_done = await self._answer(
                protocol.bind_execute(state, parameters, _UNNAMED, tally.next_rows, True, None)
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
                rows, status, is_done = await self._answer(
                    protocol.execute(state, _UNNAMED, tally.next_rows, True, None)
                )
                self._rows.extend(rows)
                tally.count(rows)
        return (status or b"").decode()

    async def _answer(self, asked: Awaitable[Any]) -> Any:
        """Return what the server answers; more than may be loaded is cut off before it is here."""
        with _wire(self._connection).answer(self._tally.most_bytes) as answer:
            try:
                return await asked
            except Exception:  # as the connection is gone, or for reasons of its own
                refusal = answer.refusal
                if not answer.is_too_large and refusal is None:
                    raise
            finally:
                self._received_bytes += answer.received_bytes
        self._root.invalidate()
        if refusal is not None:
            raise refusal
        self._tally.add(0, answer.received_bytes)  # which is too much
        raise AssertionError(answer.received_bytes)


class StreamCursor(AsyncAdapt_asyncpg_ss_cursor):
    """A server-side cursor that is closed in the server, too: SQLAlchemy's stays to the commit.

    Until then the table could not be altered, and what it has read could not be vacuumed. Closing
    asks nothing of the server: whoever leaves a stream may be the collector, or the event loop
    while the connection is used by others. The next statement of the same transaction does it.
    """

    __slots__ = ("_transaction",)

    _adapt_connection: Any
    _connection: Any
    _cursor: Any

    async def _prepare_and_execute(self, operation: Any, parameters: Any) -> None:
        await super()._prepare_and_execute(operation, parameters)  # type: ignore[no-untyped-call]
        self._transaction = self._adapt_connection._transaction

    def fetchmany(self, size: int | None = None) -> Any:
        """Return the next *size* rows, had in one round trip; fewer: there are no more."""
        if size is None:
            return self.fetchall()  # type: ignore[no-untyped-call]
        buffer, missing = self._rowbuffer, size - len(self._rowbuffer)
        if missing > 0 and self._cursor is not None:
            buffer.extend(await_only(self._cursor.fetch(missing)))
        return [buffer.popleft() for _ in range(min(size, len(buffer)))]

    def close(self) -> None:
        """Close it, as soon as the connection is used again in its transaction."""
        cursor = self._cursor
        super().close()  # type: ignore[no-untyped-call]
        if cursor is not None:
            _left.setdefault(self._connection, []).append((self._transaction, cursor))


def close_left(connection: Any) -> None:
    """Close the streams in *connection* that were left; to be called before it is used."""
    left = _left.pop(connection._connection, None) if _left else None
    if left is not None:
        await_only(_close(connection, left))


async def _close(connection: Any, left: list[tuple[Any, Any]]) -> None:
    async with connection._execute_mutex:
        for transaction, cursor in left:
            # With their transaction they have ended by themselves.
            if cursor._portal_name and connection._transaction is transaction is not None:
                try:
                    await cursor._connection._protocol.close_portal(cursor._portal_name, None)
                except Exception as error:  # noqa: BLE001  (raises it again, translated)
                    connection._handle_exception(error)


def _wire(connection: Any) -> Wire:
    """Return what counts what arrives on *connection*."""
    transport = connection._transport
    found = transport.get_protocol()
    return found if isinstance(found, Wire) else Wire(connection._protocol, transport)


@asynccontextmanager
async def _transaction(connection: Any, description: Any) -> AsyncIterator[None]:
    if description is None or connection.is_in_transaction():
        yield
    else:
        async with connection.transaction():
            yield
