"""Letting go of file pages that only the start needed.

Importing touches much of every library's text once. A process that then only waits, as the zygote
does, can unmap those pages: they stay in the page cache, are read back from there when needed, and
no longer count as its own. (8 MB of a FastAPI application's zygote.)
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MADV_DONTNEED = 4


def drop_file_pages(root: Path = Path("/")) -> int:
    """Unmap the clean file pages of this process; return how many bytes of mappings that covers.

    Only mappings that cannot be written and of which no page was ever changed (no relocations): of
    those, the file has every byte. Does nothing where the kernel does not show its mappings.
    """
    try:
        lines = (root / "proc/self/smaps").read_bytes().splitlines()
    except OSError:
        return 0
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    dropped = 0
    for start, end in clean_mappings(lines):
        if madvise(start, end - start, _MADV_DONTNEED) == 0:
            dropped += end - start
    return dropped


def clean_mappings(smaps: list[bytes]) -> Iterator[tuple[int, int]]:
    """Yield start and end of the read-only file mappings without changed pages in *smaps*."""
    mapping: tuple[int, int] | None = None
    for line in smaps:
        name, _, rest = line.partition(b" ")
        if not name.endswith(b":"):
            mapping = _file_mapping(name, rest)
        elif name == b"Anonymous:" and mapping is not None and rest.split()[0] == b"0":
            yield mapping


def _file_mapping(addresses: bytes, rest: bytes) -> tuple[int, int] | None:
    """Return where a mapping lies if it is a private, unwritable one of a file."""
    fields = rest.split(maxsplit=4)
    if len(fields) < 5 or not fields[4].startswith(b"/") or fields[0][1:2] == b"w":
        return None
    if fields[0][3:4] != b"p" or fields[0][0:1] != b"r":
        return None
    start, _, end = addresses.partition(b"-")
    return int(start, 16), int(end, 16)
