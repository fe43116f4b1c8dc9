"""asyncpg's connection, with bounds on what a query loads.

Promises: ``fetch``, ``fetchrow`` and ``fetchval`` load no more rows than they may, and are cut off
at so many bytes (:mod:`tonnage.db.pools.wire`): :class:`~tonnage.errors.ResultTooLargeError` names
the statement and the line of the application. Neither costs a round trip. A query that is stopped
for its bytes loses its connection, and its transaction with it; one with too many rows does not.
Slow queries are logged.

How: the server is asked for one row more than may be loaded, as asyncpg asks for one in
``fetchrow``; like there, such a statement is not run in parallel by the server. A statement that
changes rows and returns them is run to its end even so.

Not counted: statements that the application prepares itself, cursors, and COPY, whose rows come as
they are asked for; what ``execute`` makes the server send is not kept.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from asyncpg import (  # type: ignore[import-untyped]
    Connection,
    ConnectionFailureError,
    InterfaceError,
    InternalClientError,
    PostgresConnectionError,
)

from tonnage.db.guard.tally import Tally
from tonnage.db.pooling.keeper import Life
from tonnage.db.pooling.quiet import is_quiet
from tonnage.db.pools.load import ADVICE
from tonnage.db.pools.wire import Wire
from tonnage.errors import ResultTooLargeError
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.pools.wire import Answer

#: A connection that has received an answer of this size is closed when it comes back.
LARGE_BYTES: Final = 4 * MIB
#: How long a connection that comes back may take to be reset, and when to ask again for an end of
#: what still runs in it.
RESET_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.5
#: How long closing one may take.
CLOSE_SECONDS: Final = 5.0
# What a row and each of its values take in Python beside what was on the wire.
_ROW_BYTES: Final = 64
_VALUE_BYTES: Final = 40


class BoundedConnection(Connection):  # type: ignore[misc]
    """A connection of :class:`~tonnage.db.pools.tasks.AsyncPool`."""

    __slots__ = ("bounds", "is_worn", "life", "refusal", "wire")

    def __init__(self, protocol: Any, transport: Any, *given: Any) -> None:
        super().__init__(protocol, transport, *given)
        self.wire = Wire(protocol, transport)
        #: What a query may load; None: as much as there is.
        self.bounds: Bounds | None = None
        self.life = Life()
        #: Why it was cut, where we have done that.
        self.refusal: Exception | None = None
        #: Whether a large answer has left its traces in memory.
        self.is_worn = False

    @property
    def is_alive(self) -> bool:
        """Whether it can be used, as far as that can be known without asking the server."""
        return not self.is_closed() and is_quiet(self.wire.descriptor)

    def is_lost_by(self, error: Exception) -> bool:
        """Return whether *error* says that the connection was lost, and not by us."""
        if isinstance(error, InternalClientError):
            # asyncpg's word for a server that has ended the connection between two steps of a
            # statement.
            self.terminate()
            return True
        # The application may have closed it, and then have an error of its own.
        kinds = (OSError, InterfaceError, PostgresConnectionError)
        return self.is_closed() and isinstance(error, kinds) and self.refusal is None

    @contextmanager
    def answering(self, timeout: float | None = None) -> Iterator[None]:
        """Wait inside for an answer.

        Args:
            timeout: what whoever asks has given himself, who then hears that it is over.

        Raises:
            ConnectionFailureError: none came in the time that the URL says; the connection is
                ended.
        """
        try:
            yield
        except TimeoutError:
            if timeout is not None:
                raise
            self.terminate()
            raise ConnectionFailureError("the server has not answered in time") from None

    async def reset_or_end(self) -> None:
        """Have nothing be left of whoever used it; what cannot be reset is ended.

        Where he was cancelled, asyncpg asks the server to cancel his statement. When that comes
        before the statement has begun, it is for nothing; so it is asked again.
        """
        resetting = asyncio.ensure_future(self.reset(timeout=RESET_SECONDS))
        while not (await asyncio.wait([resetting], timeout=AGAIN_SECONDS))[0]:
            self._cancel_current_command(self._loop.create_future())
        if resetting.exception() is not None:
            self.terminate()

    async def close_gently(self) -> None:
        """Close it with a word to the server, if that takes it in time."""
        try:
            await self.close(timeout=CLOSE_SECONDS)
        except Exception:  # noqa: BLE001  (it is gone all the same)
            self.terminate()

    async def _execute(
        self,
        query: str,
        args: Any,
        limit: int,
        timeout: float | None,  # noqa: ASYNC109  (asyncpg's)
        **options: Any,
    ) -> Any:
        """Run *query*; asyncpg's own methods for it come here."""
        bounds = self.bounds
        if bounds is None:
            with self.answering(timeout):
                return await super()._execute(query, args, limit, timeout, **options)
        begun = bounds.slow.now()
        has_status = options.get("return_status", False)
        is_stopping = bounds.mode == "stop"
        if is_stopping and limit == 0 and not has_status and bounds.max_rows is not None:
            limit = bounds.max_rows + 1
        with self.wire.answer(bounds.max_bytes if is_stopping else None) as answer:
            try:
                with self.answering(timeout):
                    found = await super()._execute(query, args, limit, timeout, **options)
            except Exception:
                self._explain(query, answer)
                raise
        rows = found[0] if has_status else found
        self.is_worn = self.is_worn or answer.received_bytes > LARGE_BYTES
        if rows and bounds.mode != "off":
            self._tally(query).add(len(rows), _weight(rows, answer))
        if bounds.slow.is_slow(begun):
            bounds.slow.note(begun, query, len(rows or ()))
        return found

    async def execute(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,  # noqa: ASYNC109  (asyncpg's)
    ) -> str:
        """Run *query*, which may be several statements."""
        with self.answering(timeout):
            status: str = await super().execute(query, *args, timeout=timeout)
            return status

    async def _executemany(
        self,
        query: str,
        args: Any,
        timeout: float | None,  # noqa: ASYNC109  (asyncpg's)
        **options: Any,
    ) -> Any:
        """Run *query* for each of *args*; asyncpg's own methods for it come here."""
        with self.answering(timeout):
            return await super()._executemany(query, args, timeout, **options)

    def _explain(self, query: str, answer: Answer) -> None:
        """Raise why *answer* was cut off, if it was."""
        self.refusal = answer.refusal
        if answer.is_too_large:
            try:
                self._tally(query).add(0, answer.received_bytes)
            except ResultTooLargeError as error:
                self.refusal = error
        if self.refusal is not None:
            raise self.refusal from None

    def _tally(self, query: str) -> Tally:
        bounds = self.bounds
        assert bounds is not None
        return Tally(query, bounds.max_rows, bounds.max_bytes, bounds.mode, advice=ADVICE)


def _weight(rows: Any, answer: Answer) -> int:
    """Return about how much *rows* take."""
    return answer.received_bytes + len(rows) * (_ROW_BYTES + _VALUE_BYTES * len(rows[0]))
