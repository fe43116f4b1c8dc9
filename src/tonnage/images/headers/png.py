"""The header of a PNG: its chunks, to the end.

Texts and profiles may be packed: a chunk of 1 KB may hold 1 MB. Pillow unpacks 1 MB of each at
most, and so many are counted. All of the chunks are walked through, for it reads those behind the
picture, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tonnage.images.headers.header import Header
from tonnage.images.headers.reading import MOST_EXIF_BYTES, Reader, orientation_of
from tonnage.units import MIB

#: What Pillow unpacks of one chunk at most (its ``MAX_TEXT_CHUNK``).
_MOST_UNPACKED_BYTES: Final = MIB
_PACKED: Final = frozenset({b"zTXt", b"iTXt", b"iCCP"})
# Of each kind of colour: how many values, and whether one of them is alpha.
_COLOURS: Final = {0: (1, False), 2: (3, False), 3: (1, False), 4: (2, True), 6: (4, True)}
_BITS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE: Final = 3


def read_png(reader: Reader) -> Header:
    """Return the header.

    Raises:
        ImageRefusedError: it is damaged or cut off.
    """
    frames, orientation, metadata_bytes = 1, 1, 0
    first, is_transparent = b"", False
    found: set[bytes] = set()
    for kind, at, size_bytes in _chunks(reader):
        if not first:
            if kind != b"IHDR" or size_bytes != 13:
                raise reader.damaged("it does not begin with its header")
            first = reader.read(at, 13)
        elif kind == b"IHDR":
            raise reader.damaged("it has two headers")
        elif kind == b"acTL" and size_bytes >= 4:
            frames = max(1, int.from_bytes(reader.read(at, 4), "big"))
        elif kind == b"tRNS":
            is_transparent = True
        elif kind == b"eXIf":
            orientation = orientation_of(reader.read(at, min(size_bytes, MOST_EXIF_BYTES)))
        if kind in (b"IDAT", b"PLTE"):
            found.add(kind)
        if kind not in (b"IDAT", b"fdAT"):
            metadata_bytes += size_bytes + (_MOST_UNPACKED_BYTES if kind in _PACKED else 0)
    if b"IDAT" not in found:
        raise reader.damaged("there is no picture in it")
    if first[9] == _PALETTE and b"PLTE" not in found:
        raise reader.damaged("its colours are not in it")
    return _header(reader, first, is_transparent, frames, orientation, metadata_bytes)


def _header(
    reader: Reader,
    said: bytes,
    is_transparent: bool,
    frames: int,
    orientation: int,
    metadata_bytes: int,
) -> Header:
    bits, colour, interlace = said[8], said[9], said[12]
    if bits not in _BITS.get(colour, ()):
        raise reader.damaged("there are no such colours")
    channels, has_alpha = _COLOURS[colour]
    return Header(
        format="PNG",
        width=int.from_bytes(said[0:4], "big"),
        height=int.from_bytes(said[4:8], "big"),
        channels=channels,
        bits=bits,
        frames=frames,
        has_alpha=has_alpha or is_transparent,
        has_palette=colour == _PALETTE,
        is_progressive=interlace == 1,
        orientation=orientation,
        metadata_bytes=metadata_bytes,
    )


def _chunks(reader: Reader) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, offset and size of each chunk before the last, which has to be there."""
    at = 8
    while True:
        reader.count_part()
        said = reader.read(at, 8)
        size_bytes, kind = int.from_bytes(said[:4], "big"), said[4:]
        # A checksum of four bytes follows each.
        if at + 12 + size_bytes > reader.size_bytes:
            raise reader.cut_off()
        if kind == b"IEND":
            return
        yield kind, at + 8, size_bytes
        at += 12 + size_bytes
