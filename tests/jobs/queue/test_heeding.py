"""A cancellation that comes at the moment at which a write is done."""

from __future__ import annotations

import asyncio

from tonnage.jobs.queue.heeding import Heed


async def test_a_cancellation_that_wait_for_has_lost_is_raised() -> None:
    """As redis-py waits for its writes; from Python 3.12 on it is not lost."""
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask() -> None:
        heed = Heed()
        await asyncio.wait_for(written, 5)
        heed.check()

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    written.set_result(None)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()


async def test_what_was_cancelled_before_does_not_count() -> None:
    """Whoever has gone on after that may ask Redis."""

    async def go_on() -> bool:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            heed = Heed()
        heed.check()
        return heed.is_cancelled

    task = asyncio.create_task(go_on())
    await asyncio.sleep(0)
    task.cancel()
    assert await task is False
