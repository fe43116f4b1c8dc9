"""The header of a GIF: its screen, and its frames, counted up to a bound."""

from __future__ import annotations

from typing import Final

from tonnage.images.headers.header import Header
from tonnage.images.headers.reading import Reader

_TRANSPARENT: Final = 0x01
_INTERLACED: Final = 0x40
_TABLE: Final = 0x80
_CONTROL: Final = 0xF9
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def read_gif(reader: Reader, most_frames: int) -> Header:
    """Return the header; *frames* in it is at most one more than *most_frames*.

    Raises:
        ImageRefusedError: it is damaged, cut off, or has no frame.
    """
    screen = reader.read(6, 7)
    width, height = _two(screen, 0), _two(screen, 2)
    at = 13 + _table_bytes(screen[4])
    frames, metadata_bytes, is_transparent, is_interlaced = 0, 0, False, False
    while frames <= most_frames:
        reader.count_part()
        block = reader.read(at, 1)[0]
        if block == _TRAILER:
            break
        if block == _EXTENSION:
            label = reader.read(at + 1, 1)[0]
            if label == _CONTROL and frames == 0:
                is_transparent = bool(reader.read(at + 3, 1)[0] & _TRANSPARENT)
            begin, at = at, _after_blocks(reader, at + 2)
            metadata_bytes += at - begin
        elif block == _IMAGE:
            said = reader.read(at + 1, 9)
            if frames == 0:
                # It may lie beyond the screen; decoders make room for it.
                width = max(width, _two(said, 0) + _two(said, 4))
                height = max(height, _two(said, 2) + _two(said, 6))
                is_interlaced = bool(said[8] & _INTERLACED)
            frames += 1
            at = _after_blocks(reader, at + 10 + _table_bytes(said[8]) + 1)
        else:
            raise reader.damaged("a block is of no known kind")
    if frames == 0:
        raise reader.damaged("there is no picture in it")
    return Header(
        format="GIF",
        width=width,
        height=height,
        channels=1,
        frames=frames,
        has_alpha=is_transparent,
        has_palette=True,
        is_progressive=is_interlaced,
        metadata_bytes=metadata_bytes,
    )


def _two(said: bytes, at: int) -> int:
    return int.from_bytes(said[at : at + 2], "little")


def _table_bytes(flags: int) -> int:
    """Return how long the table of colours is that *flags* announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & _TABLE else 0


def _after_blocks(reader: Reader, at: int) -> int:
    """Return where the blocks that begin at *at* end; each has 255 bytes at most, the last none."""
    while True:
        reader.count_part()
        size_bytes = reader.read(at, 1)[0]
        at += 1 + size_bytes
        if size_bytes == 0:
            return at
