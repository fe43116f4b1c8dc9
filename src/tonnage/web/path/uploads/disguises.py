"""Files that are two things at once: an image, and something that is opened or run as another.

A file is named after its first bytes here, but others read it differently: zip readers begin at the
end, PDF readers take a header anywhere in the first 1024 bytes, old browsers and careless servers
look for tags, and a comment in the right place makes an image a script. Refused for images, sound,
video and fonts:

- the mark of a PDF in the first 1024 bytes;
- tags of HTML, SVG scripts or PHP in the first ``HEAD_BYTES``;
- a script's comment right behind the magic number of a GIF, BMP or JPEG;

and for everything but archives and the formats that are made of one: a zip archive at the end.

What is not found: scripts further in than ``HEAD_BYTES`` (in metadata, or behind the image's end),
other archives behind it (RAR, 7z), and faults that a decoder has. So serve what was uploaded with
``X-Content-Type-Options: nosniff`` and never execute from that folder; re-encoding an image leaves
nothing of this.
"""

from __future__ import annotations

import os
import re
import struct
from typing import Final

_PDF_BYTES: Final = 1024  # Adobe's readers take a header that begins within these
_FAMILIES: Final = ("image/", "audio/", "video/", "font/")
_TAGS: Final = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|script|iframe|svg|\?php|\?=)[\s>/(a-z0-9$]", re.IGNORECASE
)
# Where a script's comment would begin: behind the magic number, in bytes that are sizes.
_COMMENT_AT: Final = {"image/gif": 6, "image/bmp": 2, "image/jpeg": 4}

# A zip's end: 22 bytes and a comment of up to 65,535.
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_END_BYTES: Final = 22
_ZIP_TAIL_BYTES: Final = _ZIP_END_BYTES + 65535
_ZIP_ENTRY: Final = b"PK\x01\x02"
_MADE_OF_ZIP: Final = ("application/vnd.", "application/epub+zip", "application/zip")


def disguise_at_start(head: bytes, name: str) -> str | None:
    """Return what else a file of type *name* that begins with *head* passes for; None: nothing."""
    if not name.startswith(_FAMILIES):
        return None
    if b"%PDF-" in head[:_PDF_BYTES]:
        return "a PDF"
    if _TAGS.search(head):
        return "HTML or PHP"
    at = _COMMENT_AT.get(name)
    if at is not None and head[at : at + 2] in (b"/*", b"//"):
        return "a script"
    return None


def disguise_at_end(fd: int, size_bytes: int, name: str) -> str | None:
    """Return what else the file *fd* of type *name* is for readers that begin at the end.

    Reads at most 64 KB.
    """
    if name.startswith(_MADE_OF_ZIP):
        return None
    begin = max(0, size_bytes - _ZIP_TAIL_BYTES)
    tail = os.pread(fd, size_bytes - begin, begin)
    at = tail.rfind(_ZIP_END)
    while at >= 0:
        if _is_zip_end(fd, tail[at : at + _ZIP_END_BYTES], begin + at):
            return "a zip archive"
        at = tail.rfind(_ZIP_END, 0, at)
    return None


def _is_zip_end(fd: int, record: bytes, offset: int) -> bool:
    """Return whether *record*, at *offset*, ends a zip: the mark alone is found by chance."""
    if len(record) < _ZIP_END_BYTES:
        return False
    entries, directory_bytes = struct.unpack_from("<HI", record, 10)
    # Readers count back from here, so that whatever stands before the archive does not matter.
    start = offset - int(directory_bytes)
    return entries > 0 and start >= 0 and os.pread(fd, 4, start) == _ZIP_ENTRY
