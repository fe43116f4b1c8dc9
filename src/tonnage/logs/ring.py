"""The last lines of each process in memory that the supervisor can read: for ``tonnage logs``.

    keep("worker 0")      # at the start of a process: its lines go into the ring of this name
    note(line)            # where a handler writes a line, its secrets masked by then

Promises: a few microseconds a line, no system call, and no lock between processes, since each ring
has one writer at a time; lines of a process that has died stay until they are overwritten, also by
a successor of the same name, which goes on behind them. A child that forks writes into no ring
until it has one of its own.

Bounded: :data:`RING_BYTES` for each name, and :data:`MOST_LINE_BYTES` of each line; pages that were
never written to take no memory. Whoever reads may meet a line that is being overwritten: the tail,
read once more afterwards, and a sum tell (:func:`read`). Where there is no room for a ring there is
none, and nobody is told: stderr has all lines nevertheless.
"""

from __future__ import annotations

import os
import threading
import time
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from tonnage.errors import StoreError
from tonnage.host.commons import share
from tonnage.units import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tonnage.host.commons import Region

#: The lines of one process, with what goes before each.
RING_BYTES: Final = 128 * KIB
#: Of longer lines the beginning is kept; a long traceback has some 8 KB.
MOST_LINE_BYTES: Final = 12 * KIB

# In front of a line: its length in bytes, its sum, its time (since the epoch), its number.
_RECORD: Final = Struct("<IIdQ")
_WORD_BYTES: Final = 8
_HEADER_BYTES: Final = 64
_BODY_BYTES: Final = RING_BYTES - _HEADER_BYTES
# In the place of a length: what follows is at the beginning of the ring.
_SKIP: Final = 2**32 - 1

# The words of the header. Positions count every byte ever written, so they only grow.
_HEAD, _TAIL, _LINES, _PID = range(4)


class Noted(NamedTuple):
    """A line of a ring.

    Attributes:
        time: when it was written, in seconds since the epoch.
        number: how many lines there were in this ring before it.
        end: where the next one begins; what :func:`read` takes as a position.
        line: without its line break.
    """

    time: float
    number: int
    end: int
    line: bytes


class Ring:
    """The writing end: for one process at a time."""

    def __init__(self, region: Region) -> None:
        self._words = region.words
        self._body = region.bytes[_HEADER_BYTES:]
        # Reentrant: a destructor or a signal handler may log while this thread is in write().
        self._lock = threading.RLock()
        self._is_writing = False
        if not _is_sound(self._words):
            self._words[_HEAD] = self._words[_TAIL] = 0
        self._words[_PID] = os.getpid()

    def write(self, line: bytes, now: float) -> None:
        """Write *line*; *now* is in seconds since the epoch."""
        with self._lock:
            if self._is_writing:
                return
            self._is_writing = True
            try:
                self._write(line.rstrip(b"\n")[:MOST_LINE_BYTES], now)
            finally:
                self._is_writing = False

    def _write(self, line: bytes, now: float) -> None:
        words, head = self._words, self._words[_HEAD]
        size_bytes = _size(len(line))
        to_end = _BODY_BYTES - head % _BODY_BYTES
        if to_end < size_bytes:
            # Lines lie in one piece; where no record fits any more, none is looked for.
            self._make_room(head + to_end + size_bytes)
            if to_end >= _RECORD.size:
                _RECORD.pack_into(self._body, head % _BODY_BYTES, _SKIP, 0, 0.0, 0)
            head += to_end
        else:
            self._make_room(head + size_bytes)
        at, number = head % _BODY_BYTES, words[_LINES]
        _RECORD.pack_into(self._body, at, len(line), crc32(line), now, number)
        at += _RECORD.size
        self._body[at : at + len(line)] = line
        words[_LINES] = number + 1
        # Last of all: with that, the line counts.
        words[_HEAD] = head + size_bytes

    def _make_room(self, end: int) -> None:
        """Give up the oldest lines before anything of theirs is overwritten."""
        words = self._words
        tail, head = words[_TAIL], words[_HEAD]
        while end - tail > _BODY_BYTES and tail < head:
            tail = _behind(tail, _length(self._body, tail % _BODY_BYTES, tail))
        words[_TAIL] = min(tail, head)


def read(region: Region, position: int = 0, *, number: int = 0) -> Iterator[Noted]:
    """Yield the lines in *region* from *position* on, oldest first, those that are whole.

    They are those at the time when the first is asked for: all are copied then, and each is looked
    at when it is asked for.

    Args:
        region: a ring's.
        position: the ``end`` of the last line that was read; 0: from the oldest one on. What was
            overwritten since is left out, which the numbers tell.
        number: that of the first line that is wanted.
    """
    words, body = region.words, region.bytes[_HEADER_BYTES:]
    head = words[_HEAD]
    if not _is_sound(words):
        return
    begin = max(position if position <= head else 0, words[_TAIL])
    copied = _copied(body, begin, head)
    # What the writer has given up since may have been overwritten while it was copied.
    at = begin = max(begin, words[_TAIL])
    offset = head - len(copied)
    while at < head:
        place = at - offset
        length = _length(copied, place, at)
        after = _behind(at, length)
        if length != _SKIP:
            if after > head:
                break
            _, total, moment, count = _RECORD.unpack_from(copied, place)
            if count >= number:
                line = copied[place + _RECORD.size : place + _RECORD.size + length]
                if crc32(line) != total:
                    break
                yield Noted(moment, count, after, line)
        at = after


def lines_ever(region: Region) -> int:
    """Return how many lines were written into *region*."""
    return region.words[_LINES]


def _copied(body: memoryview, begin: int, head: int) -> bytes:
    """Return the bytes from the position *begin* to *head*, in order."""
    if begin >= head:
        return b""
    first, last = begin % _BODY_BYTES, head % _BODY_BYTES
    if head - begin < _BODY_BYTES and first < last:
        return bytes(body[first:last])
    return bytes(body[first:]) + bytes(body[:last])


def _is_sound(words: memoryview) -> bool:
    """Return whether positions can be right: a process that crashed may have written anything."""
    return bool(words[_TAIL] <= words[_HEAD] <= words[_TAIL] + _BODY_BYTES)


def _length(records: memoryview | bytes, place: int, position: int) -> int:
    """Return the length of the line at *position*, which is at *place* in *records*."""
    if _BODY_BYTES - position % _BODY_BYTES < _RECORD.size:
        return _SKIP
    return int.from_bytes(records[place : place + 4], "little")


def _behind(position: int, length: int) -> int:
    """Return the position behind the record at *position*, whose line has *length*."""
    if length == _SKIP:
        return position + _BODY_BYTES - position % _BODY_BYTES
    return position + _size(length)


def _size(line_bytes: int) -> int:
    """Return what a line of *line_bytes* takes, up to the next whole word."""
    return -(-(_RECORD.size + line_bytes) // _WORD_BYTES) * _WORD_BYTES


# The ring of this process.

_ring: Ring | None = None


def region_of(name: str) -> Region:
    """Return the pages of the ring called *name*.

    Raises:
        StoreError: there is no room for it.
    """
    return share(f"lines of {name}", RING_BYTES)


def keep(*names: str) -> None:
    """Keep this process's lines from now on, in the first ring of *names* that no other writes.

    The last of them is taken in any case: a number may be another process's by now.
    """
    global _ring  # one for a process
    _ring = None
    try:
        regions = [region_of(name) for name in names]
    except StoreError:
        return
    free = [region for region in regions if not _is_written(region.words[_PID])]
    _ring = Ring((free or regions[-1:])[0])


def note(line: bytes) -> None:
    """Note *line*, where this process has a ring."""
    if _ring is not None:
        _ring.write(line, time.time())


def _is_written(pid: int) -> bool:
    """Return whether another process *pid* is there that writes."""
    if pid in (0, os.getpid()):
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _forget() -> None:
    global _ring
    _ring = None


os.register_at_fork(after_in_child=_forget)
