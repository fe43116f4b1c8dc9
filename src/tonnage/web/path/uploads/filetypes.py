"""What a file's content is, from how it begins, whatever its name and its headers say.

Magic numbers are looked up with ``filetype``: of what was compared it named all samples rightly and
costs 0.43 MB and 2 to 35 us a look. puremagic 1.30 (2.x needs Python 3.12) costs 1.2 MB and took a
zip for a Word document; python-magic needs a library of the system and 7 MB. The last release of
``filetype`` is from 2022: magic numbers do not change, but formats newer than that are not known.

Text has no magic number. What begins as UTF-8 without control characters, and not as markup, passes
for any of :data:`TEXT_TYPES` that it was declared to be; whether it is good CSV or JSON is for
whoever reads it. Markup that browsers run (HTML, SVG, XML) is not taken by type at all.

Only the beginning is looked at: a file that begins as a PNG may still be broken, or too large in
pixels. What else it may be at the same time: :mod:`tonnage.web.path.uploads.disguises`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from tonnage.errors import ConfigError

# What ``filetype`` wants to see; tar's mark is at 257, a Word document's further in.
HEAD_BYTES: Final = 8192

TEXT_TYPES: Final[Mapping[str, str]] = {
    "text/plain": "txt",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/markdown": "md",
    "application/json": "json",
    "application/x-ndjson": "ndjson",
}

# Other names of the same, and kinds that are the same to whoever opens them.
_SAME: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/heif": "image/heic",
    "image/jpx": "image/jp2",
    "image/x-ms-bmp": "image/bmp",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/ico": "image/vnd.microsoft.icon",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "audio/x-flac": "audio/flac",
    "audio/x-aiff": "audio/aiff",
    "video/x-m4v": "video/mp4",
    "video/x-msvideo": "video/avi",
    "application/x-gzip": "application/gzip",
    "application/x-zip-compressed": "application/zip",
    "application/x-zip": "application/zip",
    "application/x-pdf": "application/pdf",
    "application/vnd.rar": "application/x-rar-compressed",
    "application/vnd.sqlite3": "application/x-sqlite3",
    "application/font-woff": "font/woff",
    "text/json": "application/json",
    "text/x-markdown": "text/markdown",
    "application/csv": "text/csv",
    "application/jsonl": "application/x-ndjson",
}
_UNDECLARED: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_MARKUP: Final = frozenset(
    {
        *("text/html", "text/xml", "application/xml", "application/xhtml+xml", "image/svg+xml"),
        *("text/javascript", "application/javascript", "text/css"),
    }
)
# ``filetype`` is content with fewer bytes of these.
_WHOLE_MAGIC: Final = {"image/png": b"\x89PNG\r\n\x1a\n"}
_MARKUP_STARTS: Final = (
    b"<!",
    b"<?",
    b"<html",
    b"<head",
    b"<body",
    b"<script",
    b"<svg",
    b"<iframe",
)


class _Kind(Protocol):
    """What ``filetype`` has for a type."""

    mime: str
    extension: str


@dataclass(frozen=True, slots=True)
class ContentType:
    """What a file is: ``image/jpeg``, and its usual *extension* (without a dot), if any."""

    name: str
    extension: str | None


def canonical(declared: str | None) -> str | None:
    """Return the one name of the type that a header declares; None: it declares nothing."""
    name = (declared or "").partition(";")[0].strip().lower()
    return None if name in _UNDECLARED else _SAME.get(name, name)


def content_type(head: bytes) -> ContentType | None:
    """Return what begins with *head* (up to ``HEAD_BYTES``); None: no magic number is known."""
    import filetype

    kind: _Kind | None = filetype.guess(head)
    if kind is None:
        return None
    name = canonical(kind.mime)
    if name is None or not head.startswith(_WHOLE_MAGIC.get(name, b"")):
        return None
    # An animated PNG is a PNG, in name as well.
    return ContentType(name, "png" if name == "image/png" else kind.extension)


def looks_like_text(head: bytes) -> bool:
    """Return whether *head* is UTF-8 text that does not begin as markup."""
    try:
        # Not the end of the file: a character may be cut there.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    start = text.lstrip("\ufeff \t\r\n").lower().encode()
    if start.startswith(_MARKUP_STARTS):
        return False
    return all(character >= " " or character in "\t\n\r\f" for character in text)


class AllowedTypes:
    """The types that are taken; immutable."""

    def __init__(self, types: Iterable[str]) -> None:
        """Take *types*, such as ``image/jpeg`` or ``image/*``.

        Raises:
            ConfigError: one of them cannot be told from a file's content.
        """
        known = _known_types()
        self._names: set[str] = set()
        self._families: tuple[str, ...] = ()
        for each in types:
            name = canonical(each) or ""
            family = name[:-1] if name.endswith("/*") else ""
            if family and any(other.startswith(family) for other in known):
                self._families += (family,)
            elif name in known or name in TEXT_TYPES:
                self._names.add(name)
            else:
                raise ConfigError(f"uploads cannot be checked to be {each!r}: {_why_not(name)}")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._names or name.startswith(self._families))

    def __str__(self) -> str:
        return ", ".join(sorted({*self._names, *(f"{family}*" for family in self._families)}))

    def find(self, head: bytes, declared: str | None) -> ContentType | str:
        """Return what begins with *head*, or a sentence that says why it is not taken."""
        wanted = canonical(declared)
        found = content_type(head)
        if found is None:
            # Text could be any of its types, so the header is believed.
            name = wanted or "text/plain"
            if name not in TEXT_TYPES or not looks_like_text(head):
                return f"its content is of no type that is taken here ({self})"
            found = ContentType(name, TEXT_TYPES[name])
        if found.name not in self:
            return f"its content is {found.name}; taken are {self}"
        if wanted is not None and wanted != found.name:
            return f"its content is {found.name}, but it was sent as {wanted}"
        return found


def _known_types() -> frozenset[str]:
    import filetype

    kinds: Iterable[_Kind] = filetype.types
    return frozenset(name for kind in kinds if (name := canonical(kind.mime)))


def _why_not(name: str) -> str:
    if name in _MARKUP:
        return "browsers run markup; leave types out, and check it yourself"
    return "no such type is known by its content; leave types out and check it yourself"
