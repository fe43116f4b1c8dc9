"""The page's log-in: the admin token, exchanged for a cookie that any worker can check.

    cookie = issue(token, now_seconds, path="/tonnage", secure=True)     # the value of Set-Cookie
    has_login(headers, token, now_seconds)                               # is a good one among them?

A browser's ``EventSource`` and links can send no ``Authorization``, but they send a cookie. Ours
says until when it holds, signed with the token: nothing is kept of it, it holds in each worker and
after a restart, and dies with the token. Who logs out only has the browser forget it.

Promises: a cookie made without the token, changed, or too old opens nothing; signatures and tokens
are compared in constant time. ``HttpOnly``: no script reads it. ``SameSite=Strict``: no page of
another site has it sent. That an action comes from our own page is shown besides
(:func:`tonnage.ops.trust.may_press`).

Pure but for the imports, which come with the first use: hmac loads OpenSSL, 3 MB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

COOKIE: Final = "tonnage_login"
HOLDS_SECONDS: Final = 12 * 3600

#: How the page hides what is only for those who have logged in, and how it shows it to them.
HIDDEN: Final = b"<form data-logged-in hidden"
SHOWN: Final = b"<form data-logged-in"

# What else is signed with the token, if anything ever is, is none of these.
_PURPOSE: Final = b"tonnage log-in until "
_LONGEST_COOKIE_BYTES: Final = 128
# A browser sends a few of one name at most, of different paths.
_MOST_LOOKED_AT: Final = 4


def issue(token: str, now_seconds: float, *, path: str, secure: bool) -> bytes:
    """Return the value of ``Set-Cookie`` for somebody who has shown *token*.

    Args:
        token: the admin token.
        now_seconds: seconds since 1970.
        path: below which the browser sends it.
        secure: whether it is to be sent by HTTPS alone.
    """
    until = b"%d" % (now_seconds + HOLDS_SECONDS)
    value = until + b"." + _signature(token, until)
    return _set_cookie(value, HOLDS_SECONDS, path, secure=secure)


def revoke(*, path: str, secure: bool) -> bytes:
    """Return the value of ``Set-Cookie`` that has a browser forget the cookie of *path*."""
    return _set_cookie(b"", 0, path, secure=secure)


def has_login(
    headers: Iterable[tuple[bytes, bytes]], token: str | None, now_seconds: float
) -> bool:
    """Return whether a cookie that still holds is among *headers*.

    Args:
        headers: lower-case names and values.
        token: the admin token; None: no cookie opens anything.
        now_seconds: seconds since 1970.
    """
    if not token:
        return False
    return any(_holds(each, token, now_seconds) for each in _cookies(headers))


def is_forged(headers: Iterable[tuple[bytes, bytes]], token: str) -> bool:
    """Return whether a cookie among *headers* was not made with *token*; one too old was."""
    return not all(_is_ours(each, token) for each in _cookies(headers))


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the bearer token among *headers*, which may be empty; None if there is none."""
    for name, value in headers:
        scheme, _, token = value.strip().partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            return token.strip().decode("utf-8", "replace")
    return None


def is_token(given: str, token: str) -> bool:
    """Return whether *given* is the *token*, in a time that tells nothing of it."""
    from hmac import compare_digest

    return compare_digest(given.encode(errors="replace"), token.encode())


def _cookies(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    start = COOKIE.encode() + b"="
    found = [
        part.strip().removeprefix(start)
        for name, value in headers
        if name == b"cookie"
        for part in value.split(b";")
        if part.strip().startswith(start)
    ]
    return found[:_MOST_LOOKED_AT]


def _holds(cookie: bytes, token: str, now_seconds: float) -> bool:
    return _is_ours(cookie, token) and now_seconds < int(cookie.partition(b".")[0])


def _is_ours(cookie: bytes, token: str) -> bool:
    from hmac import compare_digest

    until, dot, signature = cookie.partition(b".")
    if len(cookie) > _LONGEST_COOKIE_BYTES or not dot or not until.isdigit():
        return False
    return compare_digest(signature, _signature(token, until))


def _signature(token: str, until: bytes) -> bytes:
    import hmac

    return hmac.digest(token.encode(), _PURPOSE + until, "sha256").hex().encode()


def _set_cookie(value: bytes, seconds: int, path: str, *, secure: bool) -> bytes:
    text = f"; Max-Age={seconds}; Path={path}; HttpOnly; SameSite=Strict"
    return COOKIE.encode() + b"=" + value + (text + "; Secure" if secure else text).encode()
