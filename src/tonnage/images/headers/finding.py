"""Which format a file has, by its first bytes; what it is called does not matter."""

from __future__ import annotations

from typing import BinaryIO, Final

from tonnage.images import refusals
from tonnage.images.headers.gif import read_gif
from tonnage.images.headers.header import Header
from tonnage.images.headers.jpeg import read_jpeg
from tonnage.images.headers.png import read_png
from tonnage.images.headers.reading import Reader
from tonnage.images.headers.webp import read_webp

# What is well known and not taken, and what it begins with, behind so many bytes.
_OTHERS: Final = (
    (4, (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheim", b"ftypmsf1"), "HEIC"),
    (4, (b"ftypavif", b"ftypavis"), "AVIF"),
    (0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
    (0, (b"BM",), "BMP"),
    (0, (b"\0\0\1\0",), "ICO"),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL "), "JPEG XL"),
    (0, (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), "JPEG 2000"),
    (0, (b"%PDF",), "PDF"),
)
_HEAD_BYTES: Final = 16


def read_header(file: BinaryIO, *, most_frames: int) -> Header:
    """Return what *file* says of itself; frames are counted up to one more than *most_frames*.

    Raises:
        ImageRefusedError: it is no picture, of another format, damaged or cut off.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    header = _read(file, head, most_frames)
    if header.pixels == 0:
        raise refusals.damaged(f"the {header.name} file is damaged: it has no pixels")
    return header


def _read(file: BinaryIO, head: bytes, most_frames: int) -> Header:
    if head.startswith(b"\xff\xd8\xff"):
        return read_jpeg(Reader(file, "JPEG"))
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return read_png(Reader(file, "PNG"))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return read_webp(Reader(file, "WebP"), most_frames)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return read_gif(Reader(file, "GIF"), most_frames)
    raise refusals.not_taken(_why_not(head))


def _why_not(head: bytes) -> str:
    taken = "send a JPEG, PNG, WebP or GIF"
    if not head:
        return f"the file is empty: {taken}"
    for at, beginnings, name in _OTHERS:
        if head.startswith(beginnings, at):
            return f"{name} is not taken: {taken}"
    return f"the file is no picture that is known here: {taken}"
