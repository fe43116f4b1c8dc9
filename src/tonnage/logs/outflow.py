"""Lines to a descriptor that other processes share, without waiting for one who does not read.

Promises: a line of up to 4 KB goes out whole or not at all; of a longer one a part can be out
before there is no more room, and the next line then begins on a line of its own. The caller waits
:data:`WAIT_SECONDS` at most, and once no room came in that time not at all, until there is some
again. What found no room is counted.

The descriptor's own flags stay as they are, since they are those of all processes that have it: a
single write is told not to wait (RWF_NOWAIT, for pipes and sockets on today's Linux). Where that is
not known, room is awaited and then used; should another process take it in between, that write
waits.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Callable
from typing import Final

#: A pipe or socket that is read has room again long before.
WAIT_SECONDS: Final = 0.05

#: So much a pipe takes whole, whoever else writes to it (PIPE_BUF of Linux).
WHOLE_BYTES: Final = 4096

_UNKNOWN: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ESPIPE)

#: Makes the line that says how many lines were dropped, and since when (seconds since the epoch).
Notice = Callable[[int, float], bytes]


class Outflow:
    """A descriptor that lines are written to.

    Args:
        fd: the descriptor; it is not closed.
        notice: makes the line that goes before the first one that finds room again.
        wait_seconds: how long a line waits for room.
    """

    def __init__(self, fd: int, notice: Notice, wait_seconds: float = WAIT_SECONDS) -> None:
        self.fd: Final = fd
        self._notice = notice
        self._wait_seconds = wait_seconds
        self._pid = os.getpid()
        # Lines that found no room, and that no notice has told of; and since when.
        self._dropped_lines = 0
        self._dropped_since = 0.0
        self._is_torn = False
        self._never_waits = _never_waits(fd)
        self._knows_nowait = not self._never_waits and hasattr(os, "RWF_NOWAIT")

    def write(self, line: bytes) -> bool:
        """Write *line*, and return whether all of it is out."""
        lines, since = self.take_dropped()
        if not lines:
            return self._put(line, self._wait_seconds) or self._drop(1, time.time())
        # Who has waited in vain does not wait for each line that follows.
        notice = self._notice(lines, since)
        if len(notice) + len(line) <= WHOLE_BYTES:
            # In one piece: where there is room for nothing else, a notice alone says nothing.
            return self._put(notice + line, 0.0) or self._drop(lines + 1, since)
        if not self._put(notice, 0.0):
            return self._drop(lines + 1, since)
        return self._put(line, 0.0) or self._drop(1, time.time())

    def write_waiting(self, lines: bytes) -> None:
        """Write *lines*, however long that takes; for a thread that has nothing else to do.

        Raises:
            OSError: nobody can read them any more.
        """
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(self.fd, rest) :]
            except BlockingIOError:
                # Somebody who shares the descriptor has asked for that.
                self._await_room(None)

    def take_dropped(self) -> tuple[int, float]:
        """Return how many lines were dropped, and since when; whoever asks tells of them."""
        dropped = self._dropped_lines, self._dropped_since
        self._dropped_lines, self._dropped_since = 0, 0.0
        if self._pid != os.getpid():
            # They were dropped by the process that has forked this one, which tells of them.
            self._pid, self._is_torn = os.getpid(), False
            return 0, 0.0
        return dropped

    def _drop(self, lines: int, since: float) -> bool:
        self._dropped_lines, self._dropped_since = lines, since
        return False

    def _put(self, line: bytes, seconds: float) -> bool:
        """Write *line*, waiting so many *seconds* for room; return whether all of it is out."""
        rest = memoryview(b"\n" + line if self._is_torn else line)
        began, is_begun = time.monotonic(), False
        while rest:
            try:
                written = self._write_some(rest)
            except OSError:
                break  # it is closed, or nobody can read it: nowhere to say so
            if written:
                # What has begun is worth the wait.
                rest, is_begun, seconds = rest[written:], True, self._wait_seconds
                continue
            left = began + seconds - time.monotonic()
            if left <= 0 or not self._await_room(left):
                break
        if is_begun:
            self._is_torn = bool(rest)
        return not rest

    def _write_some(self, rest: memoryview) -> int:
        """Write what fits now, and return how much that was.

        Raises:
            OSError: it cannot be written to.
        """
        try:
            if self._never_waits:
                return os.write(self.fd, rest)
            if self._knows_nowait:
                return os.pwritev(self.fd, [rest], -1, os.RWF_NOWAIT)
            # A pipe that has any room has some for so much.
            return os.write(self.fd, rest[:WHOLE_BYTES]) if self._await_room(0.0) else 0
        except BlockingIOError:
            return 0
        except OSError as error:
            if not self._knows_nowait or error.errno not in _UNKNOWN:
                raise
            self._knows_nowait = False
            return self._write_some(rest)

    def _await_room(self, seconds: float | None) -> bool:
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        return bool(poll.poll(None if seconds is None else seconds * 1000))


def _never_waits(fd: int) -> bool:
    """Return whether *fd* is a file: nobody has to read that for it to take more."""
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return True  # it is closed: writing fails at once
