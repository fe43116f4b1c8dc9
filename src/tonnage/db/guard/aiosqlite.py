"""A cursor of SQLAlchemy's for aiosqlite that loads in chunks, and stops when it is too much.

Promises: what it costs more is one change of threads for each chunk beyond the first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_cursor

from tonnage.governor.reservations import reserved

if TYPE_CHECKING:
    from tonnage.db.guard.tally import Tally


class LoadingCursor(AsyncAdapt_aiosqlite_cursor):
    """Executes a statement and loads its rows, as far as *tally* lets it."""

    __slots__ = ("_tally",)

    def __init__(self, connection: Any, tally: Tally) -> None:
        super().__init__(connection)
        self._tally = tally

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        async with self._adapt_connection._execute_mutex:
            cursor = self._cursor
            result = await cursor.execute(operation, () if parameters is None else parameters)
            if cursor.description:
                wanted = self._tally.next_rows
                self._rows = deque(await self._take(wanted))
                while len(self._rows) >= wanted:
                    async with reserved(self._tally.next_bytes):
                        size = self._tally.next_rows
                        self._rows.extend(await self._take(size))
                    wanted += size
            return result

    async def _take(self, size: int) -> list[Any]:
        rows = list(await self._cursor.fetchmany(size))
        self._tally.count(rows)
        return rows
