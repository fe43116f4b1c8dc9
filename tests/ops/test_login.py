"""The log-in's cookie: made with the token, it opens for twelve hours, and nothing else does."""

from __future__ import annotations

import pytest

from tonnage.ops.login import COOKIE, HOLDS_SECONDS, has_login, is_forged, is_token, issue, revoke

TOKEN, NOW = "opensesame", 1_800_000_000.0


def value(token: str = TOKEN, now_seconds: float = NOW) -> bytes:
    """Return what a browser keeps of a cookie."""
    return issue(token, now_seconds, path="/tonnage", secure=False).partition(b";")[0]


def headers(*cookies: bytes) -> list[tuple[bytes, bytes]]:
    """Return what a browser sends of *cookies*."""
    return [(b"host", b"a"), (b"cookie", b"; ".join(cookies))]


def test_a_cookie_opens_until_it_is_too_old() -> None:
    """Whichever process looks at it: nothing is kept of it."""
    sent = headers(b"theirs=1", value(), b"other=2")

    assert has_login(sent, TOKEN, NOW)
    assert has_login(sent, TOKEN, NOW + HOLDS_SECONDS - 1)
    assert not has_login(sent, TOKEN, NOW + HOLDS_SECONDS)
    # It was ours: nobody has tried anything.
    assert not is_forged(sent, TOKEN)


@pytest.mark.parametrize("token", ["another", None, ""])
def test_it_dies_with_the_token(token: str | None) -> None:
    """And without one, nothing opens."""
    assert not has_login(headers(value()), token, NOW)
    assert not has_login(headers(value("")), token, NOW)


@pytest.mark.parametrize(
    "cookie",
    [
        b"",
        b"1",
        b".",
        b"9999999999.",
        b"9999999999." + b"0" * 64,
        value().partition(b"=")[2].replace(b"18", b"19", 1),
        value().partition(b"=")[2][:-1],
        value().partition(b"=")[2] + b"0",
        value().partition(b"=")[2].upper(),
        b" " + value("guess").partition(b"=")[2],
        b"-1." + b"0" * 64,
        b"\xb2." + b"0" * 64,
        b"1" * 5000 + b"." + b"0" * 64,
        TOKEN.encode(),
    ],
)
def test_what_was_made_otherwise_opens_nothing(cookie: bytes) -> None:
    """Changed, cut, guessed, or nonsense."""
    sent = headers(COOKIE.encode() + b"=" + cookie)

    assert not has_login(sent, TOKEN, NOW)
    assert is_forged(sent, TOKEN)


def test_one_of_several_suffices() -> None:
    """A browser sends those of all paths that fit; but not as many as somebody likes."""
    wrong = COOKIE.encode() + b"=wrong"

    assert has_login(headers(wrong, value()), TOKEN, NOW)
    assert not has_login(headers(*[wrong] * 50, value()), TOKEN, NOW)


def test_no_script_and_no_other_site_gets_it() -> None:
    """By the attributes that browsers heed; and it goes the way it came."""
    plain = issue(TOKEN, NOW, path="/ops", secure=False)
    attributes = plain.split(b"; ")[1:]

    assert attributes == [b"Max-Age=43200", b"Path=/ops", b"HttpOnly", b"SameSite=Strict"]
    assert issue(TOKEN, NOW, path="/ops", secure=True) == plain + b"; Secure"
    assert revoke(path="/ops", secure=False).startswith(COOKIE.encode() + b"=; Max-Age=0; Path=/op")
    assert TOKEN.encode() not in plain


def test_tokens_are_compared_whole() -> None:
    """Whatever characters they have."""
    assert is_token("ключ", "ключ")
    assert not any(is_token(given, TOKEN) for given in ("", "opensesam", "opensesame ", "\ud800"))
