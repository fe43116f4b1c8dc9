"""psycopg's connections for threads, with bounds: Flask, Django's commands, scripts.

    pool = db.pool()                            # DATABASE_URL
    with pool.connection() as connection:       # committed at the end, rolled back on an error
        rows = connection.execute("SELECT id, name FROM events LIMIT 50").fetchall()
    for row in pool.stream("SELECT * FROM events"):
        ...

Promises: nothing is opened and no thread begun before the first use, so that a pool may be made
when the application is imported; a forked child begins anew. Never more connections than the limit.
Who waits for one is served in turn, a bounded time, among a bounded number
(:class:`~tonnage.errors.PoolBusyError`); while the database is away nobody waits
(:class:`~tonnage.errors.DatabaseAwayError`). A connection that has died while it rested is replaced
before it is handed out, without a round trip; one whose server owes an answer for too long is ended
(:mod:`tonnage.db.drivers.psycopg`). When it comes back, it is rolled back, and its attributes
(:data:`GIVEN`) become again what they were; what a committed SET has said stays. It is closed when
it has rested or lived too long, or when memory is wanted back. Queries have bounds
(:mod:`tonnage.db.pools.cursor`).

Why not psycopg_pool: it connects in threads of its own, so that who waits while the server is away
waits to the end of his time; it has no way to close what rests when memory is short; and it keeps
four threads in every worker.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.pq import TransactionStatus

from tonnage.db.drivers.psycopg import configured, connect_arguments
from tonnage.db.guard.chunks import Pace
from tonnage.db.pooling.away import NoRoomError
from tonnage.db.pooling.quiet import is_quiet
from tonnage.db.pooling.serverlimits import ServerLimits, read
from tonnage.db.pooling.slots import Grant
from tonnage.db.pooling.waiters import ThreadWaiter
from tonnage.db.pools.base import PoolBase
from tonnage.db.pools.cursor import BoundedCursor
from tonnage.db.pools.poolkeeper import STATEMENT, Life, PoolKeeper
from tonnage.governor.reservations import reserved
from tonnage.stores.background import background

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

#: Attributes of a connection that whoever uses it may change, for himself alone.
GIVEN: Final = (
    *("autocommit", "isolation_level", "read_only", "deferrable", "prepare_threshold"),
    *("prepared_max", "row_factory", "cursor_factory", "server_cursor_factory", "bounds"),
)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection of :class:`Pool`."""

    #: What a query may load; None: as much as there is.
    bounds: Bounds | None = None
    life = Life()
    #: Whether a large row has left its traces in memory.
    is_worn = False
    # What GIVEN had been when it was opened.
    _given: tuple[Any, ...] = ()

    def begin(self, bounds: Bounds | None, life: Life) -> None:
        """Say what its queries may load, and what its life is; it is ready then."""
        self.bounds, self.life = bounds, life
        self._given = tuple(getattr(self, name) for name in GIVEN)

    def restore(self) -> None:
        """Have nothing be left of whoever used it: no transaction, and no attribute of his."""
        if self.pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            self.rollback()
        for name, value in zip(GIVEN, self._given, strict=True):
            if getattr(self, name) is not value:
                setattr(self, name, value)


class Pool(PoolBase[BoundedConnection]):
    """Made by :func:`tonnage.db.pool`.

    Args:
        name: for logs and statistics.
        url: where the database is.
        settings: what the options say.
        bounds: what a query may load.
    """

    def __init__(
        self, name: str, url: DatabaseUrl, settings: DatabaseSettings, bounds: Bounds | None
    ) -> None:
        self._bounds = bounds
        self._arguments = connect_arguments(url, settings)
        self._configure = configured(url, settings)
        super().__init__(PoolKeeper("psycopg", name, url, settings, is_async=False))

    @contextmanager
    def connection(self, *, timeout: float | None = None) -> Iterator[BoundedConnection]:
        """Have a connection inside, and a transaction: committed in the end, or rolled back.

        Args:
            timeout: how long to wait for one, in seconds; by default ``pool_timeout`` of the URL.

        Raises:
            PoolBusyError: none came free in time, or too many wait.
            DatabaseAwayError: the database does not answer, or the connection was lost.
        """
        connection = self._take(self._keeper.wait_seconds if timeout is None else timeout)
        try:
            with self._keeper.using(partial(_is_ended, connection)):
                yield connection
                # One that the application has closed is its affair.
                if self._is_ours(connection) and (connection.broken or not connection.closed):
                    connection.commit()
        finally:
            self._give_back(connection)

    def stream(self, query: Any, params: Any = None) -> Generator[Any, None, None]:
        """Yield the rows of *query* as they come: about a megabyte of them is held at a time.

        It keeps its connection, and a transaction, until it ends; so close it where it is left
        early (``contextlib.closing``), or leave it to the collector.

        Raises:
            PoolBusyError: as :meth:`connection`.
            DatabaseAwayError: as :meth:`connection`.
        """
        pace = Pace()
        with self.connection() as connection, connection.cursor("tonnage_stream") as cursor:
            cursor.execute(query, params)
            while True:
                with _held(pace.next_bytes):
                    rows = cursor.fetchmany(pace.next_rows)
                    pace.note(rows)
                yield from rows
                if len(rows) < pace.asked_rows:
                    return

    def close(self) -> None:
        """Close the connections that rest; those in use are closed when they come back.

        The next use opens new ones.
        """
        self._keeper.expire()
        self.close_those(self.slots.take_out(lambda _: True))

    # As the base wants it.

    def close_those(self, connections: list[BoundedConnection]) -> None:
        """See :class:`PoolBase`."""
        for connection in connections:
            try:
                self._close(connection)
            finally:
                self.slots.leave(None, time.monotonic())

    def _life(self, connection: BoundedConnection) -> Life:
        return connection.life

    def _run(self, function: Callable[[], None]) -> None:
        background().start(asyncio.to_thread(function))

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        there = background()
        there.call(there.loop.call_later, seconds, function)

    def _ask_beside(self, grant: Grant[BoundedConnection]) -> None:
        self._run(partial(self._ask, grant))

    # Inside.

    def _ask(self, grant: Grant[BoundedConnection]) -> None:
        connection = grant.item
        if connection is None:
            self.slots.leave(None, time.monotonic())
            return
        try:
            found = self._told(connection)
            if found is not None:
                self._keeper.counted(found)
        except psycopg.Error:
            self.close_those([connection])  # it has died while it rested
        else:
            is_over = self._keeper.is_over(connection.life)
            if is_over or not self.slots.leave(connection, grant.since_seconds):
                self.close_those([connection])

    def _take(self, seconds: float | None) -> BoundedConnection:
        ends_seconds = None if seconds is None else time.monotonic() + seconds
        found: Grant[BoundedConnection] | ThreadWaiter | BoundedConnection = self._enter(
            ThreadWaiter
        )
        while not isinstance(found, BoundedConnection):
            if isinstance(found, ThreadWaiter):
                left = None if ends_seconds is None else max(0.0, ends_seconds - time.monotonic())
                found = self._granted(found, left, seconds)
            found = self._used(found)
        return found

    def _granted(
        self, waiter: ThreadWaiter, left: float | None, seconds: float | None
    ) -> Grant[BoundedConnection]:
        """Return what *waiter* gets in the *left* of all *seconds*."""
        try:
            granted = waiter.wait(left)
        except BaseException:  # interrupted, or woken with an error
            self._give_up(waiter)
            raise
        if granted is None and self.slots.forget(waiter):
            raise self._keeper.busy(self.slots.waiting, seconds)
        return granted if granted is not None else waiter.granted()

    def _used(self, grant: Grant[BoundedConnection]) -> BoundedConnection | ThreadWaiter:
        """Return a connection, or who waits for another since the server has no room for one."""
        try:
            connection = grant.item
            if connection is not None:
                if is_quiet(connection.pgconn.socket) and not self._keeper.is_over(connection.life):
                    return connection
                self._close(connection)
            try:
                return self._open()
            except NoRoomError as error:
                return self._keeper.wait_instead(error, self.slots, ThreadWaiter)
        except BaseException:
            self.slots.leave(None, time.monotonic())
            raise

    def _open(self) -> BoundedConnection:
        with self._keeper.connecting():
            connection = BoundedConnection.connect(**self._arguments, cursor_factory=BoundedCursor)
            try:
                self._configure(connection)
                found = self._told(connection) if self._keeper.wants_count else None
            except BaseException:
                connection.close()
                raise
        connection.begin(self._bounds, self._keeper.new_life())
        self._keeper.opened(found)
        return connection

    def _told(self, connection: BoundedConnection) -> ServerLimits | None:
        """Return what the server says that it allows; None where it does not."""
        try:
            return read(connection.execute(STATEMENT).fetchone() or ())
        except psycopg.Error as error:
            if connection.closed:
                raise
            self._keeper.not_counted(error)
            return None
        finally:
            if not connection.closed:
                connection.rollback()

    def _give_back(self, connection: BoundedConnection) -> None:
        if not self._is_ours(connection):
            self._parents.append(connection)
            return
        with suppress(psycopg.Error):
            connection.restore()
        is_well = connection.pgconn.transaction_status == TransactionStatus.IDLE
        if is_well and not connection.is_worn and not self._keeper.is_over(connection.life):
            self._rest(connection)
        else:
            self.close_those([connection])

    def _close(self, connection: BoundedConnection) -> None:
        connection.close()
        self._keeper.closed()


def _is_ended(connection: BoundedConnection, error: Exception) -> bool:
    return connection.broken and isinstance(
        error, psycopg.OperationalError | psycopg.InterfaceError
    )


@contextmanager
def _held(size_bytes: int) -> Iterator[None]:
    """Ask for memory, unless this is the thread of an event loop, which must not wait."""
    if asyncio._get_running_loop() is not None:
        yield
        return
    with reserved(size_bytes):
        yield
