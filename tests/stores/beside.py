"""The loop beside requests, from a test: what it would do at once, it has done."""

from __future__ import annotations

import asyncio

from tonnage.stores.background import background

#: From a call in that loop to a task that it wakes, and to what that awaits: many times over.
STEPS = 50


async def settled() -> None:
    """Return when the loop beside requests has done what it could do without waiting."""
    for _ in range(STEPS):
        await background().run(asyncio.sleep(0))
