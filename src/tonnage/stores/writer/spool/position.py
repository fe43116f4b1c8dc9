"""How far a journal is delivered: one small file, overwritten in place.

In place and not by a rename, since that needs room on the disk, and to deliver is what makes room
where there is none. A process that is killed leaves the old text or the new one. After a power cut
it may be neither; then, as where the file is missing, delivery starts over with what is there:
records come twice, with the same ids, and none is lost. So it is not synced either.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from zlib import crc32

from tonnage.stores.writer.spool.files import FILE_MODE

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "delivered"


class PositionFile:
    """Segment and offset up to where a sink has the records."""

    def __init__(self, journal: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(journal / NAME, flags, FILE_MODE)
        if not os.fstat(self._fd).st_size:
            with suppress(OSError):
                # So that its room is there before the disk is full.
                self.write(0, 0)

    def read(self) -> tuple[int, int]:
        """Return segment and offset; zeros where nothing sensible is written."""
        words = os.pread(self._fd, 100, 0).split()
        if len(words) == 3 and words[2] == _checksum(words[0], words[1]):
            return int(words[0]), int(words[1])
        return 0, 0

    def write(self, segment: int, offset: int) -> None:
        """Remember both.

        Raises:
            OSError: the disk does not take it.
        """
        # Always as long, so that nothing of what was there before is left.
        first, second = b"%012d" % segment, b"%012d" % offset
        os.pwrite(self._fd, b"%s %s %s\n" % (first, second, _checksum(first, second)), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def _checksum(first: bytes, second: bytes) -> bytes:
    return b"%08x" % crc32(first + b" " + second)
