"""Where uploads are kept while they arrive: a directory on a disk, not in memory.

``/tmp`` is a tmpfs on many systems and in many containers, and what is written there is memory: it
counts against the limit and cannot be taken back (:mod:`tonnage.host.filesystems`). Where there is
no ``/proc`` (macOS), nothing is known and everything passes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tonnage.errors import ConfigError
from tonnage.host.filesystems import MOUNTINFO, in_memory_as

_DEFAULTS: Final = ("/tmp", "/var/tmp")  # where a disk may be; nothing is created there by name


def find_directory(
    wanted: str | os.PathLike[str] | None,
    *,
    in_memory: bool = False,
    mountinfo: Path = MOUNTINFO,
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
        kind = in_memory_as(directory, mountinfo)
        if kind is not None and not in_memory:
            raise ConfigError(
                f"uploads would be kept in memory: {directory} is a {kind}; {_ADVICE}"
            )
        return directory
    if defaults is None:
        defaults = (os.environ.get("TMPDIR") or _DEFAULTS[0], *_DEFAULTS)
    usable = [path for path in map(Path, defaults) if not _why_not(path)]
    for path in usable:
        if not is_in_memory(path, mountinfo):
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


def is_in_memory(directory: Path, mountinfo: Path = MOUNTINFO) -> bool:
    """Return whether what is written to *directory* is memory, as far as can be seen."""
    return in_memory_as(directory, mountinfo) is not None


def _why_not(directory: Path) -> str | None:
    if not directory.is_dir():
        return "there is no such directory"
    if not os.access(directory, os.W_OK | os.X_OK):
        return "it cannot be written"
    return None
