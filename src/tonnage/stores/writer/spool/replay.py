"""Reading a journal back: oldest first, in pieces of bounded size.

Promises: each record that was added comes, in order, until it is said to be delivered; so it comes
again after a crash in between. Record ids are the same each time. A file is removed when all of it
is delivered. What cannot be read is logged, kept aside (:meth:`Place.set_aside`), and the rest goes
on: a tail that a crash has torn off was never confirmed to anybody.

Bounded: one piece of a file at a time, of a :data:`PART`-th of the memory that may be used, since
records take more as objects. For one thread.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import RecordsRejectedError
from tonnage.stores.sinks.sink import Batch
from tonnage.stores.writer.spool import frames
from tonnage.stores.writer.spool.payload import decode
from tonnage.stores.writer.spool.places import segment_path
from tonnage.stores.writer.spool.position import PositionFile

if TYPE_CHECKING:
    from collections import deque

    from tonnage.stores.writer.spool.journal import Segment
    from tonnage.stores.writer.spool.places import LockedDirectory, Place

logger = logging.getLogger("tonnage.stores")

#: Records take up to so many times their bytes in a file: dicts of many small numbers do.
PART: Final = 12


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records of a journal that are to be delivered together.

    Attributes:
        batch: the records, with their ids.
        last_number: the last one's in the journal.
        segment: the file they are from.
        end: up to where in the file.
        size_bytes: what they take there.
        replay: where they were read.
    """

    batch: Batch
    last_number: int
    segment: int
    end: int
    size_bytes: int
    replay: Replay


class Replay:
    """One journal, as it is read.

    Args:
        place: the writer's directory.
        directory: the journal's.
        segments: its files in order; whoever adds to the journal adds here too.
        is_live: whether more will be added.
    """

    def __init__(
        self, place: Place, directory: LockedDirectory, segments: deque[Segment], *, is_live: bool
    ) -> None:
        self._place = place
        self.directory: Final = directory
        self._segments = segments
        self.is_live = is_live
        self._position = PositionFile(directory.path)
        self._segment, self._offset = self._position.read()
        # The file that is being read.
        self._fd, self._fd_segment = -1, 0
        self._failed_to_remember = False
        while segments and segments[0].number < self._segment:
            self._remove_first()

    def read(self, most_records: int, most_bytes: int) -> Chunk | None:
        """Return the oldest records that are not delivered; None: there are none now.

        Args:
            most_records: how many at most.
            most_bytes: of memory, for all of them.

        Raises:
            OSError: the disk does not give them.
        """
        while self._segments:
            segment = self._segments[0]
            if segment.number != self._segment:
                self._segment, self._offset = segment.number, 0
            chunk = self._read_from(segment, most_records, most_bytes)
            if chunk is not None:
                return chunk
            if self.is_live and len(self._segments) == 1:
                return None
            self._remove_first()
        return None

    def delivered(self, chunk: Chunk) -> None:
        """Never give out *chunk* again."""
        self._offset = chunk.end
        try:
            self._position.write(chunk.segment, chunk.end)
        except OSError as error:
            if not self._failed_to_remember:
                self._failed_to_remember = True
                logger.warning(
                    "how far %s is delivered cannot be written down (%s): after a crash, records"
                    " come twice", self.directory.path, error.strerror,
                )  # fmt: skip
        first = self._segments[0]
        if first.end == chunk.end and (len(self._segments) > 1 or not self.is_live):
            self._remove_first()

    def is_exhausted(self) -> bool:
        """Return whether all that is there now was delivered."""
        if len(self._segments) != 1:
            return not self._segments
        first = self._segments[0]
        offset = self._offset if first.number == self._segment else frames.HEAD_BYTES
        return offset >= first.end

    @property
    def left_bytes(self) -> int:
        """What is not delivered, in bytes."""
        sizes = {each.number: each.end - frames.HEAD_BYTES for each in self._segments}
        done = self._offset - frames.HEAD_BYTES if self._segment in sizes else 0
        return sum(sizes.values()) - max(0, done)

    def close(self) -> None:
        """Let go of the files; what is empty is removed."""
        self._close_file()
        self._position.close()
        if self.is_exhausted():
            while self._segments:
                self._remove_first()
        self.directory.remove()

    def _read_from(self, segment: Segment, most_records: int, most_bytes: int) -> Chunk | None:
        """Return the next records of *segment*; None: it has no more."""
        fd = self._open(segment)
        if fd < 0:
            return None
        if self._offset == 0 and not self._check_head(fd, segment):
            return None
        while self._offset < segment.end:
            wanted = max(most_bytes // PART, frames.FRAME_BYTES)
            data = self._pread(fd, wanted, segment.end)
            if (whole := frames.wanted_bytes(data)) > len(data):
                # A record that is larger than a piece should be: it comes alone.
                data = self._pread(fd, whole, segment.end)
            found = frames.scan(data, self._offset, most=most_records)
            for begin, end in found.damaged:
                self._set_aside(segment, begin, end, "is damaged and skipped")
            records, ids = self._decoded(found.frames, segment)
            if records:
                size_bytes = found.end - self._offset
                last = found.frames[-1].number
                batch = Batch(records, ids)
                return Chunk(batch, last, segment.number, found.end, size_bytes, self)
            if found.end > self._offset:
                self._offset = found.end  # nothing but damage
            elif self._offset + len(data) >= segment.end:
                self._set_aside(segment, self._offset, segment.end, "was never finished")
                self._offset = segment.end
            else:
                # No frame begins in all of this piece, but for one that may reach beyond it.
                end = self._offset + len(data) - frames.FRAME_BYTES + 1
                self._set_aside(segment, self._offset, end, "is damaged and skipped")
                self._offset = end
        return None

    def _decoded(
        self, found: list[frames.Frame], segment: Segment
    ) -> tuple[list[dict[str, Any]], list[str]]:
        records, ids = [], []
        for each in found:
            try:
                records.append(decode(each.payload))
            except RecordsRejectedError as error:
                begin = each.end - len(each.payload) - frames.FRAME_BYTES
                self._set_aside(segment, begin, each.end, f"is skipped: {error}")
            else:
                ids.append(f"{self.directory.name}-{each.number:x}")
        return records, ids

    def _pread(self, fd: int, count: int, end: int) -> bytes:
        return os.pread(fd, min(count, end - self._offset), self._offset)

    def _check_head(self, fd: int, segment: Segment) -> bool:
        if frames.is_head(os.pread(fd, frames.HEAD_BYTES, 0), self.directory.name):
            self._offset = frames.HEAD_BYTES
            return True
        if segment.end > frames.HEAD_BYTES:
            self._set_aside(segment, 0, segment.end, "is none of a format known here")
        return False  # a crash came before the first record

    def _set_aside(self, segment: Segment, begin: int, end: int, why: str) -> None:
        path = segment_path(self.directory.path, segment.number)
        kept = self._place.set_aside(path, begin, end)
        logger.warning(
            "spool: what is in %s from byte %d to %d %s; %s", path, begin, end, why,
            f"it is kept in {kept}" if kept else "it could not be kept",
        )  # fmt: skip

    def _open(self, segment: Segment) -> int:
        if self._fd_segment != segment.number:
            self._close_file()
            path = segment_path(self.directory.path, segment.number)
            try:
                self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                logger.warning("spool: %s is gone, with the records that were in it", path)
                return -1
            self._fd_segment = segment.number
        return self._fd

    def _remove_first(self) -> None:
        segment = self._segments.popleft()
        if segment.number == self._fd_segment:
            self._close_file()
        segment_path(self.directory.path, segment.number).unlink(missing_ok=True)

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._fd_segment = -1, 0
