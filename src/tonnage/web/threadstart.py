"""A thread is started only where there is memory to start it, and who starts it does not hang.

A thread that cannot allocate ends before it has said that it runs, and ``Thread.start()`` waits for
that word for ever (CPython's issue gh-140746, open): in a worker, with the event loop. It happens
where a framework handles a MemoryError in a thread, since the error still holds the memory
(Django's asynchronous views, synchronous error handlers of FastAPI), and where another thread has
just taken the last of it.

So there is a look at the room before, and as another thread may take it just then, a wait that
ends with the thread. Replacing the method is the least that helps: nothing else stands between a
caller and the start. Where CPython raises instead of waiting, both can go.

Covers every ``threading.Thread`` of this process, whoever starts it. Does not look for room under
limits other than RLIMIT_DATA; the wait ends under those too.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from typing import TYPE_CHECKING, Final

from tonnage.units import MIB
from tonnage.web.witness import hear

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.host.processes import StatmSample

# A stack, an arena of the small-object allocator, and what malloc sets up for a new thread.
NEEDED_BYTES: Final = 3 * MIB
# How often who waits looks whether the thread is still there; most begin within 0.1 ms.
LOOK_SECONDS: Final = 0.1
# A thread of a library's own, which Python does not know, may hide that this one has ended.
MOST_SECONDS: Final = 5.0


def make_room_for_threads(
    read: Callable[[], StatmSample],
    when_started: Callable[[], object] = lambda: None,
    *,
    most_seconds: float = MOST_SECONDS,
) -> None:
    """From now on have ``Thread.start()`` free what a MemoryError holds, and fail without room.

    It then raises MemoryError. To be called once for each process: there is no hook for this, so
    the method is replaced.

    Args:
        read: what this process holds now.
        when_started: called in the thread that has started another, where there is a limit.
        most_seconds: how long a thread may take to begin.
    """
    start = threading.Thread.start

    def start_with_room(thread: threading.Thread) -> None:
        hear(sys.exception())
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        is_limited = limit != resource.RLIM_INFINITY
        if is_limited and limit - read().data_bytes < NEEDED_BYTES:
            raise MemoryError("there is no room for another thread")
        if thread.ident is None:
            thread._started = _Begun(most_seconds)  # type: ignore[attr-defined]
        try:
            start(thread)
        except MemoryError:
            # Or it would be listed for good, among those that are about to begin.
            threading._limbo.pop(thread, None)  # type: ignore[attr-defined]
            raise
        if is_limited:
            when_started()

    threading.Thread.start = start_with_room  # type: ignore[method-assign, assignment]


class _Begun(threading.Event):
    """Set by a thread when it begins; the wait for that ends with the thread as well."""

    def __init__(self, most_seconds: float) -> None:
        super().__init__()
        self._most_seconds = most_seconds

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None:
            return super().wait(timeout)
        for _ in range(round(self._most_seconds / LOOK_SECONDS)):
            if super().wait(LOOK_SECONDS):
                return True
            # It may have begun, and be done, since.
            if not _unknown_threads() and not self.is_set():
                break
        raise MemoryError("a new thread found no memory to begin with")


def _unknown_threads() -> set[int]:
    """Return the threads of this process that Python does not know, or not yet.

    One that is about to begin is among them. Looked at only where one is late: each request may
    start a thread.
    """
    there = {int(name) for name in os.listdir("/proc/self/task")}
    known = {thread.native_id for thread in threading.enumerate()}
    return there - known - {os.getpid(), threading.get_native_id()}
