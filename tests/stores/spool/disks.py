"""Disks that fail when they are told to, and what is in a spool's directory."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

from tonnage.errors import WriterFullError
from tonnage.stores.writer.spool import Spool
from tonnage.stores.writer.spool.files import Files
from tonnage.units import MIB


class FailingFiles(Files):
    """A file system that takes so many bytes, and fails in other ways when told."""

    def __init__(self) -> None:
        self.room_bytes = 1 << 40
        self.write_errno = errno.ENOSPC
        #: Raised at each write instead.
        self.error: Exception | None = None
        self.sync_errno = 0
        self.truncate_errno = 0
        self.create_errno = 0
        #: Paths or descriptors that were synced after a sync of them had failed.
        self.trusted_again: list[int] = []
        self.syncs = 0
        #: Cleared, every sync takes until it is set.
        self.may_sync = threading.Event()
        self.may_sync.set()
        self._failed: set[int] = set()

    def create(self, path: Path) -> int:
        """Make a file."""
        self._fail(self.create_errno)
        fd = super().create(path)
        self._failed.discard(fd)
        return fd

    def write(self, fd: int, data: bytes) -> None:
        """Write as much as fits."""
        if self.error is not None:
            raise self.error
        fits = data[: self.room_bytes]
        self.room_bytes -= len(fits)
        super().write(fd, fits)
        if len(fits) < len(data):
            self._fail(self.write_errno)

    def sync(self, fd: int) -> None:
        """Sync, or not."""
        self.syncs += 1
        self.may_sync.wait()
        if fd in self._failed:
            self.trusted_again.append(fd)
        if self.sync_errno:
            self._failed.add(fd)
            self._fail(self.sync_errno)
        super().sync(fd)

    def truncate(self, fd: int, size_bytes: int) -> None:
        """Cut off, or not."""
        self._fail(self.truncate_errno)
        self.room_bytes += os.fstat(fd).st_size - size_bytes
        super().truncate(fd, size_bytes)

    def _fail(self, number: int) -> None:
        if number:
            raise OSError(number, os.strerror(number))


def spool_in(directory: Path, **options: Any) -> Spool:
    """Return a spool there; memory will do, since nothing here outlives a test."""
    given = {"max_bytes": MIB, "in_memory": True} | options
    return Spool("events", directory=directory, **given)


async def drained(spool: Spool, *, most_records: int = 1000) -> list[tuple[str, dict[str, Any]]]:
    """Return ids and records of all that is there, and say that they are delivered."""
    found: list[tuple[str, dict[str, Any]]] = []
    while (chunk := await spool.read(most_records, MIB)) is not None:
        assert chunk.batch.ids is not None
        pairs = zip(chunk.batch.ids, map(dict, chunk.batch.records), strict=True)
        found.extend(pairs)
        await spool.delivered(chunk)
    return found


async def filled(spool: Spool) -> int:
    """Add records, three to a segment, until there is no room; return how many were taken."""
    taken = 0
    try:
        while True:
            await spool.add([{"number": taken, "text": "x" * 10_000}])
            taken += 1
    except WriterFullError:
        return taken


def files_in(directory: Path) -> list[str]:
    """Return the names of all files of the writer, without its journals' names."""
    root = directory / "events"
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def segments_in(directory: Path) -> list[Path]:
    """Return the paths of all segments, in order."""
    return sorted((directory / "events").rglob("*.records"))


def opened_files() -> list[str]:
    """Return what this process has open, as the kernel calls it."""
    directory = "/proc/self/fd"
    paths = [os.path.join(directory, name) for name in os.listdir(directory)]
    # All but that of the list itself.
    return [os.readlink(path) for path in paths if os.path.lexists(path)]
