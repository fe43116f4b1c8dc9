"""A task that is to run as long as its writer: what ends it before is said, and it begins anew.

Promises: nothing but :meth:`Tended.stop` ends it for good: no error, no cancellation by others, and
not what would end the process, which in this loop would end other writers' tasks. Each time the log
has a line, with the traceback, and it rests a while, so that it cannot go round in circles.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tonnage.stores.writer.notices import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

REST_SECONDS: Final = 1.0


class Tended:
    """The task; begins at once, in the running loop.

    Args:
        name: the writer's.
        run: what it does; never returns.
        rest_seconds: how long it rests before it begins anew.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[], Coroutine[object, object, None]],
        *,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._name = name
        self._run = run
        self._rest_seconds = rest_seconds
        self._is_stopped = False
        self._task = asyncio.create_task(self._tend(), name=f"writer {name}")

    async def stop(self, seconds: float) -> None:
        """End it; return when it has ended, or after *seconds*."""
        self._is_stopped = True
        self._task.cancel()
        await asyncio.wait([self._task], timeout=seconds)

    async def _tend(self) -> None:
        while not self._is_stopped:
            try:
                await self._run()
                self._say(None)
            except GeneratorExit:
                # The loop itself is gone.
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is
                self._say(error)
            if not self._is_stopped:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(self._rest_seconds)

    def _say(self, error: BaseException | None) -> None:
        if not self._is_stopped:
            logger.error(
                "writer %s: its task has ended, and begins anew", self._name, exc_info=error
            )
