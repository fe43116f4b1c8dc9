"""How the walks read: exact pieces, from a file whose size is known, in a bounded number of parts.

Promises: a piece is as long as asked for, or the picture is refused as cut off; nothing is read
that was not asked for.
"""

from __future__ import annotations

import os
from typing import BinaryIO, Final

from tonnage.errors import ImageRefusedError
from tonnage.images import refusals

#: Parts of one file, of which each takes a microsecond or two: a PNG of 20 MB has about 2,500 of
#: them, a GIF one for each 255 bytes.
MOST_PARTS: Final = 200_000
#: Of EXIF, this much is read for the one number that is wanted; JPEG has no more either.
MOST_EXIF_BYTES: Final = 65_536
#: How much is looked through at once.
CHUNK_BYTES: Final = 65_536


class Reader:
    """A file that is walked through.

    Args:
        file: seekable; it is read from its start.
        format: what to call it in refusals.
    """

    __slots__ = ("_file", "_parts", "format", "size_bytes")

    def __init__(self, file: BinaryIO, format: str) -> None:
        self._file = file
        self._parts = 0
        self.format = format
        self.size_bytes = file.seek(0, os.SEEK_END)

    def read(self, at: int, size_bytes: int) -> bytes:
        """Return *size_bytes* from offset *at*.

        Raises:
            ImageRefusedError: they are not there.
        """
        self._file.seek(at)
        data = self._file.read(size_bytes)
        if len(data) < size_bytes:
            raise self.cut_off()
        return data

    def read_some(self, at: int, size_bytes: int) -> bytes:
        """Return at most *size_bytes* from offset *at*; b"" at the end."""
        self._file.seek(at)
        return self._file.read(size_bytes)

    def count_part(self) -> None:
        """Say that a part begins.

        Raises:
            ImageRefusedError: there are too many.
        """
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise refusals.too_large(
                f"the {self.format} file consists of more than {MOST_PARTS} parts",
                maxParts=MOST_PARTS,
            )

    def cut_off(self) -> ImageRefusedError:
        """Return the refusal of a file that ends too early."""
        return refusals.damaged(f"the {self.format} file is cut off: send all of it")

    def damaged(self, what: str) -> ImageRefusedError:
        """Return the refusal of a file in which *what* is wrong."""
        return refusals.damaged(f"the {self.format} file is damaged: {what}")


def orientation_of(exif: bytes) -> int:
    """Return how *exif*, a TIFF directory, wants the picture turned: 1 to 8; 1 where it is silent.

    The first directory alone is looked at, at most 512 entries of it.
    """
    if exif[:2] not in (b"II", b"MM"):
        return 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], "little" if exif[:2] == b"II" else "big")

    start = number(4, 4)
    for index in range(min(number(start, 2), 512)):
        at = start + 2 + 12 * index
        if number(at, 2) == 0x0112:
            value = number(at + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1
