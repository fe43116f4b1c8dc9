"""Whatever a response can be, in plain ASGI: bare, and behind all limits of the path.

Everything that the server offers (early hints, trailers, sending files itself) is used where the
scope says that it is there. ``/gone`` streams until its client leaves, which ``/left`` tells of.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tonnage.web.path.middleware import Tonnage

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ORIGIN_VARIABLE = "TEST_ORIGIN"
TEXT = (b"content-type", b"text/plain")
PIECE = b"0123456789abcdef" * 4096

#: All that there is, and nothing of it in the way; under the names that the server's options have.
LIMITS: dict[str, Any] = {
    "max_body": "1M",
    "max_upload": "2M",
    "max_response": "4M",
    "timeout": "2s",
    "rate_limit": "100000/1h",
    "compress": True,
    "decompress": True,
    "cors_origins": [os.environ.get(ORIGIN_VARIABLE, "https://shop.example")],
    "remove_headers": ["x-powered-by"],
}
ROUTES: dict[str, Any] = {
    "GET /endless": {"stream": True},
    "GET /gone": {"stream": True},
    "GET /scarce": {"rate_limit": "2/1h"},
}

_left = 0


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    if scope["type"] == "lifespan":
        return await _live(receive, send)
    if scope["type"] == "websocket":
        return await _echo(scope, receive, send)
    await _ROUTES[scope["path"]](scope, receive, send)
    return None


limited = Tonnage(bare, routes=ROUTES, **LIMITS)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send every message back; close with 4001 when told to, and refuse who asks for it."""
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/ws/refused":
        return await send({"type": "websocket.close", "code": 4003})
    offered = scope.get("subprotocols") or [None]
    await send(
        {"type": "websocket.accept", "subprotocol": offered[0], "headers": [(b"x-room", b"7")]}
    )
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "close":
            return await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
        await send({**message, "type": "websocket.send"})
    return None


async def _start(send: Send, status: int = 200, *headers: tuple[bytes, bytes], **more: Any) -> None:
    given = {"type": "http.response.start", "status": status, "headers": [*headers], **more}
    await send(given)


async def _body(send: Send, body: bytes = b"", *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _plain(scope: Scope, receive: Receive, send: Send) -> None:
    cookies = ((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2; Path=/"))
    await _start(send, 200, TEXT, (b"content-length", b"5"), *cookies, (b"x-note", b"\xe9"))
    await _body(send, b"hello")


async def _unsized(scope: Scope, receive: Receive, send: Send) -> None:
    await _start(send, 200, TEXT)
    await _body(send, b"of some length")


async def _download(scope: Scope, receive: Receive, send: Send) -> None:
    await _start(send, 200, (b"content-length", str(48 * len(PIECE)).encode()))
    for number in range(48):
        await _body(send, PIECE, more=number < 47)


async def _endless(scope: Scope, receive: Receive, send: Send) -> None:
    """Send more than a response may have."""
    await _start(send, 200, TEXT)
    for _ in range(96):
        await _body(send, PIECE, more=True)
    await _body(send)


async def _events(scope: Scope, receive: Receive, send: Send) -> None:
    await _start(send, 200, (b"content-type", b"text/event-stream"))
    for number in range(5):
        await _body(send, b"id: %d\ndata: event %d\n\n" % (number, number), more=True)
        await asyncio.sleep(0.02)
    await _body(send)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    status = int(scope["path"].strip("/"))
    await _start(send, status, (b"etag", b'"1"'), (b"x-powered", b"by"))
    await _body(send)


async def _hinted(scope: Scope, receive: Receive, send: Send) -> None:
    if "http.response.early_hint" in scope.get("extensions", {}):
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    await _plain(scope, receive, send)


async def _trailed(scope: Scope, receive: Receive, send: Send) -> None:
    if "http.response.trailers" not in scope.get("extensions", {}):
        return await _unsized(scope, receive, send)
    await _start(send, 200, TEXT, (b"trailer", b"x-sum"), trailers=True)
    await _body(send, b"with a trailer")
    trailer = {"headers": [(b"x-sum", b"12")], "more_trailers": False}
    return await send({"type": "http.response.trailers", **trailer})


async def _file(scope: Scope, receive: Receive, send: Send) -> None:
    if "http.response.pathsend" not in scope.get("extensions", {}):
        return await _unsized(scope, receive, send)
    await _start(send, 200, TEXT)
    return await send({"type": "http.response.pathsend", "path": __file__})


async def _count(scope: Scope, receive: Receive, send: Send) -> None:
    """Say what came, however it came in parts."""
    size, digest, more = 0, hashlib.sha256(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        digest.update(piece)
    answer = f"{size} {digest.hexdigest()}".encode()
    await _start(send, 200, TEXT, (b"content-length", str(len(answer)).encode()))
    await _body(send, answer)


async def _unread(scope: Scope, receive: Receive, send: Send) -> None:
    await _plain(scope, receive, send)


async def _gone(scope: Scope, receive: Receive, send: Send) -> None:
    global _left
    await _start(send, 200, TEXT)
    await _body(send, b"still here\n", more=True)
    while (await receive())["type"] != "http.disconnect":
        pass
    _left += 1


async def _tell_left(scope: Scope, receive: Receive, send: Send) -> None:
    await _start(send, 200, TEXT)
    await _body(send, b"%d left" % _left)


async def _fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("as it is meant to")


async def _breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
    await _start(send, 200, TEXT)
    await _body(send, b"the first part", more=True)
    raise ValueError("as it is meant to")


async def _sleeps(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(30)


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    await _start(send, 200, TEXT)
    await _body(send, b"all work and no play " * 500)


_ROUTES: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
    "/plain": _plain,
    "/scarce": _plain,
    "/unsized": _unsized,
    "/download": _download,
    "/endless": _endless,
    "/too-long": _endless,
    "/events": _events,
    "/204": _nothing,
    "/205": _nothing,
    "/304": _nothing,
    "/hinted": _hinted,
    "/trailed": _trailed,
    "/file": _file,
    "/count": _count,
    "/unread": _unread,
    "/gone": _gone,
    "/left": _tell_left,
    "/fails": _fails,
    "/breaks-off": _breaks_off,
    "/sleeps": _sleeps,
    "/page": _page,
}
