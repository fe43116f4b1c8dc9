"""asyncpg's connections for an event loop, with bounds.

    pool = db.async_pool()                      # DATABASE_URL
    async with pool.acquire() as connection:
        async with connection.transaction(): ...
    rows = await pool.fetch("SELECT id, name FROM events WHERE city = $1 LIMIT 50", city)
    async for row in pool.stream("SELECT * FROM events"):
        ...

Promises: nothing is opened before the first use, so that a pool may be made when the application is
imported; a forked child begins anew. Never more connections than the limit. Who waits for one is
served in turn, a bounded time, among a bounded number (:class:`~tonnage.errors.PoolBusyError`);
while the database is away nobody waits (:class:`~tonnage.errors.DatabaseAwayError`). A connection
that has died while it rested is replaced before it is handed out, without a round trip. It is reset
when it comes back, as asyncpg's own pool does it; and closed when it has rested or lived too long,
after a large answer, or when memory is wanted back. Queries have bounds
(:mod:`tonnage.db.pools.asyncpgconnection`).

Its connections belong to one event loop at a time: a loop that has ended has closed them, and the
next begins anew. One that asks while another lives and has connections is refused.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]

from tonnage.db.drivers.asyncpg import connect_arguments
from tonnage.db.guard.chunks import Pace
from tonnage.db.pooling.away import NoRoomError
from tonnage.db.pooling.keeper import Keeper
from tonnage.db.pooling.kept import LoopPool
from tonnage.db.pooling.serverlimits import POSTGRESQL, ServerLimits, read
from tonnage.db.pooling.slots import Grant
from tonnage.db.pooling.waiters import TaskWaiter
from tonnage.db.pools.asyncpgconnection import BoundedConnection
from tonnage.db.pools.base import PlainPool
from tonnage.governor.reservations import reserved

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine

    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings


class AsyncPool(PlainPool[BoundedConnection], LoopPool[BoundedConnection]):
    """Made by :func:`tonnage.db.async_pool`.

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
        # On their way back; as many as the limit.
        self._returning: set[asyncio.Task[None]] = set()
        super().__init__(Keeper("asyncpg", name, url, settings, is_async=True))
        self._keeper.show(url.shown)

    # For the application.

    @asynccontextmanager
    async def acquire(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  (as asyncpg has it)
    ) -> AsyncIterator[BoundedConnection]:
        """Have a connection inside: asyncpg's, with bounds.

        Args:
            timeout: how long to wait for one, in seconds; by default ``pool_timeout`` of the URL.

        Raises:
            PoolBusyError: none came free in time, or too many wait.
            DatabaseAwayError: the database does not answer, or the connection was lost.
            DatabaseError: the pool is in use in another event loop.
        """
        connection = await self._take(self._keeper.wait_seconds if timeout is None else timeout)
        try:
            with self._keeper.using(connection.is_lost_by):
                yield connection
        except asyncpg.InterfaceError:
            # asyncpg's transactions say only that the connection is gone.
            if connection.refusal is not None:
                raise connection.refusal from None
            raise
        finally:
            if self._is_ours(connection):
                # Also where this task is cancelled.
                await asyncio.shield(self._return(self._give_back(connection)))
            else:
                self._parents.append(connection)

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Return the rows of *query*.

        Raises:
            ResultTooLargeError: they are more, or larger, than a query may load.
            PoolBusyError: as :meth:`acquire`, and so are the others.
        """
        async with self.acquire() as connection:
            rows: list[Any] = await connection.fetch(query, *args)
            return rows

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """Return the first row of *query*, or None."""
        async with self.acquire() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any, column: int = 0) -> Any:
        """Return a value of the first row of *query*, or None."""
        async with self.acquire() as connection:
            return await connection.fetchval(query, *args, column=column)

    async def execute(self, query: str, *args: Any) -> str:
        """Run *query*, and return what the server says of it, as in ``UPDATE 3``."""
        async with self.acquire() as connection:
            status: str = await connection.execute(query, *args)
            return status

    async def stream(
        self, query: str, *args: Any, chunk_rows: int | None = None
    ) -> AsyncGenerator[Any, None]:
        """Yield the rows of *query* as they come: about a megabyte of them is held at a time.

        It keeps its connection, and a transaction, until it ends; where it is left early, have
        ``contextlib.aclosing`` end it at once.

        Args:
            query: what to ask.
            args: its parameters.
            chunk_rows: how many rows to ask for at a time; by default what makes a megabyte.

        Raises:
            PoolBusyError: as :meth:`acquire`.
        """
        pace = Pace(chunk_rows)
        async with self.acquire() as connection, connection.transaction(readonly=False):
            cursor = await connection.cursor(query, *args)
            while True:
                async with reserved(pace.next_bytes):
                    with connection.answering():
                        rows = await cursor.fetch(pace.next_rows)
                    pace.note(rows)
                for row in rows:
                    yield row
                if len(rows) < pace.asked_rows:
                    return

    async def close(self) -> None:
        """Close the connections that rest; those in use are closed when they come back.

        The next use opens new ones.
        """
        self._keeper.expire()
        await self._close_gently(self.slots.take_out())
        if self._returning:
            await asyncio.wait(self._returning)

    # As the base wants it.

    def close_those(self, connections: list[BoundedConnection]) -> None:
        """See :class:`PoolBase`; their sockets are closed, without a word to the server."""
        for connection in connections:
            connection.terminate()
            self.slots.leave(None, time.monotonic())

    def begin_anew(self) -> None:
        """Forget what there was: it is the parent's; called in a forked child."""
        super().begin_anew()
        self._parents.append(self._returning)
        self._returning = set()

    def _count(self, connection: BoundedConnection, since_seconds: float) -> None:
        self._return(self._ask(connection, since_seconds))

    # Inside.

    def _return(self, returning: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Return what gives a connection back, in a task that is of no request."""
        task = asyncio.Task(returning, loop=asyncio.get_running_loop(), context=Context())
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task

    async def _ask(self, connection: BoundedConnection, since_seconds: float) -> None:
        try:
            found = await self._told(connection)
            if found is not None:
                self._keeper.counted(found)
        except asyncpg.ConnectionFailureError:
            connection.terminate()  # it has died while it rested
        except BaseException:
            self.close_those([connection])
            raise
        if connection.is_closed():
            self.slots.leave(None, time.monotonic())
        elif self._is_over(connection):
            self.close_those([connection])
        else:
            self._rest(connection, since_seconds)

    async def _take(self, seconds: float | None) -> BoundedConnection:
        self._come_home()
        ends_seconds = None if seconds is None else time.monotonic() + seconds
        found: Grant[BoundedConnection] | TaskWaiter | BoundedConnection = self._enter(TaskWaiter)
        while not isinstance(found, BoundedConnection):
            if isinstance(found, TaskWaiter):
                left = None if ends_seconds is None else max(0.0, ends_seconds - time.monotonic())
                found = await self._granted(found, left, seconds)
            found = await self._used(found)
        return found

    async def _granted(
        self, waiter: TaskWaiter, left: float | None, seconds: float | None
    ) -> Grant[BoundedConnection]:
        """Return what *waiter* gets in the *left* of all *seconds*."""
        try:
            granted = await waiter.granted_in(left)
        except BaseException:  # cancelled, or woken with an error
            self._give_up(waiter)
            raise
        if granted is None and self.slots.forget(waiter):
            raise self._keeper.busy(self.slots.waiting, seconds)
        return granted if granted is not None else waiter.granted()

    async def _used(self, grant: Grant[BoundedConnection]) -> BoundedConnection | TaskWaiter:
        """Return a connection, or who waits for another since the server has no room for one."""
        try:
            connection = grant.item
            if connection is not None:
                if connection.is_alive and not self._is_over(connection):
                    return connection
                await connection.close_gently()
            try:
                return await self._open()
            except NoRoomError as error:
                return self._keeper.wait_instead(error, self.slots, TaskWaiter)
        except BaseException:
            self.slots.leave(None, time.monotonic())
            raise

    async def _open(self) -> BoundedConnection:
        with self._keeper.connecting():
            connection: BoundedConnection = await asyncpg.connect(
                **self._arguments, connection_class=BoundedConnection
            )
            try:
                found = await self._told(connection) if self._keeper.wants_count else None
            except BaseException:
                connection.terminate()
                raise
        connection.life = self._keeper.new_life()
        connection.bounds = self._bounds
        self._keeper.opened(found)
        connection.add_termination_listener(self._on_terminated)
        return connection

    async def _told(self, connection: BoundedConnection) -> ServerLimits | None:
        """Return what the server says that it allows; None where it does not.

        Raises:
            ConnectionFailureError: the connection was lost by it, whatever asyncpg calls that.
        """
        try:
            return read(await connection.fetchrow(POSTGRESQL))
        except Exception as error:
            if connection.is_lost_by(error):
                raise asyncpg.ConnectionFailureError(str(error)) from error
            self._keeper.not_counted(error)
            return None

    def _on_terminated(self, connection: BoundedConnection) -> None:
        """Count it; asyncpg calls this when a connection has ended, however that was."""
        self._keeper.counts.went()
        for _ in self.slots.take_out(lambda grant: grant.item is connection):
            self.slots.leave(None, time.monotonic())

    async def _give_back(self, connection: BoundedConnection) -> None:
        try:
            if connection.is_worn or self._is_over(connection):
                await connection.close_gently()
            else:
                await connection.reset_or_end()
        except BaseException:  # cancelled, when the event loop ends
            connection.terminate()
            raise
        finally:
            if connection.is_closed():
                connection.terminate()
                self.slots.leave(None, time.monotonic())
            else:
                self._rest(connection)

    async def _close_gently(self, connections: list[BoundedConnection]) -> None:
        try:
            while connections:
                await connections[0].close_gently()
                self.close_those([connections.pop(0)])
        finally:  # cancelled: those that are left are ended
            self.close_those(connections)
