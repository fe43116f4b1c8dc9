"""Sending a finished answer over ASGI, to an HTTP request or a WebSocket that asks to connect.

And saying that a response is left unfinished on purpose, which ASGI has no message for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tonnage.answer import Answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Whether the response of the request that this task serves was cut on purpose; whoever did has
#: said so in the log, and the server need not take it for an error.
was_cut: Final[ContextVar[bool]] = ContextVar("was_cut", default=False)

#: Whether the last 429 or 503 of the request that this task serves is Tonnage's own.
was_shed: Final[ContextVar[bool]] = ContextVar("was_shed", default=False)
_SHED: Final = (429, 503)

# "Try again later", in WebSocket's own terms (RFC 6455's registry).
_WS_TRY_AGAIN = 1013


async def respond(scope: Scope, receive: Receive, send: Send, answer: Answer) -> None:
    """Send *answer*. A body that may still be arriving is not read: the connection ends."""
    headers = answer.all_headers()
    if answer.status in _SHED:
        was_shed.set(True)
    if scope["type"] == "websocket":
        await _deny(scope, receive, send, answer.status, headers, answer.body)
        return
    # HTTP/2 knows no such header, and ends the stream alone.
    if has_body(scope) and scope.get("http_version", "1.1") < "2":
        headers.append((b"connection", b"close"))
    body = b"" if scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _deny(
    scope: Scope,
    receive: Receive,
    send: Send,
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    await receive()  # websocket.connect
    if "websocket.http.response" in scope.get("extensions", {}):
        kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": status, "headers": headers})
        await send({"type": f"{kind}.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": _WS_TRY_AGAIN})


def has_body(scope: Scope) -> bool:
    """Return whether the request announces a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def closing(send: Send) -> Send:
    """Return *send* with ``Connection: close`` on the response: for a worker that is draining."""

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
        await send(message)

    return send_and_close


_CLOSE = (b"connection", b"close")
