"""The end of a writer, and how the time that it has for it is shared out.

Promises: it ends once, however many ask for it, and all of them wait until it has. Most of the time
is for delivering what is there; a part is kept for the sink, which has connections to let go of, so
that both together end in time.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

#: Kept for the sink: so long at most, and so large a part of all of it.
SINK_SECONDS: Final = 2.0
SINK_SHARE: Final = 0.25
#: However late it is, the sink is closed: one that does not wait for anybody needs no longer.
LEAST_SECONDS: Final = 0.05


class Deadline:
    """When a writer has to be closed. Pure.

    Args:
        seconds: from now on.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at_seconds = clock() + seconds
        self._sink_seconds = min(SINK_SECONDS, seconds * SINK_SHARE)

    @property
    def for_delivering_seconds(self) -> float:
        """How long records may be delivered from now on; 0: no longer."""
        return max(0.0, self._at_seconds - self._sink_seconds - self._clock())

    @property
    def for_sink_seconds(self) -> float:
        """How long the sink may take from now on."""
        return max(LEAST_SECONDS, self._at_seconds - self._clock())


class Closing:
    """The end of a writer: used in one event loop.

    It holds nothing of the writer before it is asked for, which so goes without the collector.
    """

    def __init__(self) -> None:
        self._delivering: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def end(
        self,
        deliver: Callable[[], Coroutine[Any, Any, None]],
        let_go: Callable[[Deadline], Coroutine[Any, Any, None]],
        seconds: float,
    ) -> None:
        """Return when the writer has ended: within *seconds* of the first who asked for it.

        If the call is cancelled nothing more is delivered, as if the time were up, for all who ask.

        Args:
            deliver: delivers what is there; cancelled when the time for it is up.
            let_go: ends all else, whether or not all is delivered.
            seconds: how long both may take.
        """
        if self._delivering is None or self._ending is None:
            self._delivering = asyncio.create_task(deliver())
            self._ending = asyncio.create_task(_end(self._delivering, let_go, Deadline(seconds)))
        try:
            await asyncio.shield(self._ending)
        except asyncio.CancelledError:
            self._delivering.cancel()
            await asyncio.shield(self._ending)
            raise


async def _end(
    delivering: asyncio.Task[None],
    let_go: Callable[[Deadline], Coroutine[Any, Any, None]],
    deadline: Deadline,
) -> None:
    try:
        with suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(deadline.for_delivering_seconds):
                await delivering
    finally:
        await let_go(deadline)
