"""Giving a nameless file a name: in one step, never over another file unless asked to.

On the same file system it is linked, which takes microseconds and no copy; on another it is copied
by the kernel to a hidden name first, so that nobody sees half a file. Both block.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from typing import Final

# An unlinked file cannot be linked again (ENOENT), nor one on another file system (EXDEV).
_MUST_COPY: Final = frozenset(
    {errno.EXDEV, errno.ENOENT, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EACCES}
)
_COPY_BYTES: Final = 2**20
_TRIES: Final = 8


def give_name(fd: int, folder: Path, name: str, *, mode: int, overwrite: bool, vary: bool) -> Path:
    """Make the file *fd* be ``folder/name`` and return its path.

    Args:
        fd: the file, open for reading.
        folder: a directory that is there.
        name: one component, already safe.
        mode: the permissions that it gets.
        overwrite: whether it takes the place of a file of that name.
        vary: whether a name that is taken is varied, as in ``photo-5f0c2a1b.jpg``.

    Raises:
        FileExistsError: the name is taken, and neither *overwrite* nor *vary*.
        OSError: there is no such folder, no permission, no room.
    """
    os.fchmod(fd, mode)
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if overwrite:
            hidden = _hidden()
            _place(fd, hidden, folder_fd, mode)
            try:
                os.replace(hidden, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
            except OSError:
                os.unlink(hidden, dir_fd=folder_fd)
                raise
            return folder / name
        for _ in range(_TRIES):
            try:
                _place(fd, name, folder_fd, mode)
                return folder / name
            except FileExistsError:
                if not vary:
                    raise
                taken, name = name, _varied(name)
        raise FileExistsError(errno.EEXIST, "no free name was found", str(folder / taken))
    finally:
        os.close(folder_fd)


def sync_folder(folder: Path) -> None:
    """Wait until the names in *folder* are on the disk.

    Raises:
        OSError: the disk fails.
    """
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def _place(fd: int, name: str, folder_fd: int, mode: int) -> None:
    try:
        # With a directory's descriptor Python calls linkat, which follows the link in /proc.
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder_fd, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _MUST_COPY:
            raise
        _copy(fd, name, folder_fd, mode)


def _copy(fd: int, name: str, folder_fd: int, mode: int) -> None:
    hidden = _hidden()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    copy = os.open(hidden, flags, 0o600, dir_fd=folder_fd)
    try:
        _copy_bytes(fd, copy)
        os.fchmod(copy, mode)
        # The data is on the disk, and out of the page cache, before anybody can see the name.
        os.fsync(copy)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(copy, 0, 0, os.POSIX_FADV_DONTNEED)
        os.link(hidden, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    finally:
        os.close(copy)
        os.unlink(hidden, dir_fd=folder_fd)


def _copy_bytes(source: int, target: int) -> None:
    offset = 0
    while data := os.pread(source, _COPY_BYTES, offset):
        offset += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(target, rest) :]


def _varied(name: str) -> str:
    stem, dot, extension = name.partition(".")
    return f"{stem}-{secrets.token_hex(4)}{dot}{extension}"


def _hidden() -> str:
    return f".{secrets.token_hex(8)}.part"
