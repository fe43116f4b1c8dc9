"""What a journal asks of a file system, apart so that tests can have it fail.

Blocks: for the disk's thread only. Knows nothing of what is written.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# Only the user whose process it is may read what users have sent.
FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700

# macOS has none.
_sync_data = getattr(os, "fdatasync", os.fsync)


class Files:
    """The file system. Each method raises the OSError that it meets."""

    def create(self, path: Path) -> int:
        """Return the descriptor of the new file *path*, of which a crash keeps the name."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(path, flags, FILE_MODE)
        try:
            self.sync_directory(path.parent)
        except OSError:
            os.close(fd)
            os.unlink(path)
            raise
        return fd

    def write(self, fd: int, data: bytes) -> None:
        """Append all of *data*; part of it may be there when it fails."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]

    def sync(self, fd: int) -> None:
        """Return when what was written is on the disk."""
        _sync_data(fd)

    def must_be_at(self, fd: int, path: Path) -> None:
        """Do nothing if *path* is the file's name still.

        Raises:
            FileNotFoundError: somebody has removed or moved it.
        """
        if not os.path.samestat(os.fstat(fd), os.stat(path)):
            raise FileNotFoundError(errno.ENOENT, "it was replaced by another", str(path))

    def truncate(self, fd: int, size_bytes: int) -> None:
        """Cut the file off there."""
        os.ftruncate(fd, size_bytes)

    def sync_directory(self, path: Path) -> None:
        """Return when the names in *path* are on the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def forget_pages(self, fd: int) -> None:
        """Let the kernel drop what it caches of the file, which counts as this container's."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


FILES: Final = Files()


def is_full(error: OSError) -> bool:
    """Return whether *error* says that there is no room: something that may pass."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
