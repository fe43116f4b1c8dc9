"""What binds a pool to an event loop: who waits in one of its tasks, and its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tonnage.db.pooling.waiters import TaskWaiter

if TYPE_CHECKING:
    import weakref
    from collections.abc import AsyncGenerator

    from tonnage.db.pooling.slots import Grant
    from tonnage.db.pools.tasks import AsyncPool


class LoopWaiter(TaskWaiter):
    """Waits in a task."""

    async def granted_in(self, seconds: float | None) -> Grant[Any] | None:
        """Return the grant, or None where there is none in *seconds*."""
        await asyncio.wait([self._future], timeout=seconds)
        return self.granted() if self._found is not None else None


async def until_loop_ends(reference: weakref.ref[AsyncPool]) -> AsyncGenerator[None, None]:
    """Close a pool's connections when its event loop closes its asynchronous generators.

    That is the last that a loop does in an orderly end (:func:`asyncio.run`, every server, pytest's
    plugins), after it has cancelled its tasks; there is no other word for it.
    """
    try:
        yield
    finally:
        pool = reference()
        if pool is not None:
            await pool.close()
