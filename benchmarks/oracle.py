"""The yardstick: the same application behind a semaphore that knows what each request costs.

No real server can be this: the cost is read from the query string before the work begins, and
the number of slots was tuned by hand for this application in 512 MB (52 slots of 8 MB: the most
that never met the limit). ``/`` and ``/health`` pass free. It runs under uvicorn with the best
allocator settings known for this work (see ``benchmarks.peers``).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.app import app as plain_app

SLOT_MB = 8


class Slots:
    """A first-come, first-served semaphore from which several slots can be taken at once."""

    def __init__(self, free: int) -> None:
        self.total = self.free = free
        # Bounded by the number of open connections: each has at most one request waiting.
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, count: int) -> None:
        """Take *count* slots, waiting behind all who came before."""
        if not self._waiting and count <= self.free:
            self.free -= count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        await turn

    def release(self, count: int) -> None:
        """Give *count* slots back and let in whoever fits now, in order."""
        self.free += count
        while self._waiting and self._waiting[0][0] <= self.free:
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self.free -= wanted
                turn.set_result(None)


class Oracle:
    """ASGI middleware that makes ``/work`` wait until its slots are free."""

    def __init__(self, app: ASGIApp, slots: Slots) -> None:
        self.app = app
        self.slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything but ``/work`` straight on."""
        if scope["type"] != "http" or scope["path"] != "/work":
            await self.app(scope, receive, send)
            return
        count = slots_for(scope["query_string"], self.slots.total)
        await self.slots.acquire(count)
        try:
            await self.app(scope, receive, send)
        finally:
            self.slots.release(count)


def slots_for(query_string: bytes, most: int) -> int:
    """Return the slots that the request's ``mb`` needs, never more than there are."""
    mb = int(parse_qs(query_string.decode()).get("mb", [str(SLOT_MB)])[0])
    return min(most, -(-mb // SLOT_MB))


app = Oracle(plain_app, Slots(int(os.environ.get("ORACLE_SLOTS", "52"))))
