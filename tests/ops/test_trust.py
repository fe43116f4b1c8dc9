"""Whom an operator's endpoint believes, also where a browser asks."""

from __future__ import annotations

import pytest

from tonnage.ops.login import issue
from tonnage.ops.trust import is_operator, may_press, may_see

EVIL = "evil.example"
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
        (REMOTE, {"authorization": f"bearer   {TOKEN} "}, True),
        (REMOTE, {"authorization": f" BEARER {TOKEN}"}, True),
        (REMOTE, {"authorization": f"Basic {TOKEN}"}, False),
        (REMOTE, {"authorization": f"Bearer{TOKEN}"}, False),
        (REMOTE, {"authorization": "Bearer guess"}, False),
        (LOCAL, {"authorization": "Bearer guess", "host": "evil.example"}, False),
        # A wrong one is not ignored; what is another's affair is.
        (LOCAL, {"authorization": "Bearer guess"}, False),
        (LOCAL, {"authorization": "bearer"}, False),
        (LOCAL, {"authorization": "Basic YW5uOnB3"}, True),
    ],
)
def test_who_is_an_operator(peer: str | None, headers: dict[str, str], believed: bool) -> None:
    """A token, or this machine without a proxy and without another site's page."""
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]

    assert is_operator(peer, sent, TOKEN) is believed


NOW = 1_800_000_000.0
COOKIE = {"cookie": issue(TOKEN, NOW, path="/tonnage", secure=True).decode().partition(";")[0]}
PRESSED = {"x-tonnage-action": "1"}
OURS = {"sec-fetch-site": "same-origin", "origin": "https://ops.example", "host": "10.0.0.1"}
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("peer", "headers", "token", "sees", "presses"),
    [
        (REMOTE, {}, TOKEN, False, False),
        (REMOTE, BEARER, TOKEN, True, True),
        (REMOTE, {"authorization": "Bearer guess"}, TOKEN, False, False),
        # By the log-in: to act, our own page has to have sent it.
        (REMOTE, COOKIE, TOKEN, True, False),
        (REMOTE, COOKIE | PRESSED, TOKEN, True, False),
        (REMOTE, COOKIE | OURS, TOKEN, True, False),
        (REMOTE, COOKIE | PRESSED | OURS, TOKEN, True, True),
        (REMOTE, PRESSED | OURS, TOKEN, False, False),
        (REMOTE, COOKIE | PRESSED | OURS | {"sec-fetch-site": "same-site"}, TOKEN, True, False),
        (REMOTE, COOKIE | PRESSED | OURS | {"sec-fetch-site": "none"}, TOKEN, True, False),
        (REMOTE, COOKIE | PRESSED | OURS | {"x-tonnage-action": "2"}, TOKEN, True, False),
        # A browser that does not say from where: its origin has to be this very server.
        (REMOTE, COOKIE | PRESSED | {"origin": "http://a:8", "host": "a:8"}, TOKEN, True, True),
        (REMOTE, COOKIE | PRESSED | {"origin": "http://a:80", "host": "a:8"}, TOKEN, True, False),
        (REMOTE, COOKIE | PRESSED | {"origin": "null", "host": "a"}, TOKEN, True, False),
        (REMOTE, COOKIE | PRESSED | {"host": "a"}, TOKEN, True, False),
        (REMOTE, COOKIE | PRESSED | OURS, "another", False, False),
        # From this machine: to look, always; to act, while no token is set.
        (LOCAL, {}, None, True, False),
        (LOCAL, {"authorization": "Bearer guess"}, None, True, False),
        (LOCAL, {"authorization": "Bearer guess"}, TOKEN, False, False),
        (LOCAL, COOKIE | {"authorization": "Bearer guess"}, TOKEN, True, False),
        (LOCAL, PRESSED | OURS | {"host": "localhost"}, None, False, False),
        (LOCAL, PRESSED | {"host": "localhost", "origin": "http://localhost"}, None, True, True),
        (LOCAL, PRESSED | {"host": "localhost", "origin": "http://localhost"}, TOKEN, True, False),
        (LOCAL, {"x-forwarded-for": REMOTE}, None, False, False),
        # An outside name that was made to lead here: its page is of the same origin.
        (LOCAL, PRESSED | {"host": EVIL, "origin": f"http://{EVIL}"}, None, False, False),
        (LOCAL, PRESSED | {"host": EVIL, "sec-fetch-site": "same-origin"}, None, False, False),
        (None, PRESSED | OURS, None, False, False),
    ],
)  # fmt: skip
def test_who_sees_and_who_presses(
    peer: str | None, headers: dict[str, str], token: str | None, sees: bool, presses: bool
) -> None:
    """The page is for operators and for who has logged in; its buttons need the page besides."""
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]

    assert may_see(peer, sent, token, NOW) is sees
    assert may_press(peer, sent, token, NOW) is presses


def test_who_is_blocked_has_but_the_log_in_of_before() -> None:
    """Neither the right token nor this machine opens anything."""
    for peer, headers in ((REMOTE, BEARER), (LOCAL, {}), (LOCAL, BEARER | PRESSED | OURS)):
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        assert not may_see(peer, sent, TOKEN, NOW, is_blocked=True)
        assert not may_press(peer, sent, TOKEN, NOW, is_blocked=True)

    logged_in = BEARER | COOKIE | PRESSED | OURS
    sent = [(name.encode(), value.encode()) for name, value in logged_in.items()]
    assert may_see(REMOTE, sent, TOKEN, NOW, is_blocked=True)
    assert may_press(REMOTE, sent, TOKEN, NOW, is_blocked=True)
