"""Which types of content gain by compressing, and what compressing changes in the headers.

Decides nothing: that is :mod:`tonnage.web.path.compress`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tonnage.web.respond import Message

Headers = list[tuple[bytes, bytes]]

# Values of Content-Type and of Accept-Encoding whose meaning is remembered, each. There are a
# dozen in practice; invented ones only empty the table.
MOST_REMEMBERED: Final = 256
LONGEST_REMEMBERED_BYTES: Final = 256

# A list of what gains, since compressing what does not costs time and memory for nothing.
_TYPES: Final = frozenset(
    {
        b"application/atom+xml",
        b"application/dash+xml",
        b"application/geo+json",
        b"application/graphql",
        b"application/javascript",
        b"application/json",
        b"application/ld+json",
        b"application/manifest+json",
        b"application/msgpack",
        b"application/problem+json",
        b"application/rss+xml",
        b"application/rtf",
        b"application/sql",
        b"application/toml",
        b"application/vnd.ms-fontobject",
        b"application/wasm",
        b"application/x-javascript",
        b"application/x-ndjson",
        b"application/x-protobuf",
        b"application/x-yaml",
        b"application/xhtml+xml",
        b"application/xml",
        b"application/yaml",
        b"font/otf",
        b"font/ttf",
        b"image/bmp",
        b"image/svg+xml",
        b"image/vnd.microsoft.icon",
        b"image/x-icon",
    }
)
_SUFFIXES: Final = (b"+json", b"+xml", b"+yaml", b"+text")
_NEVER: Final = frozenset({b"text/event-stream"})

# Not true of a compressed body; ranges would be of the plain one.
_DROPPED: Final = frozenset((b"content-length", b"accept-ranges"))
VARY_HEADER: Final = (b"vary", b"accept-encoding")


class ContentTypes:
    """Which types of content get smaller by compression; what *further* names do too."""

    def __init__(self, further: Collection[str] = ()) -> None:
        self._types = _TYPES | {name.lower().encode("latin-1") for name in further}
        self._known: dict[bytes, bool] = {}

    def gain(self, content_type: bytes) -> bool:
        """Return whether content of this type gets smaller."""
        known = self._known.get(content_type)
        if known is not None:
            return known
        name = content_type.partition(b";")[0].strip().lower()
        gain = name not in _NEVER and (
            name in self._types or name.startswith(b"text/") or name.endswith(_SUFFIXES)
        )
        remember(self._known, content_type, gain)
        return gain


def encoded(headers: Iterable[tuple[bytes, bytes]], coding: bytes) -> Headers:
    """Return *headers* as they are of the same content in a *coding*, of unknown length."""
    kept: Headers = []
    for name, value in headers:
        lower = name.lower()
        if lower == b"etag":
            kept.append((name, _weak(value)))
        elif lower not in _DROPPED:
            kept.append((name, value))
    kept.append((b"content-encoding", coding))
    return kept


def weakened(start: Message) -> Message:
    """Return a 304 whose ETag is the one that the compressed response had."""
    headers = [
        (name, _weak(value) if name.lower() == b"etag" else value)
        for name, value in start["headers"]
    ]
    return {**start, "headers": headers}


def _weak(etag: bytes) -> bytes:
    # The same content in other bytes (RFC 9110, 8.8.3.3).
    return etag if etag.startswith(b"W/") else b"W/" + etag


def remember(table: dict[bytes, Any], key: bytes, meaning: object) -> None:
    """Put *key* into a *table* that never has more than :data:`MOST_REMEMBERED`."""
    if len(key) <= LONGEST_REMEMBERED_BYTES:
        if len(table) >= MOST_REMEMBERED:
            table.clear()
        table[key] = meaning
