"""Whatever an application sends within the limits, a server gets, as if there were none of them.

Made up: statuses, headers, pieces of any size, hints before and trailers behind. With real servers,
and bytes instead of messages, that is ``tests/servers``.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.web.path.talk import ask

from tonnage.web.path.middleware import Tonnage
from tonnage.web.respond import Message, Receive, Scope, Send

LIMITS: dict[str, Any] = {
    "max_body": "1K",
    "max_upload": "2K",
    "max_response": "1K",
    "timeout": "1s",
    "rate_limit": "1000000/1h",
    "compress": True,
    "decompress": True,
    "cors_origins": ["https://shop.example"],
    "remove_headers": ["x-powered-by"],
}
_ADDED = (b"ratelimit", b"ratelimit-policy", b"vary")

names = st.sampled_from([b"content-type", b"set-cookie", b"etag", b"x-a", b"X-B", b"cache-control"])
values = st.sampled_from([b"text/plain", b"text/event-stream", b"image/png", b"a=1", b"", b"\xe9"])
pieces = st.lists(st.binary(max_size=100), max_size=8)
before = st.lists(
    st.just({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}), max_size=2
)


@st.composite
def responses(draw: st.DrawFn) -> list[Message]:
    """Return the messages of a whole response."""
    body = draw(pieces)
    headers = draw(st.lists(st.tuples(names, values), max_size=5))
    if draw(st.booleans()):
        headers.append((b"content-length", str(sum(map(len, body))).encode()))
    start = {
        "type": "http.response.start",
        "status": draw(st.sampled_from([200, 204, 206, 301, 304, 404, 500])),
        "headers": headers,
    }
    parts = [{"type": "http.response.body", "body": each, "more_body": True} for each in body]
    last = {"type": "http.response.body", "body": b"", "more_body": False}
    if not draw(st.booleans()):
        return [*draw(before), start, *parts, last]
    trailers = {"type": "http.response.trailers", "headers": [(b"x", b"y")], "more_trailers": False}
    return [*draw(before), {**start, "trailers": True}, *parts, last, trailers]


@given(responses(), st.sampled_from(["GET", "HEAD", "POST"]))
def test_a_response_within_the_limits_passes_message_by_message(
    messages: list[Message], method: str
) -> None:
    """Only the headers that say what is left of a rate, and what varies, are added."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    reply = ask(Tonnage(app, **LIMITS), f"{method} /")

    assert reply.error is None
    assert [_plain(each) for each in reply.messages] == messages


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=8))
def test_a_body_within_the_limits_passes_piece_by_piece(body: list[bytes]) -> None:
    """As it comes from the server."""
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not received or received[-1].get("more_body"):
            received.append(await receive())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    reply = ask(Tonnage(app, **LIMITS), "POST /", parts=body)

    assert reply.status == 204
    assert [each["body"] for each in received] == body


def _plain(message: Message) -> Message:
    if message["type"] != "http.response.start":
        return message
    headers = [each for each in message["headers"] if each[0] not in _ADDED]
    return {**message, "headers": headers}
