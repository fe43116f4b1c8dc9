"""A demonstration app: routes that hold, leak, stall and stream, for trying a memory limit.

Plain FastAPI. Each route does one thing a real backend does sooner or later, with its size in the
query string; README.md beside it has a command for each. Of Tonnage it knows one thing: where to
register its cache of pages, so that this gives way when memory is short.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Query, Request, WebSocket
from fastapi.responses import StreamingResponse

import tonnage

MIB = 2**20
PAGE_BYTES = 4096

Megabytes = Annotated[int, Query(ge=0, le=4096, description="MB to hold")]
Milliseconds = Annotated[int, Query(ge=0, le=60_000, description="how long to hold them")]
Seconds = Annotated[float, Query(ge=0, le=60)]

app = FastAPI(title="hello", summary="Holds, leaks, stalls and streams on request.")

leaked: list[bytearray] = []
"""What ``/leak`` keeps: bounded by nothing, since that is what a leak is."""


class Pages:
    """A cache of *most_bytes* at most, which gives up what was used longest ago."""

    name = "pages"

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._pages: OrderedDict[str, bytearray] = OrderedDict()
        self.used_bytes = 0

    def get(self, title: str) -> bytearray | None:
        """Return the page called *title* if it is kept."""
        if title in self._pages:
            self._pages.move_to_end(title)
        return self._pages.get(title)

    def put(self, title: str, page: bytearray) -> None:
        """Keep *page*, unless it is larger than all there is room for."""
        self.used_bytes += len(page) - len(self._pages.pop(title, b""))
        self._pages[title] = page
        self.shrink(self._most_bytes)

    def shrink(self, target_bytes: int) -> int:
        """Drop pages until *target_bytes* are left at most; return the bytes that this freed."""
        before = self.used_bytes
        while self.used_bytes > target_bytes:
            _, page = self._pages.popitem(last=False)
            self.used_bytes -= len(page)
        return before - self.used_bytes


pages = Pages(most_bytes=128 * MIB)
tonnage.register(pages)


@app.get("/")
async def hello() -> dict[str, str]:
    """Say hello."""
    return {"hello": "world"}


@app.get("/work")
async def work(mb: Megabytes = 8, ms: Milliseconds = 300) -> dict[str, int]:
    """Hold *mb* MB for *ms* milliseconds, as building a report or resizing a photo would."""
    block = touched(mb * MIB)
    await asyncio.sleep(ms / 1000)
    return {"held_mb": len(block) // MIB}


@app.get("/work-sync")
def work_sync(mb: Megabytes = 8, ms: Milliseconds = 300) -> dict[str, int]:
    """Do the same in a thread: FastAPI runs a route that is no coroutine in its pool."""
    block = touched(mb * MIB)
    time.sleep(ms / 1000)
    return {"held_mb": len(block) // MIB}


@app.get("/page/{title}")
async def page(
    title: str, kb: Annotated[int, Query(ge=0, le=65_536)] = 1024
) -> dict[str, str | int | bool]:
    """Make a page of *kb* KB, or take it from the cache."""
    found = pages.get(title)
    made = touched(kb * 1024) if found is None else found
    if found is None:
        pages.put(title, made)
    size = {"kb": len(made) // 1024, "cache_kb": pages.used_bytes // 1024}
    return {"title": title, "was_cached": found is not None, **size}


@app.get("/leak")
async def leak(kb: Annotated[int, Query(ge=0, le=65_536)] = 64) -> dict[str, int]:
    """Keep *kb* KB for ever."""
    leaked.append(touched(kb * 1024))
    return {"leaked_kb": sum(map(len, leaked)) // 1024}


@app.post("/leak/forget")
async def forget() -> dict[str, int]:
    """Let go of all that this worker leaked."""
    blocks = len(leaked)
    leaked.clear()
    return {"forgotten": blocks}


@app.post("/upload")
async def upload(request: Request) -> dict[str, int | str]:
    """Count and hash the body as it comes; no part of it is kept."""
    count, digest = 0, hashlib.sha256()
    async for chunk in request.stream():
        count += len(chunk)
        digest.update(chunk)
    return {"bytes": count, "sha256": digest.hexdigest()}


@app.get("/stuck")
async def stuck(seconds: Seconds = 5) -> dict[str, float]:
    """Stall the whole event loop, as one forgotten blocking call does."""
    time.sleep(seconds)  # noqa: ASYNC251 - the mistake is the demonstration
    return {"stuck_seconds": seconds}


@app.get("/stream")
async def stream(
    events: Annotated[int, Query(ge=1, le=1000)] = 10, every: Seconds = 0.5
) -> StreamingResponse:
    """Send server-sent events, one *every* so many seconds."""
    return StreamingResponse(ticks(events, every), media_type="text/event-stream")


@app.websocket("/ws")
async def echo(socket: WebSocket) -> None:
    """Send every message back."""
    await socket.accept()
    async for message in socket.iter_text():
        await socket.send_text(message)


async def ticks(events: int, every_seconds: float) -> AsyncIterator[str]:
    """Yield *events* numbered events."""
    for number in range(1, events + 1):
        yield f"data: {number}\n\n"
        if number < events:
            await asyncio.sleep(every_seconds)


def touched(size_bytes: int) -> bytearray:
    """Return a block whose every page was written: only then does the kernel charge for it."""
    block = bytearray(size_bytes)
    block[::PAGE_BYTES] = b"\x01" * len(range(0, size_bytes, PAGE_BYTES))
    return block
