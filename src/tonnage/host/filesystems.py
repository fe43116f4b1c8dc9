"""On what kind of file system a directory lies, and whether that is memory.

``/tmp`` is a tmpfs on many systems and in many containers, and what is written there is memory: it
counts against the limit, cannot be taken back, and is gone with the container. So the file system
is looked up, through ``/proc/self/mountinfo``. What lies below a file system is seen only for an
overlay whose upper directory is visible here. Without ``/proc`` (macOS), nothing is known.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})
MOUNTINFO: Final = Path("/proc/self/mountinfo")

_ESCAPED = re.compile(r"\\([0-7]{3})")


def in_memory_as(directory: Path, mountinfo: Path = MOUNTINFO) -> str | None:
    """Return the kind of file system in memory that *directory* lies on; None: on none, it seems.

    Such as ``tmpfs``, or ``overlay on tmpfs``.
    """
    kind, options = _found(directory, mountinfo)
    if kind in IN_MEMORY:
        return kind
    if kind == "overlay":
        for option in options.split(","):
            name, _, value = option.partition("=")
            # Outside of this mount namespace, the path may say something else here, or nothing.
            if name == "upperdir" and os.path.isdir(value):
                below, _ = _found(Path(value), mountinfo)
                return f"overlay on {below}" if below in IN_MEMORY else None
    return None


def _found(directory: Path, mountinfo: Path) -> tuple[str | None, str]:
    """Return type and options of the file system of *directory*."""
    path = PurePosixPath(os.path.realpath(directory))
    above = [mount for mount in mounts(mountinfo) if path.is_relative_to(mount.point)]
    # Of several on the same point, the last one hides those before it.
    found = max(reversed(above), key=lambda mount: len(mount.point.parts), default=None)
    return (None, "") if found is None else (found.kind, found.options)


class Mount(NamedTuple):
    """A mounted file system: which of its directories (*root*) is seen at *point*."""

    root: PurePosixPath
    point: PurePosixPath
    kind: str
    options: str


def mounts(mountinfo: Path) -> Iterator[Mount]:
    """Yield what is mounted, in the order in which that was done; nothing where no file says it."""
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        # "36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda1 rw"
        place, _, system = line.partition(" - ")
        fields, (kind, *more) = place.split(" "), system.split(" ")
        if len(fields) > 4 and kind:
            root, point = (PurePosixPath(_unescaped(field)) for field in fields[3:5])
            yield Mount(root, point, kind, more[1] if len(more) > 1 else "")


def _unescaped(field: str) -> str:
    """Undo the kernel's octal escapes: a space in a path is written ``\\040``."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), field)
