"""The header of a WebP: its chunks, and its frames, counted up to a bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tonnage.images.headers.header import Header
from tonnage.images.headers.reading import MOST_EXIF_BYTES, Reader, orientation_of

_ALPHA: Final = 0x10
_METADATA: Final = frozenset({b"EXIF", b"XMP ", b"ICCP"})


def read_webp(reader: Reader, most_frames: int) -> Header:
    """Return the header; *frames* in it is at most one more than *most_frames*.

    Raises:
        ImageRefusedError: it is damaged, cut off, or has no frame.
    """
    size: tuple[int, int] | None = None
    frames, orientation, metadata_bytes = 0, 1, 0
    has_alpha = False
    for kind, at, size_bytes in _chunks(reader):
        if kind == b"VP8X":
            said = reader.read(at, 10)
            has_alpha = bool(said[0] & _ALPHA)
            size = _three(said, 4) + 1, _three(said, 7) + 1
        elif kind in (b"VP8 ", b"VP8L"):
            frames += 1
            inner, inner_alpha = _bitstream(reader, kind, at)
            has_alpha = has_alpha or inner_alpha
            size = size or inner
        elif kind == b"ANMF":
            frames += 1
        elif kind in _METADATA:
            metadata_bytes += size_bytes
            if kind == b"EXIF":
                orientation = _orientation(reader.read(at, min(size_bytes, MOST_EXIF_BYTES)))
        if frames > most_frames:
            break
    if size is None or frames == 0:
        raise reader.damaged("there is no picture in it")
    return Header(
        format="WEBP",
        width=size[0],
        height=size[1],
        channels=4 if has_alpha else 3,
        frames=frames,
        has_alpha=has_alpha,
        orientation=orientation,
        metadata_bytes=metadata_bytes,
    )


def _chunks(reader: Reader) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, offset and size of each chunk in the container."""
    end = 8 + int.from_bytes(reader.read(4, 4), "little")
    if end > reader.size_bytes:
        raise reader.cut_off()
    at = 12
    while at + 8 <= end:
        reader.count_part()
        said = reader.read(at, 8)
        kind, size_bytes = said[:4], int.from_bytes(said[4:], "little")
        if at + 8 + size_bytes > end:
            raise reader.cut_off()
        yield kind, at + 8, size_bytes
        at += 8 + size_bytes + size_bytes % 2


def _bitstream(reader: Reader, kind: bytes, at: int) -> tuple[tuple[int, int], bool]:
    """Return the size that a still picture's own data say, and whether they may have alpha."""
    if kind == b"VP8L":
        said = reader.read(at, 5)
        if said[0] != 0x2F:
            raise reader.damaged("its data do not begin as they have to")
        bits = int.from_bytes(said[1:5], "little")
        return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), bool(bits >> 28 & 1)
    said = reader.read(at, 10)
    if said[3:6] != b"\x9d\x01\x2a":
        raise reader.damaged("its data do not begin as they have to")
    width, height = int.from_bytes(said[6:8], "little"), int.from_bytes(said[8:10], "little")
    return (width & 0x3FFF, height & 0x3FFF), False


def _orientation(exif: bytes) -> int:
    # Some writers put JPEG's prefix before it.
    return orientation_of(exif.removeprefix(b"Exif\0\0"))


def _three(said: bytes, at: int) -> int:
    return int.from_bytes(said[at : at + 3], "little")
