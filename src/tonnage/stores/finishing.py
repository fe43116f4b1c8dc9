"""What writers hold when a server has answered its last request, and may end at once afterwards.

    await finish()              # at the end of an application's lifespan

Promises: returns within :data:`FLUSH_SECONDS` and :data:`CLOSE_SECONDS`. What was added is stored
then, and the writers go on: an application may begin again in the same process, as in tests. Where
that is not done in time, all stores are closed: what is left goes to the spool of its writer, or is
dropped, counted and logged.

For servers whose processes end by a signal, so that Python cannot close the stores. Under ``tonnage
run`` it does nothing: that closes them itself, within its own deadline.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tonnage.stores.writer.batchwriter import BatchWriter

#: How long writers have to store what they hold.
FLUSH_SECONDS: Final = 8.0
#: How long stores have to close, where that was not enough.
CLOSE_SECONDS: Final = 2.0


async def finish(
    flush_seconds: float = FLUSH_SECONDS, close_seconds: float = CLOSE_SECONDS
) -> None:
    """Have stored what all writers of this process hold; in any event loop.

    Args:
        flush_seconds: how long that may take.
        close_seconds: how long closing may take then.
    """
    # Nothing is loaded for it, either.
    if "tonnage.stores.writer.batchwriter" not in sys.modules:
        return
    from tonnage.stores.background import close, is_served
    from tonnage.stores.writer.batchwriter import living

    holding = [writer for writer in living() if writer.statistics().buffer_size]
    if not holding or is_served():
        return
    try:
        async with asyncio.timeout(flush_seconds):
            await _flush(holding)
    except TimeoutError:
        await asyncio.to_thread(close, close_seconds)


async def _flush(writers: list[BatchWriter]) -> None:
    await asyncio.gather(*(writer.flush() for writer in writers))
