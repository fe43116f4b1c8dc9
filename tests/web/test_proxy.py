"""What proxies say is believed as far as they are known to be there."""

from __future__ import annotations

from typing import Any

import pytest
from tests.web.virtual import run
from tests.web.world import call

from tonnage.web.proxy import Proxied
from tonnage.web.respond import Receive, Scope, Send

PEER = ("10.0.0.1", 4711)


def seen(hops: int, headers: list[tuple[bytes, bytes]], **scope: Any) -> Scope:
    """Return the scope that the application sees."""
    found: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    given = {"type": "http", "scheme": "http", "client": PEER, "headers": headers, **scope}
    run(call(Proxied(app, hops), given))
    return found[0]


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    """Return one X-Forwarded-For header for each of *values*."""
    given = [(b"x-forwarded-for", value.encode()) for value in values]
    return [(b"host", b"example.org"), *given]


@pytest.mark.parametrize(
    ("hops", "headers", "client"),
    [
        (1, forwarded("203.0.113.7"), "203.0.113.7"),
        (1, forwarded("spoofed, 203.0.113.7"), "203.0.113.7"),
        (1, forwarded("spoofed", "203.0.113.7"), "203.0.113.7"),
        (2, forwarded("spoofed, 203.0.113.7, 10.0.0.9"), "203.0.113.7"),
        (2, forwarded("spoofed, 203.0.113.7", "10.0.0.9"), "203.0.113.7"),
        (2, forwarded("203.0.113.7"), "203.0.113.7"),
        (1, forwarded("203.0.113.7:5123"), "203.0.113.7"),
        (1, forwarded("[2001:db8::7]:5123"), "2001:db8::7"),
        (1, forwarded("2001:db8::7"), "2001:db8::7"),
    ],
)
def test_the_client_is_so_many_places_from_the_right(
    hops: int, headers: list[tuple[bytes, bytes]], client: str
) -> None:
    """What is further left was sent by the client itself and may say anything."""
    scope = seen(hops, headers)

    assert scope["client"] == (client, 0)
    assert scope["tonnage.peer"] == PEER


@pytest.mark.parametrize("headers", [[], forwarded(""), forwarded(" , ")])
def test_without_an_address_the_peer_is_the_client(headers: list[tuple[bytes, bytes]]) -> None:
    """An empty header says nothing."""
    assert seen(1, headers)["client"] == PEER


@pytest.mark.parametrize(
    ("scheme", "hops", "said", "expected"),
    [
        ("http", 1, b"https", "https"),
        ("ws", 1, b"https", "wss"),
        ("http", 1, b"http", "http"),
        ("http", 1, b"https, http", "http"),
        ("http", 2, b"http, https, http", "https"),
        ("http", 2, b"https", "https"),
        ("http", 1, b"", "http"),
        ("other", 1, b"https", "other"),
    ],
)
def test_the_scheme_is_the_one_at_the_outermost_proxy(
    scheme: str, hops: int, said: bytes, expected: str
) -> None:
    """An application makes links with it."""
    kind = "websocket" if scheme == "ws" else "http"

    scope = seen(hops, [(b"x-forwarded-proto", said)], scheme=scheme, type=kind)

    assert scope["scheme"] == expected


def test_lifespan_has_no_client() -> None:
    """It passes as it is."""
    assert "tonnage.peer" not in seen(1, [], type="lifespan")
