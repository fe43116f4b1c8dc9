"""The small applications of the other promises, with isolated jobs beside: ``/job?mb=100&ms=50``.

And ``POST /small``: the posted picture, no larger than 800 x 800. What goes wrong is let out, and
the server answers it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from tests.promises import apps

from tonnage import images, isolated

JOB_MEMORY = "130M"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    if scope["type"] != "http" or scope["path"] not in ("/job", "/small"):
        await apps.app(scope, receive, send)
    elif scope["path"] == "/job":
        query = parse_qs(scope["query_string"].decode())
        held = await hold(int(query["mb"][0]), float(query["ms"][0]) / 1000)
        await _answer(send, str(held).encode())
    else:
        picture = await images.resize(await _body(receive))
        await _answer(send, picture.content)


@isolated(memory=JOB_MEMORY, timeout=20)
def hold(mb: int, seconds: float) -> int:
    """Touch *mb* MB and hold them for *seconds*."""
    block = bytearray(mb * apps.MIB)
    block[:: apps.PAGE_BYTES] = b"\x01" * (len(block) // apps.PAGE_BYTES)
    time.sleep(seconds)
    return len(block) // apps.MIB


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
