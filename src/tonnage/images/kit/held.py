"""A photo's file, open for as long as its job needs it, though the request that brought it is over.

Promises: it takes a descriptor and no memory. An upload has no name on the disk
(:mod:`tonnage.web.path.uploads.spoolfile`): with the last descriptor it is gone, so what a worker
that was killed had left is nothing. Bounded by the jobs that a worker takes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tonnage.web.path.uploads import UploadedFile

_ON_LINUX: Final = sys.platform == "linux"


class HeldFile:
    """One open file.

    Raises:
        OSError: it cannot be opened.
    """

    __slots__ = ("_fd",)

    def __init__(self, source: UploadedFile | str | os.PathLike[str]) -> None:
        path = source if isinstance(source, str | os.PathLike) else source.path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def path(self) -> Path:
        """Where this process and its children can open it, from its start."""
        if _ON_LINUX:
            return Path(f"/proc/{os.getpid()}/fd/{self._fd}")
        return Path(f"/dev/fd/{self._fd}")

    def close(self) -> None:
        """Let it go; any number of times."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
