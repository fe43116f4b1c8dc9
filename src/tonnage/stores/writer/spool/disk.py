"""The thread in which a spool works with its files: one thing after the other.

So files need no locks, and no event loop ever waits for a disk. A daemon of its own and not one of
a pool, since Python ends pools before it calls what is registered for its end, and then records
that wait would never be written. Started by the first job, never by an import.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")


class Disk:
    """The thread; bounded by its users: a spool has a few jobs at most."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]
        self._jobs = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"tonnage-{name}", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., R], *given: object) -> Future[R]:
        """Have *function* called there, after all that was asked for before.

        After the end it is not called, and nobody should wait for it.
        """
        future: Future[R] = Future()
        self._jobs.put((future, function, given))
        return future

    async def run(self, function: Callable[..., R], *given: object) -> R:
        """Return what *function* returns there. It is called also if nobody waits any more."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(function, *given)))

    def end(self) -> None:
        """End the thread when all jobs are done."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, given = job
            try:
                result = function(*given)
            except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
                future.set_exception(error)
            else:
                future.set_result(result)
            del job, future, function, given
