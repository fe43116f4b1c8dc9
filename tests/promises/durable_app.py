"""An application that answers when a record is on disk; where to, its environment says.

=====================  =============================================================
``EVENTS_URL``         PostgreSQL, with a table ``events`` of ``id``, ``key``, ``text``; or Redis
``EVENTS_TEXT_BYTES``  how long each record's text is
=====================  =============================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tonnage import BatchWriter
from tonnage.errors import SpoolError, WriterFullError
from tonnage.sinks import PostgresSink, RedisStreamSink, Sink

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TEXT = "x" * int(os.environ.get("EVENTS_TEXT_BYTES", "200"))


def _sink(url: str) -> Sink:
    if url.startswith("postgres"):
        return PostgresSink(url, "events", id_column="id")
    return RedisStreamSink("events", url=url, max_length=10_000_000, id_column="id")


writer = BatchWriter(
    "events",
    _sink(os.environ["EVENTS_URL"]),
    durable=True,
    flush_seconds="200ms",
    write_seconds=5,
    spool_bytes="64M",
)


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Take ``POST /KEY``: 202 when it is on disk, 507 when it is not; ``GET`` says how it goes."""
    if scope["type"] != "http":
        return
    status, body = 202, b""
    if scope["method"] == "POST":
        try:
            await writer.add({"key": int(scope["path"][1:]), "text": TEXT})
        except (WriterFullError, SpoolError) as error:
            status, body = 507, str(error).encode()
    else:
        status, body = 200, json.dumps(writer.statistics().as_json()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
