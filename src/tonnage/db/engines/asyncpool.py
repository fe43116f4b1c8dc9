"""SQLAlchemy's pool with bounds, for an event loop, to which its connections belong.

Promises: all that :mod:`tonnage.db.engines.boundedpool` does, without blocking the loop. A loop
that ends in order has its connections closed, also under a server that knows nothing of them. One
loop at a time: another that begins while the first runs and has connections is refused; after that,
it gets connections of its own.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.util import await_only, greenlet_spawn

from tonnage.db.engines.boundedpool import BoundedPool, Entry
from tonnage.db.pooling.kept import LoopPool
from tonnage.db.pooling.upkeep import InLoop
from tonnage.db.pooling.waiters import TaskWaiter

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tonnage.db")

#: How long a connection that is asked whether it lives may take to answer.
PING_SECONDS: Final = 5.0


class InGreenlets(InLoop):
    """For what uses connections as if it blocked: in one of SQLAlchemy's greenlets it waits."""

    def __init__(self) -> None:
        super().__init__()
        # The loop itself holds tasks weakly. As many as there are reasons to look.
        self._running: set[asyncio.Task[Any]] = set()

    def run(self, function: Callable[[], object]) -> None:
        """See :class:`~tonnage.db.pooling.upkeep.Home`; from any thread."""
        super().run(lambda: self._begin(function))

    def _begin(self, function: Callable[[], object]) -> None:
        # Not by way of the loop's factory, which would have it belong to a request.
        task = asyncio.Task(greenlet_spawn(function), loop=self.loop, context=Context())
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("connections could not be looked after", exc_info=error)


class AsyncBoundedPool(LoopPool[Entry], BoundedPool):
    """The connections of one engine, for one event loop at a time."""

    _is_asyncio = True  # what SQLAlchemy goes by
    _home: InLoop | None = None
    _waiter = TaskWaiter

    async def close(self) -> None:
        """Close the connections that rest."""
        await greenlet_spawn(self.close_those, self.slots.take_out())

    def _new_home(self) -> InLoop:
        return InGreenlets()

    def _do_get(self) -> Entry:
        self._come_home()
        return super()._do_get()

    def _ping(self, connection: Any) -> None:
        await_only(asyncio.wait_for(greenlet_spawn(super()._ping, connection), PING_SECONDS))
