"""Cancellation that a library has lost, heeded all the same.

redis-py waits for each of its writes with ``asyncio.wait_for``, which before Python 3.12 returns as
if nothing had happened where a task is cancelled at the very moment that the write is done
(python/cpython#86296). Whoever asks Redis in a loop looks here in each round, and ends then.
"""

from __future__ import annotations

import asyncio


class Heed:
    """The cancellations of the running task from here on; to be made in it."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        # Of before, as of a task that has chosen to go on.
        self._before = self._task.cancelling() if self._task is not None else 0

    @property
    def is_cancelled(self) -> bool:
        """Whether the task has been cancelled since, heard or not."""
        return self._task is not None and self._task.cancelling() > self._before

    def check(self) -> None:
        """Raise the cancellation that was lost.

        Raises:
            asyncio.CancelledError: the task has been cancelled since.
        """
        if self.is_cancelled:
            raise asyncio.CancelledError
