"""psycopg's cursor, with bounds on what a query loads.

Promises: the rows of ``execute`` come in chunks and are counted as they come; what would load more
than it may is cancelled in the server and raises
:class:`~tonnage.errors.ResultTooLargeError`, which names the statement and the line of the
application. No round trip more than without it, and the statement is prepared when it would be.
Afterwards the cursor is as psycopg's own: rows, description, rowcount; only ``statusmessage`` is
not known of statements with rows. What is loaded beyond the first megabyte is asked for from the
governor. Slow queries are logged.

How: libpq hands out rows while they come ("chunked rows mode", libpq 17; row by row before that).
It has no other way to stop in time: by itself it would hold the whole result before anybody sees a
row of it. Rows are made by the row factory as they come.

Not counted: pipelines, ``executemany``, texts of several statements; and COPY, ``stream`` and named
cursors, whose rows come as they are asked for.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, cast

import psycopg
from psycopg import pq
from psycopg.generators import fetch

from tonnage.db.guard.sending import drain, send_in_chunks
from tonnage.db.guard.tally import Tally
from tonnage.db.pools.load import ADVICE, Load

if TYPE_CHECKING:
    from collections.abc import Generator

    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.guard.sending import Prepared
    from tonnage.db.pools.threads import BoundedConnection

#: Rows that libpq hands out at a time. They are in the socket or the server until then; and it has
#: so many before anybody can weigh them.
CHUNK_ROWS: Final = 20
_WITH_ROWS: Final = (pq.ExecStatus.TUPLES_CHUNK, pq.ExecStatus.SINGLE_TUPLE)
_COPYING: Final = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)
_DONE: Final = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY)


class BoundedCursor(psycopg.Cursor[Any]):
    """A cursor of :class:`~tonnage.db.pools.threads.BoundedConnection`."""

    #: What was loaded; None: psycopg itself has it.
    _loaded: list[Any] | None = None
    _at = 0
    _is_copying = False
    # What psycopg is to be told of, once it has been prepared.
    _prepared: Prepared | None = None

    def execute(
        self,
        query: Any,
        params: Any = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Self:
        """Execute *query*, and load its rows."""
        bounds = cast("BoundedConnection", self._conn).bounds
        if (
            bounds is None
            or bounds.mode == "off"
            or self._conn._pipeline is not None
            or _has_several(query)
        ):
            return super().execute(query, params, prepare=prepare, binary=binary)
        begun = bounds.slow.now()
        with self._conn.lock:
            try:
                # One wait for all of it: each has a price.
                self._conn.wait(self._load_gen(query, params, prepare, binary, bounds))
            except psycopg.Error as error:
                raise error.with_traceback(None) from None
            finally:
                self._leave_active()
        if bounds.slow.is_slow(begun):
            bounds.slow.note(begun, str(query), len(self._loaded or ()))
        return self

    # What psycopg's own cursor says of its result.

    def fetchone(self) -> Any:
        """Return the next row; None when there is none."""
        if self._loaded is None:
            return super().fetchone()
        found = self._next(1)
        return found[0] if found else None

    def fetchmany(self, size: int = 0) -> list[Any]:
        """Return the next rows, *size* at most."""
        if self._loaded is None:
            return super().fetchmany(size)
        return self._next(size or self.arraysize)

    def fetchall(self) -> list[Any]:
        """Return all further rows."""
        if self._loaded is None:
            return super().fetchall()
        return self._next(len(self._loaded))

    def __next__(self) -> Any:
        if self._loaded is None:
            return super().__next__()
        found = self._next(1)
        if not found:
            raise StopIteration
        return found[0]

    @property
    def rownumber(self) -> int | None:
        """How many rows have been fetched."""
        return super().rownumber if self._loaded is None else self._at

    def scroll(self, value: int, mode: str = "relative") -> None:
        """Go to another row: as many further, or to that one if *mode* is ``absolute``."""
        if self._loaded is None:
            super().scroll(value, mode)
            return
        wanted = value + (self._at if mode == "relative" else 0)
        if mode not in ("relative", "absolute"):
            raise ValueError(f"bad mode: {mode}. It should be 'relative' or 'absolute'")
        if not 0 <= wanted < len(self._loaded):
            raise IndexError("position out of bound")
        self._at = wanted

    # Inside.

    def _reset(self, reset_query: bool = True) -> None:
        super()._reset(reset_query)
        self._loaded, self._at = None, 0

    def _next(self, rows: int) -> list[Any]:
        self._check_open()
        loaded = self._loaded or []
        found = loaded[self._at : self._at + rows]
        self._at += len(found)
        return found

    def _check_open(self) -> None:
        if self.closed:
            raise psycopg.InterfaceError("the cursor is closed")

    def _leave_active(self) -> None:
        """Cancel what has not ended in the server."""
        is_active = self._pgconn.transaction_status == pq.TransactionStatus.ACTIVE
        if is_active and not self._is_copying:
            self._conn._try_cancel()
            with suppress(psycopg.Error):
                self._conn.wait(drain(self._pgconn))

    # As psycopg has them: they yield what to wait for.

    def _load_gen(
        self, query: Any, params: Any, prepare: bool | None, binary: bool | None, bounds: Bounds
    ) -> Generator[Any, Any, None]:
        """Send the query and load its rows, as far as *bounds* let it."""
        self._prepared = yield from send_in_chunks(
            self, query, params, CHUNK_ROWS, prepare=prepare, binary=binary
        )
        self._last_query = query
        load = Load(
            Tally(str(query), bounds.max_rows, bounds.max_bytes, bounds.mode, advice=ADVICE)
        )
        try:
            with load.holding:
                while rows := (yield from self._next_gen()):
                    load.take(rows)
                load.end()
        finally:
            cast("BoundedConnection", self._conn).is_worn |= load.has_large_row
        # Statements without rows have no result to fetch.
        if self.pgresult is not None and self.pgresult.status != pq.ExecStatus.COMMAND_OK:
            self._loaded = load.rows
            self._rowcount = len(load.rows)

    def _next_gen(self) -> Generator[Any, Any, list[Any]]:
        """Return the next rows; none when there are no more."""
        result = yield from fetch(self._pgconn)
        if result is None:
            return []
        is_first, self.pgresult = self.pgresult is None, result
        if result.status in _WITH_ROWS:
            self._tx.set_pgresult(result, set_loaders=is_first)
            if is_first:
                self._make_row = self._make_row_maker()
            return self._tx.load_rows(0, result.ntuples, self._make_row)
        if self._prepared is not None:
            key, way, name = self._prepared
            self._conn._prepared.validate(key, way, name, [result])
        if result.status in _COPYING:
            # There would be no end of results; the connection is closed when it comes back.
            self._is_copying = True
            self._raise_for_result(result)
        yield from drain(self._pgconn)
        if result.status not in _DONE:
            self._raise_for_result(result)
        self._results[:] = [result]
        self._statusmessage = result.command_status
        self._rowcount = -1 if result.command_tuples is None else result.command_tuples
        yield from self._conn._prepared.maintain_gen(self._conn)
        return []


def _has_several(query: Any) -> bool:
    """Return whether *query* may be several statements; a semicolon within a text counts, too."""
    text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else ""
    return ";" in text.rstrip().rstrip(";")
