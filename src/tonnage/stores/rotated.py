"""A file that many processes append to; when it is large, the next one is begun.

    file = RotatedFile(path, file_bytes=16 * MIB, files_kept=5)
    file.append(b"a line\n")

Promises: what is appended at once is written whole or not at all, also where the disk is full. All
who append to the same file take turns, other servers on the same disk too. ``NAME`` is the newest,
``NAME.1`` the one before it, and so on up to *files_kept*; older ones go.

Bounded: *files_kept* and one files, each of *file_bytes* or, where that is more, of what was
appended at once. Blocks; holds nothing open in between.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class RotatedFile:
    """The file, and those before it.

    Args:
        path: of the newest.
        file_bytes: how large a file gets.
        files_kept: how many full ones there are beside the newest.
        mode: who may read and write them.
        fsync: whether to wait for the disk.
    """

    def __init__(
        self, path: Path, *, file_bytes: int, files_kept: int, mode: int, fsync: bool = False
    ) -> None:
        self.path = path
        self._file_bytes = file_bytes
        self._files_kept = files_kept
        self._mode = mode
        self._fsync = fsync

    def append(self, data: bytes) -> None:
        """Append all of *data*.

        Raises:
            FileNotFoundError: its directory is not there.
            OSError: the disk does not take it; nothing of it is left there.
        """
        fd = self._open(len(data))
        try:
            before_bytes = os.fstat(fd).st_size
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(fd, rest) :]
                if self._fsync:
                    os.fsync(fd)
                    if not before_bytes:
                        _sync_directory(self.path.parent)
            except BaseException:
                os.ftruncate(fd, before_bytes)
                raise
        finally:
            os.close(fd)  # which unlocks it

    def _open(self, count_bytes: int) -> int:
        """Return the newest file, locked, with room for so many bytes."""
        while True:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            fd = os.open(self.path, flags, self._mode)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                found = os.fstat(fd)
                # Somebody else may have begun the next one while this one waited.
                if self._is_newest(found):
                    if not found.st_size or found.st_size + count_bytes <= self._file_bytes:
                        return fd
                    self._rotate()
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _is_newest(self, found: os.stat_result) -> bool:
        try:
            return os.path.samestat(found, os.stat(self.path))
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        """Give each file the number of the one before it; called with the newest one locked."""
        for number in range(self._files_kept, 0, -1):
            newer = self._numbered(number - 1)
            if newer.exists():
                os.replace(newer, self._numbered(number))
        if not self._files_kept:
            self.path.unlink()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
