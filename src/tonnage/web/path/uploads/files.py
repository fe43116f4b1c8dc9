"""What an application gets: the files of one request, and the fields that came with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from tonnage.web.path.uploads.errors import UploadMissingError
from tonnage.web.path.uploads.moving import give_name, sync_folder
from tonnage.web.path.uploads.spoolfile import SpoolFile, disk_error, is_full


class UploadedFile:
    """One file, on disk without a name until ``move_to``; it is there inside the block only."""

    __slots__ = ("_moved_to", "_spool", "declared_name", "declared_type", "field", "name", "type")

    def __init__(
        self,
        spool: SpoolFile,
        *,
        field: str,
        name: str,
        type: str,  # the word that a reader of headers knows
        declared_name: str,
        declared_type: str | None,
    ) -> None:
        self._spool = spool
        self._moved_to: list[Path] = []
        self.field = field
        """The form's field; "" for a raw body."""
        self.name = name
        """A name that is safe to use on disk, with an extension that fits the content."""
        self.type = type
        """The type of the content, as ``image/jpeg``; of text, the one that was declared."""
        self.declared_name = declared_name
        """What the client called it: anything at all, never to be used as a path."""
        self.declared_type = declared_type
        """What the client said it is."""

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self._spool.size_bytes

    @property
    def path(self) -> Path:
        """Where it can be opened, here and in child processes, until the block ends.

        It leads to the open file and is no name: use ``move_to`` to keep it, not ``rename``.
        """
        return self._spool.path

    def open(self) -> BinaryIO:
        """Open it for reading, from its start; the caller closes it."""
        return self.path.open("rb")

    def move_to(
        self,
        folder: str | os.PathLike[str],
        name: str | None = None,
        *,
        mode: int = 0o644,
        overwrite: bool = False,
    ) -> Path:
        """Keep it as a file in *folder*, and return its path.

        It takes microseconds on the file system of the upload directory; to another one it is
        copied, so call it in a thread then. All of it is on the disk when the block has ended.

        Args:
            folder: a directory that is there.
            name: what to call it, one component; None uses ``name``, varied if that is taken.
            mode: its permissions.
            overwrite: whether it takes the place of a file of that name.

        Raises:
            FileExistsError: *name* was given, is taken, and is not to be overwritten.
            ValueError: *name* is no single component, or the block is over.
            UploadDiskError: the disk has no room.
            OSError: there is no such folder, or no permission.
        """
        wanted = self.name if name is None else name
        if wanted in ("", ".", "..") or "/" in wanted or "\0" in wanted:
            raise ValueError(f"{wanted!r} is no name for a file in a folder")
        directory = Path(folder)
        try:
            path = give_name(
                self._spool.fileno(),
                directory,
                wanted,
                mode=mode,
                overwrite=overwrite,
                vary=name is None,
            )
        except OSError as error:
            if is_full(error):
                raise disk_error(error) from error
            raise
        self._moved_to.append(directory)
        return path

    def close(self) -> None:
        """Let it go: what was moved is on the disk now, what was not is no more. Blocks.

        Raises:
            UploadDiskError: what was moved could not be written out.
        """
        if not self._spool.is_open:
            return
        try:
            if self._moved_to:
                self._spool.flush()
                for folder in self._moved_to:
                    sync_folder(folder)
        except OSError as error:
            raise disk_error(error) from error
        finally:
            self._spool.close()

    def __repr__(self) -> str:
        return f"<UploadedFile {self.name!r}, {self.type}, {self.size_bytes} bytes>"


class Files:
    """The files of one request by field, and the form's other fields. Iterating gives the files."""

    def __init__(self, files: Sequence[UploadedFile], fields: Mapping[str, Sequence[str]]) -> None:
        self._files = tuple(files)
        self.fields = fields
        """All values of each field that is no file."""

    def __getitem__(self, field: str) -> UploadedFile:
        """Return the first file of *field*.

        Raises:
            UploadMissingError: there is none; a ``KeyError`` that is answered with 400.
        """
        found = self.get(field)
        if found is None:
            raise UploadMissingError(f"the form has no file in the field {field!r}: send one there")
        return found

    def get(self, field: str) -> UploadedFile | None:
        """Return the first file of *field*, or None."""
        return next((file for file in self._files if file.field == field), None)

    def all(self, field: str) -> list[UploadedFile]:
        """Return every file of *field*."""
        return [file for file in self._files if file.field == field]

    @property
    def only(self) -> UploadedFile:
        """The one file that was sent, in a form or as the body itself.

        Raises:
            UploadMissingError: there is none, or more than one.
        """
        if len(self._files) != 1:
            raise UploadMissingError(f"one file is wanted here, and {len(self._files)} were sent")
        return self._files[0]

    def field(self, name: str) -> str:
        """Return the first value of the form's field *name*.

        Raises:
            UploadMissingError: there is none.
        """
        values = self.fields.get(name)
        if not values:
            raise UploadMissingError(f"the form has no field {name!r}: send it too")
        return values[0]

    def __contains__(self, field: object) -> bool:
        return any(file.field == field for file in self._files)

    def __iter__(self) -> Iterator[UploadedFile]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"<Files {list(self._files)!r}, fields {sorted(self.fields)!r}>"
