"""What every operation on MongoDB passes: who would wait in vain is told so at once.

Promises: when no server was found, that is :class:`MongoAwayError`, and from then on one operation
at a time tries again while the others fail without waiting
(:class:`~tonnage.db.pooling.away.Door`); the first heartbeat that is answered lets all of them in.
When no connection came free in time that is :class:`MongoBusyError`. At most :data:`MOST_WAITING`
operations wait, for a connection or for a server; they are counted here, from their beginning to
their end, however that comes. A write whose connection broke after it was sent may have been done,
and its error says so. All are refusals, so that a request that lets them out is answered with 503;
and all are PyMongo's AutoReconnect, so that code that handles that goes on doing so. Their cause is
the original.

Does not try again itself: PyMongo does so once, where that is safe.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pymongo import AsyncMongoClient
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from tonnage.db.guard.slow import LineLimit
from tonnage.db.mongodb.events import under_way
from tonnage.db.pooling.away import RETRY_AFTER_SECONDS, away, busy, said
from tonnage.errors import DatabaseAwayError, PoolBusyError
from tonnage.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tonnage.db.mongodb.events import Books
    from tonnage.db.pooling.away import Door

logger = logging.getLogger("tonnage.db")

#: Operations that may wait, for a connection or for a server.
MOST_WAITING: Final = 500
# What PyMongo's sessions go by when they try a transaction again.
_LABELS: Final = ("TransientTransactionError", "UnknownTransactionCommitResult")


class MongoAwayError(DatabaseAwayError, AutoReconnect):
    """MongoDB does not answer, or the connection to it was lost."""


class MongoBusyError(PoolBusyError, AutoReconnect):
    """Every connection is in use, and none came free in time."""


class Gate:
    """The gate of one pool.

    Args:
        name: what refusals call the pool.
        door: whether MongoDB is there.
        limit: how many connections there may be.
        books: how many of them there are, and in use.
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
        self._lines = LineLimit()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the operations that were under way; called in a forked child."""
        self._lock = threading.Lock()
        self._inside = 0
        self._door.begin_anew()

    @property
    def waiting(self) -> int:
        """Operations that have no connection yet."""
        return max(0, self._inside - self._books.taken)

    @contextmanager
    def passed(self, *, is_read: bool) -> Iterator[None]:
        """Let an operation in, and give its errors their meaning.

        Raises:
            MongoAwayError: there is no server, and it is not this one's turn to look for it; or
                its connection was lost.
            MongoBusyError: no connection came free in time, or too many wait already.
        """
        self._enter()
        sent = under_way.set(None)
        try:
            yield
        except ConnectionFailure as error:
            raise self._refusal(error, is_read=is_read) from error
        except PyMongoError:
            self.answered()  # it was the server that refused it
            raise
        except BaseException:
            if self._door.is_away:
                self._door.gave_up()
            raise
        else:
            self.answered()
        finally:
            under_way.reset(sent)
            with self._lock:
                self._inside -= 1

    def answered(self) -> None:
        """MongoDB has answered: let everybody in."""
        if self._door.is_away:
            self._door.came()

    def _enter(self) -> None:
        try:
            self._door.check()
        except DatabaseAwayError as refusal:
            raise MongoAwayError(refusal.problem) from None
        if self.waiting >= MOST_WAITING:
            # Where nobody has a connection they do not wait for one, but for the server.
            is_busy = self._books.taken > 0
            raise self._busy(None) if is_busy else MongoAwayError(away(self._name).problem)
        with self._lock:
            self._inside += 1

    def _refusal(
        self, error: ConnectionFailure, *, is_read: bool
    ) -> MongoAwayError | MongoBusyError:
        """Return what to raise for *error*."""
        refusal: MongoAwayError | MongoBusyError
        if isinstance(error, WaitQueueTimeoutError):
            refusal = self._busy(self._wait_seconds)
        elif isinstance(error, ServerSelectionTimeoutError) or self._door.is_away:
            refusal = MongoAwayError(self._door.failed(_short(error)).problem)
        else:
            # A connection that broke is no outage; that there is no server to connect to is one.
            if self._lines.left_out(time.monotonic()) is not None:
                logger.warning("database connection lost: %s: %s", self._name, said(_short(error)))
            refusal = MongoAwayError(away(self._name).problem)
        if not is_read and under_way.get() is not None:
            refusal = MongoAwayError(_lost(self._name))
        # There is no public way to set them.
        for label in _LABELS:
            if error.has_error_label(label):
                refusal._add_error_label(label)
        return refusal

    def _busy(self, seconds: float | None) -> MongoBusyError:
        self._books.gave_up()
        return MongoBusyError(busy(self._name, self._limit(), self.waiting, seconds).problem)


def _lost(name: str) -> Problem:
    return Problem(
        503,
        "database_connection_lost",
        f"the connection to {name} was lost: what was sent last may have been done or not; look"
        " before you send it again",
        headers=((b"retry-after", b"%d" % RETRY_AFTER_SECONDS),),
    )


def _short(error: ConnectionFailure) -> ConnectionFailure:
    """Return *error* for the log: without what PyMongo adds of timeouts and of all servers."""
    text = str(error).partition(", Timeout: ")[0].partition(" (configured timeouts: ")[0]
    return type(error)(text)


class GatedClient(AsyncMongoClient[dict[str, Any]]):
    """PyMongo's client, whose operations pass a gate.

    The method that is overridden is not public; it is what reads, writes, cursors and transactions
    all go through, and tests of each of them show that they still do.
    """

    def __init__(self, gate: Gate, **arguments: Any) -> None:
        self._gate = gate
        super().__init__(**arguments)

    async def _retry_internal(self, *given: Any, **named: Any) -> Any:
        # A command of the application's own, and a pipeline, may write.
        may_write = named.get("is_run_command") or named.get("is_aggregate_write")
        with self._gate.passed(is_read=bool(named.get("is_read")) and not may_write):
            return await super()._retry_internal(*given, **named)

    async def close_idle(self) -> None:
        """Close connections that nobody uses; those in use when they are given back."""
        # Neither is this public; PyMongo does it when a server has changed its role.
        for server in list(self._topology._servers.values()):
            await server.pool.reset_without_pause()

    async def _end_sessions(self, session_ids: list[Any]) -> None:
        # A good-bye is not worth a new connection: MongoDB forgets sessions by itself.
        if any(server.pool.conns for server in self._topology._servers.values()):
            await super()._end_sessions(session_ids)
