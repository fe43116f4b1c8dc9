"""The archive that a kernel unpacks into memory and starts from, in cpio's "newc" format.

Source: the kernel's ``driver-api/early-userspace/buffer-format.rst``.
"""

from __future__ import annotations

import itertools
import stat
from collections.abc import Mapping
from pathlib import PurePosixPath

_TRAILER = "TRAILER!!!"


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of executable files, by absolute path, and the directories they need."""
    directories = {
        str(above) for path in files for above in PurePosixPath(path).parents if str(above) != "/"
    }
    serial = itertools.count(1)
    parts = [_entry(next(serial), path, stat.S_IFDIR | 0o755, b"") for path in sorted(directories)]
    parts += [
        _entry(next(serial), path, stat.S_IFREG | 0o755, data) for path, data in files.items()
    ]
    parts.append(_entry(0, _TRAILER, 0, b""))
    return b"".join(parts)


def _entry(serial: int, path: str, mode: int, data: bytes) -> bytes:
    name = path.lstrip("/").encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor,
    # namesize, check
    fields = (serial, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(data)


def _padded(data: bytes) -> bytes:
    """Return *data* with zeros up to the next multiple of four bytes."""
    return data + bytes(-len(data) % 4)
