"""On what kind of file system a directory lies, and whether that is memory.

``/tmp`` is a tmpfs on many systems and in many containers, and what is written there is memory: it
counts against the limit, cannot be taken back, and is gone with the container. So the file system
is looked up, through ``/proc/self/mountinfo``. What lies below a file system is seen only for an
overlay whose upper directory is visible here. Without ``/proc`` (macOS), nothing is known.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

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
    try:
        lines = mountinfo.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None, ""
    path = os.path.realpath(directory)
    found: tuple[str | None, str] = (None, "")
    longest = -1
    for line in lines:
        # "36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda1 rw"
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # A later mount on the same point hides the one before it.
        if len(point) >= longest and _lies_in(path, point):
            after = fields[fields.index("-", 6) + 1 :]
            longest, found = len(point), (after[0], after[2] if len(after) > 2 else "")
    return found


def _lies_in(path: str, point: str) -> bool:
    return path == point or path.startswith(point if point.endswith("/") else f"{point}/")
