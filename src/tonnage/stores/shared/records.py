"""How what the shared level keeps looks in the file. Pure; times are seconds since 1970.

There are two tables. In the *queue* stand records by their places, which count up, so that the
oldest is first. A record is cut into pieces of which two fit into a page: larger ones would need
pages that lie side by side, and in a file that is full there are none. In the *index* is, for each
digest of a key or of a tag, the place of its record and a *moment*: for a value as of when it was
made, for anything that was forgotten when that was. A moment is the number of a transaction.

A record is a head, what it has of tags, and the value. What a file holds that was written in
another form is not read: the form is part of its name (:data:`FORM`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: To be changed with everything below.
FORM: Final = 1

#: What a record holds: a value that a codec has written, bytes as they are; or that a key, or a
#: tag, was forgotten.
CODED: Final = 0
BYTES: Final = 1
NO_KEY: Final = 2
NO_TAG: Final = 3

DIGEST_BYTES: Final = 16

# The kind, how many tags, when it expires, the moment, and the digest.
_HEAD: Final = struct.Struct(">BxHdQ16s")
# Of each tag the digest, and how many bytes of text follow.
_TAG: Final = struct.Struct(">16sH")
# A place, and which piece of what stands there.
_PIECE: Final = struct.Struct(">QL")
_INDEX: Final = struct.Struct(">QQ")

#: Two pieces fit into a page of 4096 bytes, with what LMDB adds to each.
PIECE_BYTES: Final = 2000
#: The same for any record: what it takes beside tags and value, in both tables, about.
RECORD_BYTES: Final = _HEAD.size + _PIECE.size + DIGEST_BYTES + _INDEX.size + 32

MOST_TAGS: Final = 1000
MOST_TAG_BYTES: Final = 0xFFFF

pack_piece = _PIECE.pack
unpack_piece = _PIECE.unpack
pack_index = _INDEX.pack
unpack_index = _INDEX.unpack


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        kind: :data:`CODED` and so on.
        digest: of its key or tag.
        moment: as of when it was made, or when that was forgotten.
        expires_seconds: until when it is good; infinity: for as long as it stays.
        tags: texts, and the digests of each.
        value: what is kept.
    """

    kind: int
    digest: bytes
    moment: int
    expires_seconds: float = float("inf")
    tags: tuple[tuple[str, bytes], ...] = ()
    value: bytes = b""

    @property
    def is_value(self) -> bool:
        """Whether it is something that can be found."""
        return self.kind in (CODED, BYTES)

    def pack(self) -> bytes:
        """Return it as bytes."""
        head = _HEAD.pack(self.kind, len(self.tags), self.expires_seconds, self.moment, self.digest)
        if not self.tags:
            return head + self.value
        return b"".join((head, *_packed(self.tags), self.value))


def _packed(tags: Sequence[tuple[str, bytes]]) -> list[bytes]:
    found = []
    for text, digest in tags:
        data = text.encode(errors="surrogatepass")
        found += [_TAG.pack(digest, len(data)), data]
    return found


def unpack(data: bytes) -> Record:
    """Return the record that *data* is.

    Raises:
        ValueError: it is none.
    """
    try:
        kind, count, expires_seconds, moment, digest = _HEAD.unpack_from(data)
        at = _HEAD.size
        tags = []
        for _ in range(count):
            tag, length = _TAG.unpack_from(data, at)
            at += _TAG.size
            tags.append((data[at : at + length].decode(errors="surrogatepass"), tag))
            at += length
    except struct.error as error:
        raise ValueError(f"not a record: {error}") from None
    return Record(kind, digest, moment, expires_seconds, tuple(tags), data[at:])
