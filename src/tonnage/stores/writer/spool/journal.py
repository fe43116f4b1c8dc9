"""Adding records to a journal: whole, on the disk, or not at all.

Promises: when :meth:`Journal.append` returns, all that it was given is on the disk (fdatasync), and
the names of its files are, also where somebody removes files that are in use; when it raises, none
of it is in what will be read back, unless the disk refuses even to be cut off. A file whose fsync
has failed is never written or synced again: the kernel has forgotten by then which of its pages are
not on the disk, and the next fsync would say that all is well. So a new file is begun, and what was
not confirmed counts as not there.

Bounded by the room that :class:`~tonnage.stores.writer.spool.places.Place` has. For one thread.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tonnage.stores.writer.spool import frames
from tonnage.stores.writer.spool.places import segment_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tonnage.stores.writer.spool.files import Files
    from tonnage.stores.writer.spool.places import LockedDirectory, Place


class Segment:
    """One file of a journal.

    Attributes:
        number: its place in the order, from 1.
        end: up to where it is confirmed, in bytes; in a journal of the dead, how long it is.
    """

    __slots__ = ("end", "number")

    def __init__(self, number: int, end: int) -> None:
        self.number = number
        self.end = end


class Journal:
    """What one process adds to.

    Args:
        place: the writer's directory.
        directory: its own.
        files: the file system.
        first_number: its first record's.
    """

    def __init__(
        self,
        place: Place,
        directory: LockedDirectory,
        files: Files,
        *,
        first_number: int,
    ) -> None:
        self._place = place
        self.directory: Final = directory
        self._files = files
        self._fd = -1
        #: Those that are there, the newest last. Whoever reads takes them away at the left.
        self.segments: Final[deque[Segment]] = deque()
        self._next_segment = 1
        self._next_number = first_number

    def append(self, payloads: Sequence[bytes]) -> int:
        """Add *payloads*, of at most a segment's size together; return the bytes they take.

        Raises:
            WriterFullError: the bound is reached; nothing was added.
            FileNotFoundError: somebody has removed or moved the directory; nothing was added.
            OSError: the disk does not take it; nothing was added.
        """
        first = self._next_number
        data = b"".join(frames.frame(first + at, each) for at, each in enumerate(payloads))
        if self._fd < 0 or self._end + len(data) > self._place.segment_bytes:
            self._begin_segment()
        try:
            self._files.write(self._fd, data)
        except Exception:
            self._cut()
            raise
        try:
            self._files.sync(self._fd)
            # What is written to a file without a name is gone with this process.
            self._files.must_be_at(self._fd, self._newest_path)
        except Exception:
            self._cut()
            self.end_segment()
            raise
        self.segments[-1].end = self._end + len(data)
        self._next_number = first + len(payloads)
        return len(data)

    def end_segment(self) -> None:
        """Add nothing more to the newest segment; the next record begins another."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):
                # Some say only now what has failed; what was confirmed is there all the same.
                os.close(fd)

    @property
    def _end(self) -> int:
        return self.segments[-1].end

    @property
    def _newest_path(self) -> Path:
        return segment_path(self.directory.path, self.segments[-1].number)

    def _begin_segment(self) -> None:
        if self._fd >= 0 and len(self.segments) > 1:
            # Its reader is not here yet, and its pages count as this container's memory.
            self._files.forget_pages(self._fd)
        head = frames.head(self.directory.name, self._next_number)
        with self._place.room_for_segment():
            # A number of its own for each attempt: not even the name of a failed one comes again.
            number, self._next_segment = self._next_segment, self._next_segment + 1
            path = segment_path(self.directory.path, number)
            fd = self._files.create(path)
            try:
                self._files.write(fd, head)
                self._files.sync(fd)
            except OSError:
                os.close(fd)
                path.unlink()
                raise
        self.end_segment()
        self._fd = fd
        self.segments.append(Segment(number, len(head)))

    def _cut(self) -> None:
        """Take back what is not confirmed; where that fails, the segment ends."""
        try:
            self._files.truncate(self._fd, self._end)
        except OSError:
            self.end_segment()
