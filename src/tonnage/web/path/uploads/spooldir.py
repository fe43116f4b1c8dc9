"""Where uploads are kept while they arrive: a directory on a disk, not in memory.

``/tmp`` is a tmpfs on many systems and in many containers, and what is written there is memory: it
counts against the limit and cannot be taken back. So the file system is looked up, through
``/proc/self/mountinfo``. What lies below a file system is not seen: an overlay whose upper layer is
a tmpfs passes. Where there is no ``/proc`` (macOS), nothing is known and everything passes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tonnage.errors import ConfigError

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})
_DEFAULTS: Final = ("/tmp", "/var/tmp")  # where a disk may be; nothing is created there by name
_ESCAPED = re.compile(r"\\([0-7]{3})")


def find_directory(
    wanted: str | os.PathLike[str] | None,
    *,
    in_memory: bool = False,
    mountinfo: Path = Path("/proc/self/mountinfo"),
    defaults: Iterable[str] | None = None,
) -> Path:
    """Return the directory to keep uploads in.

    Args:
        wanted: the directory that was asked for; None takes the first of ``$TMPDIR``, ``/tmp`` and
            ``/var/tmp`` that is on a disk.
        in_memory: whether a directory in memory will do.
        mountinfo: the kernel's list of mounts.
        defaults: what is tried without *wanted*.

    Raises:
        ConfigError: it does not exist, cannot be written, or is in memory.
    """
    if wanted is not None:
        directory = Path(wanted)
        if why := _why_not(directory):
            raise ConfigError(f"uploads cannot be kept in {directory}: {why}")
        kind = file_system_of(directory, mountinfo)
        if kind in _IN_MEMORY and not in_memory:
            raise ConfigError(
                f"uploads would be kept in memory: {directory} is a {kind}; {_ADVICE}"
            )
        return directory
    if defaults is None:
        defaults = (os.environ.get("TMPDIR") or _DEFAULTS[0], *_DEFAULTS)
    usable = [path for path in map(Path, defaults) if not _why_not(path)]
    for path in usable:
        if file_system_of(path, mountinfo) not in _IN_MEMORY:
            return path
    if usable and in_memory:
        return usable[0]
    looked_at = " and ".join(dict.fromkeys(map(str, defaults)))
    if usable:
        raise ConfigError(f"uploads would be kept in memory: {looked_at} are tmpfs; {_ADVICE}")
    raise ConfigError(f"uploads cannot be kept: {looked_at} cannot be written; {_ADVICE}")


_ADVICE: Final = (
    "name a directory on a disk with directory=..., or say in_memory=True if that is meant"
)


def is_in_memory(directory: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """Return whether what is written to *directory* is memory, as far as can be seen."""
    return file_system_of(directory, mountinfo) in _IN_MEMORY


def file_system_of(directory: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the type of the file system of *directory*, such as ``ext4``; None: unknown."""
    try:
        lines = mountinfo.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    path = os.path.realpath(directory)
    found: str | None = None
    longest = -1
    for line in lines:
        # "36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda1 rw"
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # A later mount on the same point hides the one before it.
        if len(point) >= longest and _lies_in(path, point):
            longest, found = len(point), fields[fields.index("-", 6) + 1]
    return found


def _lies_in(path: str, point: str) -> bool:
    return path == point or path.startswith(point if point.endswith("/") else f"{point}/")


def _why_not(directory: Path) -> str | None:
    if not directory.is_dir():
        return "there is no such directory"
    if not os.access(directory, os.W_OK | os.X_OK):
        return "it cannot be written"
    return None
