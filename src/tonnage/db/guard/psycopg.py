"""Cursors of psycopg that load in chunks, and stop when it is too much.

Promises: no round trip more than without the guard, for a result of any size; the statement runs
once, is prepared when it would be, and its plan is the one it would have. One that is stopped is
cancelled in the server, which ends its transaction (or savepoint) with it: roll back. It is noticed
when :data:`CHUNK_ROWS` more have come than may be.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
from psycopg import pq
from psycopg.generators import fetch
from sqlalchemy.dialects.postgresql.psycopg import AsyncAdapt_psycopg_cursor

from tonnage.db.guard.chunks import CHUNK_BYTES, following
from tonnage.db.guard.holding import held
from tonnage.db.guard.sending import drain, send_in_chunks
from tonnage.db.guard.weights import weigh
from tonnage.governor.reservations import reserved

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias, TypeVar

    from tonnage.db.guard.tally import Tally

    R = TypeVar("R")
    _Waiting: TypeAlias = Generator[Any, Any, R]

#: Rows that libpq hands out at a time, for a whole statement: it has them before anybody can weigh
#: them. With 5 a result of 10,000 rows takes a fifth longer than with 100, and small ones do not.
CHUNK_ROWS: Final = 5
_ROWS: Final = (pq.ExecStatus.TUPLES_CHUNK, pq.ExecStatus.SINGLE_TUPLE)
_DONE: Final = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY)
_ACTIVE: Final = pq.TransactionStatus.ACTIVE


class _Loading:
    """What is the same with and without async: generators that say what to wait for."""

    tally: Tally
    loaded: list[Any]
    is_done: bool

    def _first_gen(self: Any, query: Any, parameters: Any) -> _Waiting[None]:
        """Send the query, as ``execute`` does, and take its first rows."""
        self.loaded, self.is_done = [], False
        self._to_validate = yield from send_in_chunks(self, query, parameters, CHUNK_ROWS)
        yield from self._take_gen()

    def _take_gen(self: Any) -> _Waiting[None]:
        """Take as many rows as are to be had at a time."""
        tally: Tally = self.tally
        begin, most_rows = len(self.loaded), tally.next_rows
        # Those that have been weighed, and after how many more they are weighed next.
        weighed, step, size_bytes = begin, 1, 0
        while len(self.loaded) - begin < most_rows and size_bytes < CHUNK_BYTES:
            result = yield from fetch(self._pgconn)
            is_first, self.pgresult = self.pgresult is None, result
            if result.status not in _ROWS:
                yield from self._end_gen(result)
                break
            self._tx.set_pgresult(result, set_loaders=is_first)
            if is_first:
                self._make_row = self._make_row_maker()
            self.loaded += self._tx.load_rows(0, result.ntuples, self._make_row)
            found = len(self.loaded)
            if found - weighed >= step:
                size_bytes += weigh(self.loaded[weighed:])
                step = following(found - weighed, found - begin, size_bytes)
                weighed = found
        tally.add(len(self.loaded) - begin, size_bytes + weigh(self.loaded[weighed:]))

    def _end_gen(self: Any, result: Any) -> _Waiting[None]:
        """Finish with *result*, which comes after the last rows."""
        self.is_done = True
        if self._to_validate is not None:
            self._conn._prepared.validate(*self._to_validate, [result])
        # Of several statements in one text only the first one's rows count, as ever; but that one
        # of the others fails has to be said.
        last = result
        while (following := (yield from fetch(self._pgconn))) is not None:
            last = following
        for each in (result, last):
            if each.status not in _DONE:
                self._raise_for_result(each)
        self._statusmessage = result.command_status
        if result.status == pq.ExecStatus.TUPLES_OK:
            self._rowcount = len(self.loaded)
        else:
            self._rowcount = -1 if result.command_tuples is None else result.command_tuples
        yield from self._conn._prepared.maintain_gen(self._conn)


class LoadingCursor(_Loading, psycopg.Cursor[Any]):
    """Executes a statement and loads its rows, as far as *tally* lets it."""

    def __init__(
        self, connection: psycopg.Connection[Any], tally: Tally, _root: object = None
    ) -> None:
        super().__init__(connection)
        self.tally = tally

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Execute *query* and load its rows."""
        with self._conn.lock:
            try:
                self._conn.wait(self._first_gen(query, params))
                while not self.is_done:
                    with held(self.tally.next_bytes):
                        self._conn.wait(self._take_gen())
            except BaseException:
                # Whoever keeps the error keeps this cursor.
                self.loaded, self.pgresult = [], None
                raise
            finally:
                if self._pgconn.transaction_status == _ACTIVE:
                    self._conn._try_cancel()
                    with suppress(psycopg.Error):
                        self._conn.wait(drain(self._pgconn))
        return self

    def fetchone(self) -> Any:
        """Return the next row that was loaded."""
        return next(iter(self.fetchmany(1)), None)

    def fetchmany(self, size: int = 0) -> list[Any]:
        """Return the next *size* rows that were loaded."""
        begin = self._pos
        self._pos = min(begin + (size or self.arraysize), len(self.loaded))
        return self.loaded[begin : self._pos]

    def fetchall(self) -> list[Any]:
        """Return all other rows that were loaded."""
        rows = self.loaded[self._pos :] if self._pos else self.loaded
        self.loaded, self._pos = [], 0
        return rows


class LoadingAsyncCursor(_Loading, psycopg.AsyncCursor[Any]):
    """As :class:`LoadingCursor`, asynchronous."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], tally: Tally) -> None:
        super().__init__(connection)
        self.tally = tally

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Execute *query* and load its rows."""
        async with self._conn.lock:
            try:
                await self._conn.wait(self._first_gen(query, params))
                while not self.is_done:
                    async with reserved(self.tally.next_bytes):
                        await self._conn.wait(self._take_gen())
            except BaseException:
                self.loaded, self.pgresult = [], None
                raise
            finally:
                if self._pgconn.transaction_status == _ACTIVE:
                    await self._conn._try_cancel()
                    with suppress(psycopg.Error):
                        await self._conn.wait(drain(self._pgconn))
        return self


class AdaptedCursor(AsyncAdapt_psycopg_cursor):
    """SQLAlchemy's cursor around :class:`LoadingAsyncCursor`."""

    __slots__ = ("_tally",)

    def __init__(self, connection: Any, tally: Tally, _root: object) -> None:
        self._tally = tally
        super().__init__(connection)

    def _make_new_cursor(self, connection: Any) -> Any:
        return LoadingAsyncCursor(connection, self._tally)

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        cursor = cast("LoadingAsyncCursor", self._cursor)
        await cursor.execute(operation, parameters)
        self._rows = deque(cursor.loaded)
        cursor.loaded = []
        return cursor
