"""What the headers of a response say to the path: looked at once, for whoever asks.

Promises: one look at each name, in whichever spelling. Decides nothing: limits are
:mod:`tonnage.web.path.passage`'s, compressing is :mod:`tonnage.web.path.compress`'s, and other
sites' pages are :mod:`tonnage.web.path.cors`'s.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_LENGTH, _TYPE, _VARY, _CACHE, _ENCODED, _ALLOW = range(1, 7)
_MEANINGS: Final = {
    b"content-length": _LENGTH,
    b"content-type": _TYPE,
    b"vary": _VARY,
    b"cache-control": _CACHE,
    # Compressed already, or a checksum of exactly these bytes.
    b"content-encoding": _ENCODED,
    b"content-digest": _ENCODED,
    b"digest": _ENCODED,
    b"access-control-allow-origin": _ALLOW,
}

# Spellings that are remembered: an application has some dozens of names, which come from its code.
_MOST_REMEMBERED: Final = 512
_LONGEST_NAME_BYTES: Final = 64
_LONGEST_NUMBER: Final = 19


class _Spellings(dict[bytes, int]):
    """The meaning of each name as it is spelled (Django writes capitals); 0: it has none."""

    def __missing__(self, name: bytes) -> int:
        meaning = _MEANINGS.get(name.lower(), 0)
        if len(self) < _MOST_REMEMBERED and len(name) <= _LONGEST_NAME_BYTES:
            self[name] = meaning
        return meaning


_spellings: Final = _Spellings(_MEANINGS)


class Head:
    """What a response says of itself before its first byte."""

    # What few responses say costs nothing as an attribute of the class.

    #: The length that it says it has; None: it says none that makes sense.
    length_bytes: int | None = None
    content_type: bytes = b""
    #: Whether caches are told that it depends on Accept-Encoding.
    varies = False
    #: Whether its bytes have to stay what they are.
    is_final = False
    #: Whether it says itself which sites' pages may read it.
    is_permitting = False

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            meaning = _spellings[name]
            if not meaning:
                continue
            if meaning == _LENGTH:
                self.length_bytes = announced_bytes(value)
            elif meaning == _TYPE:
                self.content_type = value
            elif meaning == _VARY:
                self.varies = self.varies or _covers_encoding(value)
            elif meaning == _ALLOW:
                self.is_permitting = True
            elif meaning == _ENCODED or b"no-transform" in value.lower():
                self.is_final = True

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return self.content_type.startswith(b"text/event-stream")


def announced_bytes(value: bytes) -> int | None:
    """Return what a Content-Length of *value* says; None: nothing that makes sense."""
    if not value.isdigit():
        return None
    # Python refuses to read very long numbers, and these are too large in any case.
    return int(value) if len(value) < _LONGEST_NUMBER else sys.maxsize


def _covers_encoding(vary: bytes) -> bool:
    lower = vary.lower()
    return b"accept-encoding" in lower or lower.strip() == b"*"
