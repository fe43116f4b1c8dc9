"""The header of a JPEG: its markers up to the first scan, how many scans there are, and its end.

A decoder that gets a picture in more scans than one has to hold all of its coefficients, and goes
through all of them for each scan. So scans are counted where there are several: a file of 2 MB can
hold tens of thousands, which is minutes of work for a picture of the permitted size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tonnage.images import refusals
from tonnage.images.headers.header import Header, Plane
from tonnage.images.headers.reading import CHUNK_BYTES, Reader, orientation_of

#: Progressive files have about 10; a preview and a depth map behind the picture a few more.
MOST_SCANS: Final = 100

# Frames: baseline, extended and progressive, all with Huffman codes. No browser reads the others.
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
_OTHER_FRAMES: Final = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_PROGRESSIVE: Final = 0xC2
_SCAN: Final = 0xDA
_END: Final = 0xD9
_EXIF: Final = 0xE1
_COMMENT: Final = 0xFE
# Markers without anything behind them.
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})


def read_jpeg(reader: Reader) -> Header:
    """Return the header.

    Raises:
        ImageRefusedError: it is damaged, cut off, of a rare kind, or has too many scans.
    """
    frame: tuple[int, bytes] | None = None
    orientation, metadata_bytes = 1, 0
    for marker, at, size_bytes in _segments(reader):
        if marker in _FRAMES:
            if frame is not None:
                raise reader.damaged("it has two frames")
            frame = marker, reader.read(at, size_bytes)
        elif marker in _OTHER_FRAMES:
            raise refusals.not_taken("the JPEG is of a rare kind: save it as a usual one")
        elif 0xE0 <= marker <= 0xEF or marker == _COMMENT:
            metadata_bytes += size_bytes
            if marker == _EXIF and orientation == 1:
                orientation = _orientation(reader, at, size_bytes)
        elif marker == _SCAN:
            if frame is None:
                break
            components = reader.read(at, 1)[0]
            header = _header(reader, frame, components, at, orientation, metadata_bytes)
            _find_end(reader, at)
            return header
    raise reader.damaged("there is no picture in it")


def _header(
    reader: Reader,
    frame: tuple[int, bytes],
    components_in_scan: int,
    at: int,
    orientation: int,
    metadata_bytes: int,
) -> Header:
    marker, said = frame
    if len(said) < 6 or len(said) < 6 + 3 * said[5]:
        raise reader.damaged("its frame is too short")
    channels = said[5]
    if said[0] != 8:
        raise refusals.not_taken(f"the JPEG has {said[0]} bits a colour: save it with 8")
    if channels not in (1, 3, 4):
        raise refusals.not_taken(f"the JPEG has {channels} components: save it with 1, 3 or 4")
    factors = said[7 : 6 + 3 * channels : 3]
    planes = tuple(Plane(each >> 4, each & 15) for each in factors)
    if not all(1 <= plane.horizontal <= 4 and 1 <= plane.vertical <= 4 for plane in planes):
        raise reader.damaged("its components make no sense")
    is_progressive = marker == _PROGRESSIVE
    is_held_whole = is_progressive or components_in_scan < channels
    if is_held_whole:
        _count_scans(reader, at)
    return Header(
        format="JPEG",
        width=int.from_bytes(said[3:5], "big"),
        height=int.from_bytes(said[1:3], "big"),
        channels=channels,
        is_progressive=is_progressive,
        is_held_whole=is_held_whole,
        planes=planes,
        orientation=orientation,
        metadata_bytes=metadata_bytes,
    )


def _segments(reader: Reader) -> Iterator[tuple[int, int, int]]:
    """Yield marker, offset and size of each segment; none is to be asked for behind a scan."""
    at = 2
    while True:
        reader.count_part()
        first, marker = reader.read(at, 2)
        if first != 0xFF:
            raise reader.damaged("there is no marker where one has to be")
        if marker == 0xFF:  # a filler
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker == _END:
            return
        else:
            size_bytes = int.from_bytes(reader.read(at + 2, 2), "big") - 2
            if size_bytes < 0:
                raise reader.damaged("a segment is shorter than nothing")
            yield marker, at + 4, size_bytes
            at += 4 + size_bytes


def _orientation(reader: Reader, at: int, size_bytes: int) -> int:
    said = reader.read(at, size_bytes)
    return orientation_of(said[6:]) if said[:6] == b"Exif\0\0" else 1


def _count_scans(reader: Reader, at: int) -> None:
    """Refuse a file with too many scans behind *at*; in between, FF is never followed by DA."""
    scans, last = 1, b""
    while chunk := reader.read_some(at, CHUNK_BYTES):
        at += len(chunk)
        scans += (last + chunk).count(b"\xff\xda")
        last = chunk[-1:]
        if scans > MOST_SCANS:
            raise refusals.too_large(
                f"the JPEG comes in more than {MOST_SCANS} scans: save it anew",
                maxScans=MOST_SCANS,
            )


def _find_end(reader: Reader, at: int) -> None:
    """Refuse a file without an end behind *at*; in what is encoded, FF is never followed by D9.

    Looked for from behind: mostly it is the last thing in the file. What follows it does no harm.
    """
    end = reader.size_bytes
    while end > at:
        begin = max(at, end - CHUNK_BYTES)
        # With one byte of the piece behind it, in case that it lies in both.
        if b"\xff\xd9" in reader.read_some(begin, end - begin + 1):
            return
        end = begin
    raise reader.cut_off()
