"""A thread is started only where there is memory to start it.

A thread that cannot allocate ends before it has said that it runs, and ``Thread.start()`` waits for
that word for ever (CPython's issue gh-140746, open): in a worker, with the event loop. It happens
where a framework handles a MemoryError in a thread, since the error still holds the memory
(Django's asynchronous views, synchronous error handlers of FastAPI), and where another thread has
just taken the last of it.

Replacing the method is the least that helps: nothing else stands between a caller and the start,
and the wait has no deadline and does not hear of the thread's end. Where CPython raises instead of
waiting, the look at the room can go.

Covers every ``threading.Thread`` of this process, whoever starts it. Does not cover memory that
goes between the look and the start, nor limits other than RLIMIT_DATA.
"""

from __future__ import annotations

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


def make_room_for_threads(read: Callable[[], StatmSample]) -> None:
    """From now on have ``Thread.start()`` free what a MemoryError holds, and fail without room.

    It then raises MemoryError. *read* gives what this process holds. To be called once for each
    process: there is no hook for this, so the method is replaced.
    """
    start = threading.Thread.start

    def start_with_room(thread: threading.Thread) -> None:
        hear(sys.exception())
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        if limit != resource.RLIM_INFINITY and limit - read().data_bytes < NEEDED_BYTES:
            raise MemoryError("there is no room for another thread")
        start(thread)

    threading.Thread.start = start_with_room  # type: ignore[method-assign, assignment]
