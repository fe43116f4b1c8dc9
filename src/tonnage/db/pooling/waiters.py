"""Waiting for a connection: in a thread, and in a task of an event loop.

Promises: as :class:`tonnage.db.pooling.slots.Waiter` has it, a waiter is woken from any thread, and
that blocks nobody. It waits once, for a time that is given. Bounded by
:class:`~tonnage.db.pooling.slots.Slots`.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tonnage.db.pooling.slots import Grant


class ThreadWaiter:
    """Waits in a thread."""

    def __init__(self) -> None:
        self._is_woken = threading.Event()
        self._found: Grant[Any] | BaseException | None = None

    def wake(self, found: Grant[Any] | BaseException) -> None:
        """Hear of a grant, or of an error instead."""
        self._found = found
        self._is_woken.set()

    def wait(self, seconds: float | None) -> Grant[Any] | None:
        """Return the grant, or None where there is none in *seconds*.

        Raises:
            Exception: what it was woken with.
        """
        return self.granted() if self._is_woken.wait(seconds) else None

    def granted(self) -> Grant[Any]:
        """Return the grant that it was woken with; raises what it was woken with instead."""
        found = self._found
        if isinstance(found, Grant):
            return found
        raise found or RuntimeError("nobody has woken this one")


class TaskWaiter(ThreadWaiter):
    """Waits in a task."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()
        self._found = None

    def wake(self, found: Grant[Any] | BaseException) -> None:
        """Hear of a grant, or of an error instead."""
        self._found = found
        if asyncio._get_running_loop() is self._loop:
            self._wake()
        else:
            self._loop.call_soon_threadsafe(self._wake)

    def wait(self, seconds: float | None) -> Grant[Any] | None:
        """Do the same in one of the greenlets that SQLAlchemy makes for a task, which waits."""
        from sqlalchemy.util import await_only

        return await_only(self.granted_in(seconds))

    async def granted_in(self, seconds: float | None) -> Grant[Any] | None:
        """Return the grant, or None where there is none in *seconds*.

        Raises:
            Exception: what it was woken with.
        """
        # Not wait_for: it would cancel what the waker sets.
        await asyncio.wait([self._future], timeout=seconds)
        return self.granted() if self._found is not None else None

    def _wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)
