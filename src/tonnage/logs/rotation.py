"""A log file that never grows beyond its size, written by several processes at once.

    RotatedFile(Path("logs/app.log"), file_bytes=5 * MIB, files_kept=2).write(lines)

Promises: ``files_kept`` files in all (``app.log``, ``app.log.1``), each of ``file_bytes`` at most
but for a single piece that is larger; no line is lost or torn where several processes write and one
of them rotates, since each does so under a lock on the directory; of what the disk does not take
nothing is left. The directory is made with the first line, and nothing before.

For development: nobody rotates under the feet of a server in production, where the log goes to
stdout.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_MODE: Final = 0o640


class RotatedFile:
    """A file and its predecessors.

    Args:
        path: where lines are appended.
        file_bytes: how large it may become.
        files_kept: how many there are, it included.
    """

    def __init__(self, path: Path, *, file_bytes: int, files_kept: int) -> None:
        self.path: Final = path
        self._file_bytes = file_bytes
        self._files_kept = files_kept
        self._fd: int | None = None
        self._directory: int | None = None

    def write(self, lines: bytes) -> None:
        """Append *lines*.

        Raises:
            OSError: the disk is full, or the directory cannot be written to.
        """
        with self._locked():
            fd = self._current()
            size_bytes = os.fstat(fd).st_size
            if size_bytes and size_bytes + len(lines) > self._file_bytes:
                self._rotate()
                fd = self._current()
            before_bytes = os.fstat(fd).st_size
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[os.write(fd, rest) :]
            except BaseException:
                # The next line would go on where this one broke off.
                os.ftruncate(fd, before_bytes)
                raise

    def close(self) -> None:
        """Close what is open; the next write opens it again."""
        for fd in (self._fd, self._directory):
            if fd is not None:
                os.close(fd)
        self._fd = self._directory = None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The directory's own descriptor: no file for a lock that would be left behind.
        if self._directory is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._directory = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._directory, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._directory, fcntl.LOCK_UN)

    def _current(self) -> int:
        """Return the file of that name, which another process may have rotated meanwhile."""
        if self._fd is not None:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._fd), os.stat(self.path)):
                    return self._fd
            os.close(self._fd)
            self._fd = None
        self._fd = os.open(self.path, _FLAGS, _MODE)
        return self._fd

    def _rotate(self) -> None:
        older = [self.path.with_name(f"{self.path.name}.{n}") for n in range(1, self._files_kept)]
        if not older:
            self.path.unlink()
            return
        for source, target in zip(reversed([self.path, *older[:-1]]), reversed(older), strict=True):
            with suppress(FileNotFoundError):
                source.replace(target)
