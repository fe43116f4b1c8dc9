"""Secrets hidden in what is logged.

    Mask()({"user": "ada", "api_key": "k-123"})       # {"user": "ada", "api_key": "***"}
    Mask().text("connected to redis://:pw@cache")     # "connected to redis://:***@cache"

Found: the values of keys whose names hold one of :data:`SECRET_WORDS`, at any depth; and in texts
``password=...``, ``"token": "..."``, ``Authorization: ...``, ``Cookie: ...``, ``Bearer ...`` and
the password in a URL.

Not found: a secret that stands alone in a text, or under a name that says nothing. Numbers are
taken for counts (``tokens=5``) and stay. Costs are bounded: nested values are looked through to a
depth of :data:`MOST_DEPTH` and :data:`MOST_VALUES` of them, and what lies beyond is left out; each
expression reads a text once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from tonnage.logs.texts import MAX_TEXT_CHARS, cut

SECRET_WORDS: Final = (
    "password", "passwd", "passphrase", "secret", "token", "authorization", "cookie", "apikey",
    "session", "credential", "privatekey",
)  # fmt: skip
MOST_DEPTH: Final = 4
MOST_VALUES: Final = 200

HIDDEN: Final = "***"
_LEFT_OUT: Final = "[...]"
_MOST_REMEMBERED: Final = 512
_LONGEST_KEY: Final = 64

_BEARER: Final = re.compile(r"\b(bearer) +[\w.~+/=-]+", re.IGNORECASE)
# Up to the last @ of what may be a user and a password: passwords hold some, too.
_URL: Final = re.compile(r"""(://[^\s/:@"']{0,256}:)[^\s/"']{1,1024}@""")
_COOKIE: Final = re.compile(r"""(cookie2?: ?)[^\s"'][^\r\n]*""", re.IGNORECASE)


class Mask:
    """What is hidden.

    Args:
        words: parts of further keys whose values are hidden; case, ``_`` and ``-`` do not matter.
    """

    def __init__(self, words: Collection[str] = ()) -> None:
        self._words = tuple(dict.fromkeys((*SECRET_WORDS, *filter(None, map(_plain, words)))))
        named = "|".join("[_-]?".join(map(re.escape, _parts(word))) for word in self._words)
        self._pair = re.compile(
            rf"""((?:{named})[\w-]{{0,32}}["']?\s?[=:]\s?)"""
            r"""(?:b?"[^"\n]*"?|b?'[^'\n]*'?|(?:(?:basic|bearer|digest|token)\s)?[^\s"',;&)\]}]+)""",
            re.IGNORECASE,
        )
        self._known: dict[str, bool] = {}

    def is_secret(self, key: str) -> bool:
        """Return whether the value of *key* is hidden."""
        known = self._known.get(key)
        if known is None:
            plain = _plain(key)
            known = any(word in plain for word in self._words)
            # Keys come from the code; invented ones only find the table full.
            if len(self._known) < _MOST_REMEMBERED and len(key) <= _LONGEST_KEY:
                self._known[key] = known
        return known

    def __call__(self, fields: Mapping[Any, Any]) -> dict[str, Any]:
        """Return *fields* with what is secret hidden, and texts looked through."""
        return _Walk(self).mapping(fields, 0)

    def text(self, text: str) -> str:
        """Return *text* with what looks like a secret in it hidden."""
        # Most texts have none of these characters, and none of the expressions is tried.
        if ":" in text or "=" in text:
            if "://" in text:
                text = _URL.sub(rf"\1{HIDDEN}@", text)
            text = self._pair.sub(rf"\1{HIDDEN}", _COOKIE.sub(rf"\1{HIDDEN}", text))
        if "earer " in text or "EARER " in text:
            text = _BEARER.sub(rf"\1 {HIDDEN}", text)
        return text


class _Walk:
    """One look through nested values."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._left = MOST_VALUES

    def mapping(self, fields: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in fields.items():
            if self._left <= 0:
                found[_LEFT_OUT] = _LEFT_OUT
                break
            name = key if isinstance(key, str) else cut(str(key))
            found[name] = self._value(name, value, depth)
        return found

    def _value(self, name: str, value: Any, depth: int) -> Any:
        self._left -= 1
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if self._mask.is_secret(name):
            return HIDDEN
        if isinstance(value, str):
            return self._mask.text(cut(value))
        if isinstance(value, Mapping):
            return self.mapping(value, depth + 1) if depth < MOST_DEPTH else _LEFT_OUT
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._items(value, depth + 1) if depth < MOST_DEPTH else _LEFT_OUT
        if isinstance(value, (bytes, bytearray)):
            # Four times as long when shown, so that it is cut before.
            value = value[:MAX_TEXT_CHARS]
        return self._mask.text(cut(repr(value)))

    def _items(self, values: Iterable[Any], depth: int) -> list[Any]:
        found: list[Any] = []
        for value in values:
            if self._left <= 0:
                found.append(_LEFT_OUT)
                break
            found.append(self._value("", value, depth))
        return found


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def _parts(word: str) -> tuple[str, ...]:
    """Return where *word* may have a hyphen: ``apikey`` is also written ``api_key``."""
    for end in ("key", "phrase"):
        if word.endswith(end) and word != end:
            return word.removesuffix(end), end
    return (word,)
