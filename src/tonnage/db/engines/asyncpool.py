"""SQLAlchemy's pool with bounds, for an event loop, to which its connections belong.

Promises: all that :mod:`tonnage.db.engines.boundedpool` does, without blocking the loop. A loop
that ends in order has its connections closed, also under a server that knows nothing of them. One
loop at a time: another that begins while the first runs and has connections is refused; after that,
it gets connections of its own.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.util import await_only, greenlet_spawn

from tonnage.db.engines.boundedpool import BoundedPool, Entry
from tonnage.db.pooling.upkeep import InLoop, until_loop_ends
from tonnage.db.pooling.waiters import TaskWaiter
from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tonnage.db.pooling.keeper import Keeper
    from tonnage.db.pooling.slots import Slots

#: How long a connection that is asked whether it lives may take to answer.
PING_SECONDS: Final = 5.0


class AsyncBoundedPool(BoundedPool):
    """The connections of one engine, for one event loop at a time."""

    _is_asyncio = True  # what SQLAlchemy goes by

    def __init__(self, creator: Any, keeper: Keeper, **given: Any) -> None:
        self._home: InLoop | None = None
        self._until_end: AsyncGenerator[None, None] | None = None
        super().__init__(creator, keeper, **given)

    def home(self) -> InLoop:
        """Return the event loop to which the connections belong."""
        home = self._home
        if home is None or home.loop.is_closed():
            home = self._home = InLoop()
        return home

    def begin_anew(self) -> None:
        """Forget what there was: it is the parent's; called in a forked child."""
        super().begin_anew()
        # They would close the parent's connections in the name of the child.
        self._parents += [self._home, self._until_end]
        self._home = self._until_end = None

    def _own_slots(self) -> Slots[Entry]:
        loop = asyncio.get_running_loop()
        home = self._home
        if home is not None and home.loop is loop:
            return self.slots
        if home is not None:
            if not home.loop.is_closed() and (self.slots.in_use or self.slots.idle):
                raise DatabaseError(
                    f"{self._keeper.name} has connections in another event loop, which has not"
                    " ended: make an engine for each, or dispose of it there first"
                )
            for _ in self.slots.take_out(lambda _: True):
                self._keeper.closed()  # it ended without closing them
            self.slots = self._new_slots()
        self._home = InLoop()
        self._is_looking = False
        self._until_end = until_loop_ends(weakref.ref(self), AsyncBoundedPool._close)
        # Begun, so that the loop knows of it, and closes it in the end.
        await_only(self._until_end.__anext__())
        return self.slots

    def _new_waiter(self) -> TaskWaiter:
        return TaskWaiter()

    def _ping(self, connection: Any) -> None:
        await_only(asyncio.wait_for(greenlet_spawn(super()._ping, connection), PING_SECONDS))

    async def _close(self) -> None:
        await greenlet_spawn(self.close_those, self.slots.take_out(lambda _: True))
