"""One file without a name: it is gone when it is closed, however the process ends.

Made with ``O_TMPFILE`` where the file system can; elsewhere it is created and unlinked at once.
Other code opens it through ``/proc/PID/fd/N``. ``moving`` gives it a name.

What was written waits in the page cache, which counts as the container's memory. So after each
``flush_bytes`` it is written out and dropped there; a file smaller than that never reaches the disk
unless it is kept: the kernel forgets it with the last handle. Blocks: not for an event loop.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Final

from tonnage.web.path.uploads.errors import UploadDiskError

# What file systems say that have no nameless files (overlayfs before Linux 6.3, NFS).
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
# Only this user may read what has arrived.
_MODE: Final = 0o600
# No other system has it, nor the links in /proc, nor this advice.
_ON_LINUX: Final = hasattr(os, "O_TMPFILE")


class SpoolFile:
    """An open file on disk without a name. Not for two threads at once."""

    __slots__ = ("_fd", "_flush_bytes", "_unflushed_bytes", "size_bytes")

    def __init__(self, directory: Path, *, flush_bytes: int) -> None:
        """Make it in *directory*.

        Raises:
            UploadDiskError: that cannot be done.
        """
        self.size_bytes = 0
        self._flush_bytes = flush_bytes
        self._unflushed_bytes = 0
        try:
            self._fd = _open_nameless(directory)
        except OSError as error:
            raise disk_error(error) from error

    @property
    def is_open(self) -> bool:
        """Whether the file is still there."""
        return self._fd >= 0

    def fileno(self) -> int:
        """Return the descriptor.

        Raises:
            ValueError: it is closed.
        """
        if self._fd < 0:
            raise ValueError("this upload is over: its file is there inside the block only")
        return self._fd

    @property
    def path(self) -> Path:
        """Where this process and its children can open the file, as long as it is open here."""
        if _ON_LINUX:
            return Path(f"/proc/{os.getpid()}/fd/{self.fileno()}")
        return Path(f"/dev/fd/{self.fileno()}")

    def write(self, data: memoryview) -> None:
        """Append *data*.

        Raises:
            UploadDiskError: the disk is full, or fails.
        """
        try:
            self.size_bytes += len(data)
            self._unflushed_bytes += len(data)
            while data:
                data = data[os.write(self._fd, data) :]
            if self._unflushed_bytes >= self._flush_bytes:
                self.flush()
        except OSError as error:
            raise disk_error(error) from error

    def flush(self) -> None:
        """Wait until all of it is on the disk, and take it out of the page cache.

        Raises:
            OSError: the disk is full, or fails.
        """
        os.fsync(self._fd)
        self._unflushed_bytes = 0
        if _ON_LINUX:
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Let the file go; unless it has been given a name, it is no more. Any number of times."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def disk_error(error: OSError) -> UploadDiskError:
    """Return what to answer when the disk said *error*."""
    if is_full(error):
        return UploadDiskError("there is no room left on the disk for uploads; try again later")
    return UploadDiskError(f"the upload could not be kept: {os.strerror(error.errno or 0)}")


def is_full(error: OSError) -> bool:
    """Return whether *error* says that there is no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _open_nameless(directory: Path) -> int:
    if _ON_LINUX:
        try:
            return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, _MODE)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
    fd, name = tempfile.mkstemp(prefix=".tonnage-upload-", dir=directory)
    # A process that dies between these two lines leaves an empty file.
    os.unlink(name)
    return fd
