"""A cursor of SQLAlchemy's for aiosqlite that loads in chunks, and stops when it is too much.

Promises: what it costs more is one change of threads for each chunk beyond the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_cursor

from tonnage.db.guard.chunks import fetch_chunk
from tonnage.governor.reservations import reserved

if TYPE_CHECKING:
    from tonnage.db.guard.tally import Tally


class LoadingCursor(AsyncAdapt_aiosqlite_cursor):
    """Executes a statement and loads its rows, as far as *tally* lets it."""

    __slots__ = ("_tally",)

    def __init__(self, connection: Any, tally: Tally, _root: object) -> None:
        super().__init__(connection)
        self._tally = tally

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        async with self._adapt_connection._execute_mutex:
            cursor = self._cursor
            result = await cursor.execute(operation, () if parameters is None else parameters)
            if cursor.description:
                try:
                    await self._load(cursor)
                except BaseException:
                    # Whoever keeps the error keeps this cursor.
                    self._rows.clear()
                    raise
            return result

    async def _load(self, cursor: Any) -> None:
        is_done = await self._take(cursor)
        while not is_done:
            async with reserved(self._tally.next_bytes):
                is_done = await self._take(cursor)

    async def _take(self, cursor: Any) -> bool:
        """Take the next rows, as many as are to be had at a time; return whether these were all."""
        found = await cursor._execute(fetch_chunk, cursor._cursor.fetchmany, self._tally.next_rows)
        rows, size_bytes, is_done = found
        self._rows.extend(rows)
        self._tally.add(len(rows), size_bytes)
        return bool(is_done)
