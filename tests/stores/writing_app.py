"""An application for any server: each request is a record in the file ``EVENTS_FILE``, by and by.

``limited`` is within the Tonnage middleware; ``lifelong`` has its writer end with its lifespan;
``hopeless`` fails as it starts; ``threaded`` is for WSGI. The writer waits for so long that nothing
is stored by itself.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from tonnage import BatchWriter, Tonnage
from tonnage.sinks import JsonlSink

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

events = BatchWriter("events", JsonlSink(os.environ["EVENTS_FILE"]), flush_seconds=3600)


async def simple(scope: Message, receive: Receive, send: Send) -> None:
    """Take a record with each request; begin and end without doing anything."""
    if scope["type"] == "lifespan":
        for what in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{what}.complete"})
    else:
        await events.add({"path": scope["path"]})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"taken"})


limited = Tonnage(simple)


async def lifelong(scope: Message, receive: Receive, send: Send) -> None:
    """Take records as long as the lifespan goes on."""
    if scope["type"] == "lifespan":
        await receive()
        async with events:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await simple(scope, receive, send)


async def hopeless(scope: Message, receive: Receive, send: Send) -> None:
    """Take a record, and fail before anything is served."""
    await events.add({"path": "startup"})
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def threaded(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Take a record with each request."""
    events.put({"path": environ["PATH_INFO"]})
    start_response("200 OK", [])
    return [b"taken"]
