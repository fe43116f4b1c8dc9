"""A pool of threads that goes on with those it has where no other can be started.

There may be no memory for one, or the system allows no more (``pids.max``).

``ThreadPoolExecutor`` puts work into its queue and starts a thread for it afterwards. Where that
fails, whoever hands the work in is told so, though another thread does it later: a request is
answered with an error, and done all the same.

Promises: work that is refused is never done; it is refused only where there is no thread at all.
Does not start fewer threads than it may: where there is room, nothing is different.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


class FrugalThreadPool(ThreadPoolExecutor):
    """Bounded as ``ThreadPoolExecutor`` is: by *max_workers*."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have *fn* called in a thread.

        Raises:
            MemoryError: there is no thread yet, and no memory to start one; *fn* is not called.
            RuntimeError: the same, where the system allows none; or the pool is shut down.
        """
        if not self._threads and not self._shutdown:
            with self._shutdown_lock:
                # The first one, before there is anything that it could do.
                super()._adjust_thread_count()
        return super().submit(fn, *args, **kwargs)

    def _adjust_thread_count(self) -> None:
        # Who waits in the queue is served by those that there are.
        with suppress(MemoryError, RuntimeError):
            super()._adjust_thread_count()
