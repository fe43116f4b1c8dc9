"""Requests to an ASGI application without a server: what is sent, what is got, and when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.web.virtual import run

from tonnage.web.respond import ASGIApp, Message, Receive, Scope, Send

TEXT = (b"content-type", b"text/plain")


@dataclass
class Reply:
    """What a client got."""

    messages: list[Message] = field(default_factory=list)
    #: How many parts of the body were asked for.
    asked: int = 0
    #: When each message came, in the loop's seconds since the request.
    times: list[float] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def start(self) -> Message:
        """The one start of a response."""
        (start,) = [each for each in self.messages if each["type"].endswith("response.start")]
        return start

    @property
    def status(self) -> int:
        """The status."""
        return int(self.start["status"])

    @property
    def headers(self) -> dict[str, str]:
        """The headers, by their names."""
        return {name.decode(): value.decode() for name, value in self.start["headers"]}

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(each.get("body", b"") for each in self.messages)

    @property
    def types(self) -> list[str]:
        """What was sent, by the last words of its type."""
        return [each["type"].removeprefix("http.response.") for each in self.messages]

    @property
    def is_complete(self) -> bool:
        """Whether the server knows that the response is over."""
        bodies = [each for each in self.messages if each["type"].endswith("response.body")]
        return bool(bodies) and not bodies[-1].get("more_body", False)

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def request(target: str = "GET /", headers: Mapping[str, str] | None = None, **scope: Any) -> Scope:
    """Return the scope of a request, such as of ``POST /photos``."""
    method, path = target.split(" ", 1)
    given = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "scheme": "http",
        "client": ("192.0.2.1", 4711),
        "headers": given,
        "extensions": {},
        **scope,
    }


async def talk(
    app: ASGIApp, scope: Scope, parts: Iterable[bytes] = (), *, gone_after: float | None = None
) -> Reply:
    """Send a request whose body has these *parts*; the client goes *gone_after* seconds."""
    loop = asyncio.get_running_loop()
    reply, left, begun = Reply(), [*parts], loop.time()

    async def receive() -> Message:
        if scope["type"] == "websocket":
            return {"type": "websocket.connect"}
        reply.asked += 1
        if left or reply.asked == 1:
            body = left.pop(0) if left else b""
            return {"type": "http.request", "body": body, "more_body": bool(left)}
        await asyncio.sleep(10_000 if gone_after is None else gone_after)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        reply.messages.append(message)
        reply.times.append(loop.time() - begun)

    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - as a server does
        reply.error = error
    return reply


def ask(
    app: ASGIApp,
    target: str = "GET /",
    headers: Mapping[str, str] | None = None,
    parts: Iterable[bytes] = (),
    **scope: Any,
) -> Reply:
    """Send one request on a loop of its own, whose time is virtual."""
    return run(talk(app, request(target, headers, **scope), parts))


async def read_all(receive: Receive) -> bytes:
    """Return a whole body, as an application reads it."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def say(
    send: Send,
    body: bytes = b"done",
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (TEXT,),
) -> None:
    """Answer in one piece."""
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    await send({"type": "http.response.body", "body": body})


async def stream(
    send: Send,
    *pieces: bytes,
    wait_seconds: float = 0.0,
    headers: Iterable[tuple[bytes, bytes]] = (TEXT,),
) -> None:
    """Answer in pieces, waiting before each."""
    await send({"type": "http.response.start", "status": 200, "headers": [*headers]})
    for piece in pieces:
        await asyncio.sleep(wait_seconds)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def length(count: int) -> tuple[bytes, bytes]:
    """Return the header that announces *count* bytes."""
    return b"content-length", str(count).encode()


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer."""
    await read_all(receive)
    await say(send)
