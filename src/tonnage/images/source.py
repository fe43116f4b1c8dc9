"""Where a picture's file comes from: bytes, a path, an open file, or what an upload gave.

Promises: a file that is opened here is closed here, and one that was given stays open. Nothing is
read here. Bytes are not copied. A given file is read by one thread at a time, since its position is
one; a path, bytes and an upload's file by any number.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

if TYPE_CHECKING:
    from tonnage.web.path.uploads.files import UploadedFile

#: What ``images.open`` takes. A file has to be seekable.
Source: TypeAlias = (
    "bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO | UploadedFile"
)


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """Give *source* as a file that can be read from its start.

    Raises:
        TypeError: it is nothing of the kind.
        OSError: there is no such file, or it may not be read.
    """
    file, is_ours = _open(source)
    try:
        yield file
    finally:
        if is_ours:
            file.close()


def _open(source: Source) -> tuple[BinaryIO, bool]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source), True
    if isinstance(source, (str, os.PathLike)):
        return open(source, "rb"), True
    if hasattr(source, "size_bytes") and hasattr(source, "path"):
        # A file of Uploads: opened by its path, so that each reader has a position of its own.
        return open(source.path, "rb"), True
    # Frameworks wrap the file that they have received (Starlette's UploadFile, Django's).
    file = getattr(source, "file", source)
    if not (hasattr(file, "read") and hasattr(file, "seek")):
        raise TypeError(
            f"a picture is bytes, a path or a file that seeks, not {type(source).__name__}"
        )
    if isinstance(file, io.TextIOBase):
        raise TypeError("a picture's file has to be opened as a binary one, not as text")
    return cast("BinaryIO", file), False
