"""Records into a file, a line of JSON each; when it is large, the next one is begun.

    sink = JsonlSink("events.jsonl", file_bytes="16M", files_kept=5)

Promises: a batch is written whole or not at all, also where the disk is full. All workers, and
other servers on the same disk, may write to the same file: they take turns. ``events.jsonl`` is
the newest, ``events.jsonl.1`` the one before it, and so on up to *files_kept*; older ones go.

Bounded: *files_kept* and one files, each of *file_bytes* or, where that is more, of one batch.
With ``fsync=True`` a batch is on the disk when it is stored, and survives a power failure; without,
it survives the end of the process. Does not read, and does not compress.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.sinks.plain import as_json
from tonnage.stores.sinks.rows import with_ids
from tonnage.stores.sinks.verdict import UNSENDABLE, reason
from tonnage.units import MIB, parse_bytes

if TYPE_CHECKING:
    from tonnage.stores.sinks.sink import Batch

FILE_BYTES: Final = 16 * MIB
FILES_KEPT: Final = 5


class JsonlSink:
    """Appends batches to a file.

    Args:
        path: of the newest file; its directory is made if it is not there.
        file_bytes: how large a file gets.
        files_kept: how many full ones there are beside the newest.
        fsync: whether to wait for the disk.
        id_column: under which key the id goes that a durable writer gave; None: under none.

    Raises:
        ConfigError: a bound makes no sense.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        file_bytes: int | str = FILE_BYTES,
        files_kept: int = FILES_KEPT,
        fsync: bool = False,
        id_column: str | None = None,
    ) -> None:
        self._path = Path(path).absolute()
        self._file_bytes = parse_bytes(file_bytes)
        if files_kept < 0:
            raise ConfigError(f"{self._path.name}: {files_kept} files cannot be kept")
        self._files_kept = files_kept
        self._fsync = fsync
        self._id_column = id_column

    def __repr__(self) -> str:
        return f"JsonlSink({str(self._path)!r})"

    async def write(self, batch: Batch) -> None:
        """Append all of *batch*.

        Raises:
            RecordsRejectedError: one of the records cannot be written as JSON.
            OSError: the disk does not take it; nothing of it is left there.
        """
        await asyncio.to_thread(self._write, batch)

    async def close(self) -> None:
        """Do nothing: no file is open between two batches."""

    def _write(self, batch: Batch) -> None:
        try:
            lines = [as_json(record) + b"\n" for record in with_ids(batch, self._id_column)]
        except UNSENDABLE as error:
            raise RecordsRejectedError(reason(error)) from error
        data = b"".join(lines)
        file = self._open(len(data))
        try:
            before_bytes = os.fstat(file).st_size
            try:
                _write_all(file, data)
                if self._fsync:
                    os.fsync(file)
                    if not before_bytes:
                        _sync_directory(self._path.parent)
            except BaseException:
                os.ftruncate(file, before_bytes)
                raise
        finally:
            os.close(file)  # which unlocks it

    def _open(self, count_bytes: int) -> int:
        """Return the newest file, locked, with room for so many bytes."""
        while True:
            file = self._open_newest()
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                found = os.fstat(file)
                # Somebody else may have begun the next one while this one waited.
                if self._is_newest(found):
                    if not found.st_size or found.st_size + count_bytes <= self._file_bytes:
                        return file
                    self._rotate()
            except BaseException:
                os.close(file)
                raise
            os.close(file)

    def _open_newest(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o640)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o640)

    def _is_newest(self, found: os.stat_result) -> bool:
        try:
            return os.path.samestat(found, os.stat(self._path))
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        """Give each file the number of the one before it; called with the newest one locked."""
        for number in range(self._files_kept, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1)
            if newer.exists():
                os.replace(newer, older)
        if not self._files_kept:
            self._path.unlink()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_directory(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
