"""How a picture's file gets to the process that works on it: by its path, or as bytes.

A file that has a path, or is open, is not read here: the other process opens it. Bytes, and all
where the other process may be on another machine, are passed as they are; how many there may be,
``images.Limits(file_bytes=...)`` says.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any

from tonnage.images.source import opened

if TYPE_CHECKING:
    from tonnage.images.photo import Photo


def passed(photo: Photo, *, is_far: bool) -> bytes | str:
    """Return the file of *photo* as its path, or as its bytes.

    Args:
        photo: its header has been read.
        is_far: whether the other process may be on another machine.

    Raises:
        OSError: the file cannot be read.
    """
    source = photo.source
    if isinstance(source, bytes):
        return source
    path = None if is_far else _path(source)
    if path is not None:
        return path
    with opened(source) as file:
        file.seek(0)
        return file.read(photo.file_bytes)


def _path(source: object) -> str | None:
    """Return where another process of this machine opens *source*; None: nowhere."""
    if isinstance(source, (str, os.PathLike)):
        return os.path.abspath(os.fspath(source))
    if hasattr(source, "size_bytes") and hasattr(source, "path"):
        return str(source.path)
    file: Any = getattr(source, "file", source)
    # What is spooled in memory would be written to the disk by asking for its number.
    if not (sys.platform == "linux" and getattr(file, "_rolled", True)):
        return None
    try:
        number = file.fileno()
    except (AttributeError, OSError, io.UnsupportedOperation):
        return None
    return f"/proc/{os.getpid()}/fd/{number}"
