"""Whom an operator's endpoint believes, also where a browser asks."""

from __future__ import annotations

import pytest

from tonnage.ops.trust import is_operator

LOCAL, REMOTE = "127.0.0.1", "203.0.113.7"
TOKEN = "opensesame"


@pytest.mark.parametrize(
    ("peer", "headers", "believed"),
    [
        (LOCAL, {}, True),
        ("::1", {"host": "[::1]:8000"}, True),
        (LOCAL, {"host": "localhost:8000"}, True),
        (LOCAL, {"host": "LOCALHOST"}, True),
        (LOCAL, {"host": "127.0.0.1"}, True),
        (REMOTE, {}, False),
        (None, {}, False),
        (LOCAL, {"x-forwarded-for": REMOTE}, False),
        # A page of this server.
        (LOCAL, {"host": "localhost:8000", "origin": "http://localhost:8000"}, True),
        (LOCAL, {"host": "localhost:8000", "sec-fetch-site": "same-origin"}, True),
        # Somebody has typed the address.
        (LOCAL, {"host": "localhost:8000", "sec-fetch-site": "none"}, True),
        # A page of another site, of another port, of a file.
        (LOCAL, {"host": "localhost:8000", "origin": "https://evil.example"}, False),
        (LOCAL, {"host": "localhost:8000", "origin": "http://localhost:3000"}, False),
        (LOCAL, {"host": "localhost:8000", "origin": "null"}, False),
        (LOCAL, {"host": "localhost:8000", "sec-fetch-site": "cross-site"}, False),
        (LOCAL, {"host": "localhost:8000", "sec-fetch-site": "same-site"}, False),
        # An outside name that was made to lead here.
        (LOCAL, {"host": "evil.example:8000", "origin": "http://evil.example:8000"}, False),
        (LOCAL, {"host": "evil.example:8000"}, False),
        (LOCAL, {"host": "127.0.0.1.evil.example"}, False),
        (LOCAL, {"host": "[::2]:8000"}, False),
        # The token, which no browser sends by itself.
        (REMOTE, {"authorization": f"Bearer {TOKEN}"}, True),
        (LOCAL, {"authorization": f"Bearer {TOKEN}", "origin": "https://ops.example"}, True),
        (REMOTE, {"authorization": "Bearer guess"}, False),
        (LOCAL, {"authorization": "Bearer guess", "host": "evil.example"}, False),
    ],
)
def test_who_is_an_operator(peer: str | None, headers: dict[str, str], believed: bool) -> None:
    """A token, or this machine without a proxy and without another site's page."""
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]

    assert is_operator(peer, sent, TOKEN) is believed
