"""The one connection of a sink: made when it is needed, by one at a time, and again when it broke.

    self._connection = OnlyOne(connect, close, drop)

    async with self._connection.taken() as connection:
        ...

Promises: there is one at most. Whatever error is let out of the block, a cancellation included, the
connection is dropped, since nobody knows in which state it is; but not for RecordsRejectedError.
A process that was forked leaves the connection of its parent alone and makes its own.

Does not try again, and has no deadlines: those who call it have.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

from tonnage.errors import ConfigError, RecordsRejectedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import ModuleType

C = TypeVar("C")


class OnlyOne(Generic[C]):
    """A connection, or what it takes to make one.

    Args:
        connect: makes it.
        close: ends it in order.
        drop: ends it at once, without waiting for the other side.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[C]],
        close: Callable[[C], Awaitable[object]],
        drop: Callable[[C], Awaitable[object]],
    ) -> None:
        self._connect = connect
        self._close = close
        self._drop = drop
        self._lock = asyncio.Lock()
        self._pid = os.getpid()
        self._connection: C | None = None
        # Kept, never closed: closing it would say good-bye in the name of the parent.
        self._parents: list[C] = []

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[C]:
        """Have the connection to oneself; it is made if there is none.

        Raises:
            Exception: what making it has raised.
        """
        async with self._own_lock():
            connection = self._connection
            if connection is None:
                connection = self._connection = await self._connect()
            try:
                yield connection
            except RecordsRejectedError:
                raise
            except BaseException:
                self._connection = None
                # That it cannot be ended well is why it is dropped.
                with suppress(Exception):
                    await self._drop(connection)
                raise

    async def close(self) -> None:
        """End the connection, if there is one; the next who takes it makes another."""
        async with self._own_lock():
            connection, self._connection = self._connection, None
            if connection is not None:
                await self._close(connection)

    def _own_lock(self) -> asyncio.Lock:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = asyncio.Lock()
            if self._connection is not None:
                self._parents.append(self._connection)
                self._connection = None
        return self._lock


def needed(module: str, extra: str) -> ModuleType:
    """Return *module* of a package that comes with *extra*.

    It is loaded where a sink is made, which may be before workers are forked: then they share it.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{module.partition('.')[0]} is needed for this: pip install 'tonnage[{extra}]'"
        ) from error
