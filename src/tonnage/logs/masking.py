"""Secrets hidden in what is logged.

    Mask()({"user": "ada", "api_key": "k-123"})       # {"user": "ada", "api_key": "***"}
    Mask().text("connected to redis://:pw@cache")     # "connected to redis://:***@cache"

Found: the values of keys whose names hold one of :data:`SECRET_WORDS`, at any depth, and the second
of two where the first is such a name, as headers are kept; and in texts ``password=...``,
``"token": "..."``, ``('cookie', '...')``, ``Authorization: ...``, ``Cookie: ...``, ``Bearer ...``,
the password in a URL, and a name of eight characters or more without one in a URL of HTTP.

Not found: a secret that stands alone in a text, or under a name that says nothing. Numbers are
taken for counts (``tokens=5``) and stay. Costs are bounded: nested values are looked through to a
depth of :data:`MOST_DEPTH` and :data:`MOST_VALUES` of them, and what lies beyond is left out; each
expression reads a text once. Never fails: a value of which no text can be made is named in its
place, and a number that JSON does not have becomes a text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from tonnage.logs.texts import MAX_TEXT_CHARS, cut

SECRET_WORDS: Final = (
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "jwt",
    "authorization", "cookie", "session", "credential", "apikey", "accesskey", "privatekey",
)  # fmt: skip
# Too short to be looked for inside of other words: bot_path.
_WHOLE_WORDS: Final = frozenset(("otp", "totp"))
MOST_DEPTH: Final = 4
MOST_VALUES: Final = 200

HIDDEN: Final = "***"
_LEFT_OUT: Final = "[...]"
_MOST_REMEMBERED: Final = 512
_LONGEST_KEY: Final = 64
_LARGEST_BITS: Final = 1024

_BEARER: Final = re.compile(r"\b(bearer) +[\w.~+/=-]+", re.IGNORECASE)
# Up to the last @ of what may be a user and a password: passwords hold some, too.
_URL: Final = re.compile(r"""(://[^\s/:@"']{0,256}:)[^\s/"']{1,1024}@""")
_URL_TOKEN: Final = re.compile(r"""(https?://)[^\s/:@"']{8,1024}@""", re.IGNORECASE)
_COOKIE: Final = re.compile(r"""(cookie2?: ?)[^\s"'][^\r\n]*""", re.IGNORECASE)
# Where a name ends and its value begins; and the value, in quotes (after a backslash where the text
# is in a text itself), as a repr of bytes, or without quotes up to what ends it.
_SAYS: Final = r"""(?:\\{0,4}["']?\s?[=:]\s?|["'],\s?(?=b?["']))"""
_SAID: Final = (
    r"""(?:b?"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|b?'[^'\\\n]*(?:\\.[^'\\\n]*)*'?"""
    r"""|\\{1,4}["'][^"'\n]*["']?"""
    r"""|(?:(?:basic|bearer|digest|token)\s)?[^\s"',;&)\]}]+)"""
)
_IS_NAME: Final = re.compile(r"[\w.-]{1,64}")
_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")


class Mask:
    """What is hidden.

    Args:
        words: parts of further keys whose values are hidden; case, ``_`` and ``-`` do not matter.
    """

    def __init__(self, words: Collection[str] = ()) -> None:
        self._words = tuple(dict.fromkeys((*SECRET_WORDS, *filter(None, map(_plain, words)))))
        named = "|".join("[_-]?".join(map(re.escape, _parts(word))) for word in self._words)
        # What each of them begins with, to be looked for first: most texts hold none.
        begins = dict.fromkeys([*(_parts(word)[0] for word in self._words), "otp"])
        self._hint = re.compile("|".join(map(re.escape, begins)))
        named += rf"|(?<![a-z])(?:{'|'.join(sorted(_WHOLE_WORDS))})(?![a-z])"
        self._pair = re.compile(rf"((?:{named})[\w-]{{0,32}}{_SAYS}){_SAID}", re.IGNORECASE)
        self._known: dict[str, bool] = {}

    def is_secret(self, key: str) -> bool:
        """Return whether the value of *key* is hidden."""
        known = self._known.get(key)
        if known is None:
            plain = _plain(key)
            known = any(word in plain for word in self._words) or not _WHOLE_WORDS.isdisjoint(
                word.lower() for word in _WORD.findall(key)
            )
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
        if ":" in text or "=" in text or "'," in text or '",' in text:
            if "://" in text:
                text = _URL_TOKEN.sub(rf"\1{HIDDEN}@", _URL.sub(rf"\1{HIDDEN}@", text))
            if self._hint.search(text.lower()):
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
        try:
            return self._seen(name, value, depth)
        except Exception as error:  # noqa: BLE001 - the value's own code, and a log must not fail
            return f"<{type(value).__name__} cannot be shown: {type(error).__name__}>"

    def _seen(self, name: str, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return _number(value)
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
        name = ""
        for value in values:
            if self._left <= 0:
                found.append(_LEFT_OUT)
                break
            found.append(self._value(name, value, depth))
            name = _name_of_pair(values, value) if len(found) == 1 else ""
        return found


def _name_of_pair(values: Iterable[Any], first: Any) -> str:
    """Return what the second of two *values* is called, if the *first* is a name; as in headers."""
    if not (isinstance(values, (list, tuple)) and len(values) == 2):
        return ""
    if isinstance(first, (bytes, bytearray)) and len(first) <= _LONGEST_KEY:
        first = first.decode("latin-1")
    return first if isinstance(first, str) and _IS_NAME.fullmatch(first) else ""


def _number(value: Any) -> Any:
    """Return *value*, or a text where it is none that JSON has, or is too long to be shown."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
        return f"<a number of {value.bit_length()} bits>"
    return value


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def _parts(word: str) -> tuple[str, ...]:
    """Return where *word* may have a hyphen: ``apikey`` is also written ``api_key``."""
    for end in ("key", "phrase"):
        if word.endswith(end) and word != end:
            return word.removesuffix(end), end
    return (word,)
