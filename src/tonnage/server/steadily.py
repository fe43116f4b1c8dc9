"""What goes on in a worker's event loop for as long as the worker does, whatever memory there is.

A request's thread may take the last of it at any moment, and any allocation of the loop's fails
then: that of a heartbeat, or of a timer. The thread's own next one fails as well, and gives back
what it took; until then there is nothing to do but to wait, without allocating.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# The thread needs the interpreter to fail; the loop does nothing else meanwhile.
_WAIT_SECONDS: Final = 0.001


async def steadily(step: Callable[[], Coroutine[Any, Any, bool]], every_seconds: float) -> None:
    """Call *step* again and again until it returns True; one that lacks memory is tried again."""
    while True:
        try:
            if await step():
                return
            await asyncio.sleep(every_seconds)
        except MemoryError:
            time.sleep(_WAIT_SECONDS)  # noqa: ASYNC251 - a timer of the loop's would need memory
