"""Clients that post a photo, each again as soon as it is answered, and what became of each photo.

A client that is refused comes back when the answer's ``Retry-After`` says. Every photo is counted
once: done, refused (503 with that header), failed (any other answer), or broken (no whole answer).
"""

from __future__ import annotations

import asyncio
import time
from array import array
from dataclasses import dataclass, field

from benchmarks.load import field_of

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.5
"""How long a client waits after what is neither done nor refused in form."""


@dataclass(slots=True)
class Photos:
    """What became of the photos; statuses of the failed ones, by their number."""

    done: int = 0
    refused: int = 0
    broken: int = 0
    failed: dict[int, int] = field(default_factory=dict)
    seconds: array[float] = field(default_factory=lambda: array("d"))

    def row(self) -> list[str]:
        """Return done, refused, and all the others."""
        return [str(self.done), str(self.refused), str(self.broken + sum(self.failed.values()))]


async def post_all(port: int, path: str, photo: bytes, *, clients: int, seconds: float) -> Photos:
    """Have *clients* post *photo* to *path* for *seconds*; wait for those under way then."""
    photos = Photos()
    request = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {len(photo)}\r\n\r\n"
    ).encode() + photo
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(_client(port, request, until, photos))
    return photos


async def _client(port: int, request: bytes, until: float, photos: Photos) -> None:
    while (began := time.monotonic()) < until:
        pause_seconds = PAUSE_SECONDS
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, retry_after = await _post(port, request)
        except (OSError, EOFError, ValueError):
            photos.broken += 1
        else:
            if status == 200:
                photos.done += 1
                photos.seconds.append(time.monotonic() - began)
                continue
            if status == 503 and retry_after:
                photos.refused += 1
                pause_seconds = float(retry_after)
            else:
                photos.failed[status] = photos.failed.get(status, 0) + 1
        await asyncio.sleep(min(pause_seconds, max(0.0, until - time.monotonic())))


async def _post(port: int, request: bytes) -> tuple[int, bytes]:
    """Return the answer's status and its ``Retry-After``.

    Raises:
        OSError, EOFError, ValueError: there is no connection, or no whole answer.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(field_of(head, b"content-length") or 0))
        return int(head[9:12]), field_of(head, b"retry-after")
    finally:
        writer.close()
