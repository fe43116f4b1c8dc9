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

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.pq import TransactionStatus

from tonnage.db.drivers.psycopg import configured, connect_arguments
from tonnage.db.guard.chunks import Pace
from tonnage.db.pooling.keeper import Keeper, Life
from tonnage.db.pooling.kept import BlockingPool
from tonnage.db.pooling.quiet import is_quiet
from tonnage.db.pooling.serverlimits import POSTGRESQL, ServerLimits, read
from tonnage.db.pooling.upkeep import InThreads
from tonnage.db.pools.base import PlainPool
from tonnage.db.pools.cursor import BoundedCursor
from tonnage.db.pools.load import held

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

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


class Pool(PlainPool[BoundedConnection], BlockingPool[BoundedConnection]):
    """Made by :func:`tonnage.db.pool`.

    Args:
        name: for logs and statistics.
        url: where the database is.
        settings: what the options say.
        bounds: what a query may load.
    """

    _home = InThreads()

    def __init__(
        self, name: str, url: DatabaseUrl, settings: DatabaseSettings, bounds: Bounds | None
    ) -> None:
        self._bounds = bounds
        self._arguments = connect_arguments(url, settings)
        self._configure = configured(url, settings)
        super().__init__(Keeper("psycopg", name, url, settings, is_async=False))
        self._keeper.show(url.shown)

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
                with held(pace.next_bytes):
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
        self.close_those(self.slots.take_out())

    # As the base wants it.

    def _is_living(self, connection: BoundedConnection, since_seconds: float) -> bool:
        # Whoever had it may still have closed it.
        is_open = not connection.closed and is_quiet(connection.pgconn.socket)
        return is_open and not self._is_over(connection)

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
        try:
            # Without bounds: it is no query of the application's.
            return read(psycopg.Cursor(connection).execute(POSTGRESQL).fetchone() or ())
        except Exception as error:
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
        is_well = False
        try:
            with suppress(psycopg.Error):
                connection.restore()
                is_well = connection.pgconn.transaction_status == TransactionStatus.IDLE
        finally:  # also where that is interrupted
            if is_well and not connection.is_worn and not self._is_over(connection):
                self._rest(connection)
            else:
                self.close_those([connection])

    def _close(self, connection: BoundedConnection) -> None:
        connection.close()
        self._keeper.counts.went()


def _is_ended(connection: BoundedConnection, error: Exception) -> bool:
    return connection.broken and isinstance(
        error, psycopg.OperationalError | psycopg.InterfaceError
    )
