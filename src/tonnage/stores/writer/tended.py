"""A task that is to run as long as its writer: what ends it before is said, and it begins anew.

Promises: nothing but :meth:`Tended.stop` ends it for good: no error, no cancellation by others, and
not what would end the process, which in this loop would end other writers' tasks. It rests before
it begins anew, twice as long each time that it has not lasted, so that it cannot go round in
circles. The log has a line for each reason, and no other one while that stays the same; with the
traceback, but where there was no memory, which is no mistake of anybody's here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tonnage.stores.writer.notices import logger, told

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

REST_SECONDS: Final = 1.0
#: It rests for no longer; and who has run for so long has lasted.
LONGEST_REST_SECONDS: Final = 15.0


class Tended:
    """The task; begins at once, in the running loop.

    Args:
        name: the writer's.
        run: what it does; never returns.
        rest_seconds: how long it rests before it begins anew, the first time.
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
        # Why it has ended last, if it has not lasted since.
        self._reason = ""
        self._task = asyncio.create_task(self._tend(), name=f"writer {name}")

    async def stop(self, seconds: float) -> None:
        """End it; return when it has ended, or after *seconds*."""
        self._is_stopped = True
        self._task.cancel()
        await asyncio.wait([self._task], timeout=seconds)

    async def _tend(self) -> None:
        loop, rest_seconds = asyncio.get_running_loop(), self._rest_seconds
        while not self._is_stopped:
            begun_seconds = loop.time()
            ended_by: BaseException | None = None
            try:
                await self._run()
            except GeneratorExit:
                # The loop itself is gone.
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is
                ended_by = error
            if loop.time() - begun_seconds >= LONGEST_REST_SECONDS:
                rest_seconds, self._reason = self._rest_seconds, ""
            self._say(ended_by)
            # It holds what it came through.
            ended_by = None
            if not self._is_stopped:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(rest_seconds)
            rest_seconds = min(2 * rest_seconds, LONGEST_REST_SECONDS)

    def _say(self, error: BaseException | None) -> None:
        reason = told(error) if error is not None else "it has returned"
        if self._is_stopped or reason == self._reason:
            return
        self._reason = reason
        if isinstance(error, MemoryError):
            text = "writer %s: there is no memory for its task just now, which begins anew: %s"
            logger.warning(text, self._name, reason)
        else:
            text = "writer %s: its task has ended, and begins anew: %s"
            logger.error(text, self._name, reason, exc_info=error)
