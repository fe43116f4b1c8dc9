"""Memory asked for by code that SQLAlchemy runs synchronously, wherever that is.

Promises: never blocks the thread of an event loop: in SQLAlchemy's greenlets it waits as a
coroutine does. Synchronous code that an application runs in its event loop itself asks for nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.util.concurrency import await_only, in_greenlet

from tonnage.governor.reservations import reserved

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def held(size_bytes: int) -> Iterator[None]:
    """Keep *size_bytes* free for what runs inside.

    Raises:
        MemoryShortError: on entering, when so much did not come free in time.
    """
    wanted = reserved(size_bytes)
    if in_greenlet():
        await_only(wanted.__aenter__())
    elif asyncio._get_running_loop() is None:
        wanted.__enter__()
    else:
        yield
        return
    try:
        yield
    finally:
        wanted.__exit__(None, None, None)
