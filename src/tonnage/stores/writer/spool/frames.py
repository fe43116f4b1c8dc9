"""How records lie in a file, and how they are found again in one that is damaged. Pure.

A file begins with a head: magic with the format's version, the journal's id, the number of its
first record, a CRC32. Then come the records, each a frame: a mark, the payload's length and CRC32,
the record's number, the CRC32 of these; the payload.

Promises: a payload comes out as it went in, or not at all. Two checksums, so that a damaged payload
costs one record, and a damaged head of a frame what lies before the next frame that is whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final
from zlib import crc32

#: 15 bytes for what it is, one for the version.
MAGIC: Final = b"tonnage journal\x01"
_HEAD: Final = Struct("<16s20sQI")
HEAD_BYTES: Final = _HEAD.size

_MARK: Final = b"\xb7Rec"
_FRAME: Final = Struct("<4sIIQ")
_CHECK: Final = Struct("<I")
#: What a frame takes beside its payload.
FRAME_BYTES: Final = _FRAME.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class Frame:
    """A record as it lies in a file."""

    number: int
    payload: bytes
    #: Where in the file the next one begins.
    end: int


@dataclass(slots=True)
class Scan:
    """What a piece of a file holds.

    Attributes:
        frames: the whole ones.
        damaged: from where to where nothing could be read, though more follows.
        end: up to where it is known what there is; beyond lies a frame that is not whole yet.
    """

    end: int
    frames: list[Frame] = field(default_factory=list)
    damaged: list[tuple[int, int]] = field(default_factory=list)


def head(journal: str, first_number: int) -> bytes:
    """Return what a file begins with."""
    checked = _HEAD.pack(MAGIC, journal.encode(), first_number, 0)[: -_CHECK.size]
    return checked + _CHECK.pack(crc32(checked))


def is_head(data: bytes, journal: str) -> bool:
    """Return whether *data* is the head of a file of *journal*, in a format known here."""
    if len(data) < HEAD_BYTES or data[: len(MAGIC)] != MAGIC:
        return False
    _, owner, _, checksum = _HEAD.unpack_from(data)
    whole: bool = checksum == crc32(data[: HEAD_BYTES - _CHECK.size])
    return whole and owner.rstrip(b"\0") == journal.encode()


def frame(number: int, payload: bytes) -> bytes:
    """Return the record *number* as it is to be written."""
    fields = _FRAME.pack(_MARK, len(payload), crc32(payload), number)
    return b"".join((fields, _CHECK.pack(crc32(fields)), payload))


def scan(data: bytes, begin: int = 0, *, most: int = 1 << 62) -> Scan:
    """Return what is in *data*, a piece of a file that starts where a frame does.

    Args:
        data: the piece.
        begin: where in the file it begins; what is returned counts from the file's start.
        most: frames that are looked for at most.
    """
    found = Scan(begin)
    at = 0
    while len(found.frames) < most and len(data) - at >= FRAME_BYTES:
        fields = _fields(data, at)
        if fields is None:
            following = _next_frame(data, at + 1)
            if following is None:
                break
            found.damaged.append((begin + at, begin + following))
            at = following
            found.end = begin + at
            continue
        length, checksum, number = fields
        end = at + FRAME_BYTES + length
        if end > len(data):
            break
        payload = data[at + FRAME_BYTES : end]
        if crc32(payload) == checksum:
            found.frames.append(Frame(number, payload, begin + end))
        else:
            found.damaged.append((begin + at, begin + end))
        at = end
        found.end = begin + at
    return found


def wanted_bytes(data: bytes) -> int:
    """Return how long the frame at the start of *data* is; 0: that is no start of a frame."""
    if len(data) < FRAME_BYTES:
        return FRAME_BYTES
    fields = _fields(data, 0)
    return 0 if fields is None else FRAME_BYTES + fields[0]


def _fields(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return length, checksum and number of the frame at *at*; None: there is none."""
    checked = data[at : at + _FRAME.size]
    mark, length, checksum, number = _FRAME.unpack(checked)
    (own_checksum,) = _CHECK.unpack_from(data, at + _FRAME.size)
    if mark != _MARK or own_checksum != crc32(checked):
        return None
    return length, checksum, number


def _next_frame(data: bytes, at: int) -> int | None:
    """Return where after *at* the next frame begins, as far as *data* tells."""
    while (at := data.find(_MARK, at)) >= 0 and len(data) - at >= FRAME_BYTES:
        if _fields(data, at) is not None:
            return at
        at += 1
    return None
