"""Records into a file, a line of JSON each; when it is large, the next one is begun.

    sink = JsonlSink("events.jsonl", file_bytes="16M", files_kept=5)

Promises: a batch is written whole or not at all, also where the disk is full. All workers, and
other servers on the same disk, may write to the same file. ``events.jsonl`` is the newest,
``events.jsonl.1`` the one before it, and so on (:mod:`tonnage.stores.rotated`).

With ``fsync=True`` a batch is on the disk when it is stored, and survives a power failure; without,
it survives the end of the process. Does not read, and does not compress.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.rotated import RotatedFile
from tonnage.stores.sinks.plain import as_json
from tonnage.stores.sinks.rows import with_ids
from tonnage.stores.sinks.verdict import UNSENDABLE, reason
from tonnage.units import MIB, parse_bytes

if TYPE_CHECKING:
    import os

    from tonnage.stores.sinks.sink import Batch

FILE_BYTES: Final = 16 * MIB
FILES_KEPT: Final = 5
_MODE: Final = 0o640


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
        path = Path(path).absolute()
        if files_kept < 0:
            raise ConfigError(f"{path.name}: {files_kept} files cannot be kept")
        self._file = RotatedFile(
            path,
            file_bytes=parse_bytes(file_bytes),
            files_kept=files_kept,
            mode=_MODE,
            fsync=fsync,
        )
        self._id_column = id_column

    def __repr__(self) -> str:
        return f"JsonlSink({str(self._file.path)!r})"

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
        try:
            self._file.append(data)
        except FileNotFoundError:
            self._file.path.parent.mkdir(parents=True, exist_ok=True)
            self._file.append(data)
