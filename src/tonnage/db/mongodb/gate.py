"""What every operation on MongoDB passes: who would wait in vain is told so at once.

Promises: when no server was found, that is :class:`MongoAwayError`, and from then on one operation
at a time tries again while the others fail without waiting
(:class:`~tonnage.db.pooling.away.Door`); the first heartbeat that is answered lets all of them in.
When no connection came free in time, or too many wait for one already, that is
:class:`MongoBusyError`. Both are refusals, so that a request that lets them out is answered with
503; and both are PyMongo's AutoReconnect, so that code that handles that goes on doing so. Their
cause is the original.

Does not try again itself: PyMongo does so once, where that is safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo import AsyncMongoClient
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from tonnage.db.pooling.away import away, busy
from tonnage.errors import DatabaseAwayError, PoolBusyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.db.mongodb.events import Books
    from tonnage.db.pooling.away import Door

#: Operations that may wait for a connection.
MOST_WAITING: Final = 500
# What PyMongo's sessions go by when they try a transaction again.
_LABELS: Final = ("TransientTransactionError", "UnknownTransactionCommitResult")


class MongoAwayError(DatabaseAwayError, AutoReconnect):
    """MongoDB does not answer."""


class MongoBusyError(PoolBusyError, AutoReconnect):
    """Every connection is in use, and none came free in time."""


class Gate:
    """The gate of one pool.

    Args:
        name: what refusals call the pool.
        door: whether MongoDB is there.
        limit: how many connections there may be.
        books: how many operations wait for one.
        wait_seconds: how long one waits; None: for ever.
    """

    def __init__(
        self,
        name: str,
        door: Door,
        limit: Callable[[], int],
        books: Books,
        wait_seconds: float | None,
    ) -> None:
        self._name = name
        self._door = door
        self._limit = limit
        self._books = books
        self._wait_seconds = wait_seconds

    def enter(self) -> None:
        """Let an operation in.

        Raises:
            MongoAwayError: there is no server, and it is not this one's turn to look for it.
            MongoBusyError: too many wait already.
        """
        try:
            self._door.check()
        except DatabaseAwayError as refusal:
            raise MongoAwayError(refusal.problem) from None
        if self._books.waiting >= MOST_WAITING:
            raise self._busy(None)

    def answered(self) -> None:
        """MongoDB has answered: let everybody in."""
        if self._door.is_away:
            self._door.came()

    def gave_up(self, error: BaseException) -> None:
        """An operation has ended with *error*, which says nothing of connections."""
        if isinstance(error, PyMongoError):
            self.answered()
        elif self._door.is_away:
            self._door.gave_up()

    def refusal(self, error: ConnectionFailure) -> MongoAwayError | MongoBusyError:
        """Return what to raise for *error*."""
        refusal: MongoAwayError | MongoBusyError
        if isinstance(error, WaitQueueTimeoutError):
            refusal = self._busy(self._wait_seconds)
        else:
            # A connection that broke is no outage; that there is no server to connect to is one.
            is_gone = isinstance(error, ServerSelectionTimeoutError) or self._door.is_away
            told = self._door.failed(error) if is_gone else away(self._name)
            refusal = MongoAwayError(told.problem)
        # There is no public way to set them.
        for label in _LABELS:
            if error.has_error_label(label):
                refusal._add_error_label(label)
        return refusal

    def _busy(self, seconds: float | None) -> MongoBusyError:
        self._books.gave_up()
        return MongoBusyError(busy(self._name, self._limit(), self._books.waiting, seconds).problem)


class GatedClient(AsyncMongoClient[dict[str, Any]]):
    """PyMongo's client, whose operations pass a gate.

    The method that is overridden is not public; it is what reads, writes, cursors and transactions
    all go through, and tests of each of them show that they still do.
    """

    def __init__(self, gate: Gate, **arguments: Any) -> None:
        self._gate = gate
        super().__init__(**arguments)

    async def _retry_internal(self, *given: Any, **named: Any) -> Any:
        self._gate.enter()
        try:
            found = await super()._retry_internal(*given, **named)
        except ConnectionFailure as error:
            raise self._gate.refusal(error) from error
        except BaseException as error:
            self._gate.gave_up(error)
            raise
        self._gate.answered()
        return found

    async def close_idle(self) -> None:
        """Close connections that nobody uses; those in use when they are given back."""
        # Neither is this public; PyMongo does it when a server has changed its role.
        for server in list(self._topology._servers.values()):
            await server.pool.reset_without_pause()
