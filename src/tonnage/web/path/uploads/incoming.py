"""One file that is coming in: written on, and judged as soon as its beginning is there."""

from __future__ import annotations

from typing import Final

from tonnage.web.path.uploads.disguises import disguise_at_end, disguise_at_start
from tonnage.web.path.uploads.errors import UploadMalformedError, UploadTypeError
from tonnage.web.path.uploads.filenames import safe_name
from tonnage.web.path.uploads.files import UploadedFile
from tonnage.web.path.uploads.filetypes import HEAD_BYTES, ContentType, canonical, content_type
from tonnage.web.path.uploads.limits import UploadLimits
from tonnage.web.path.uploads.spoolfile import SpoolFile

_ANYTHING: Final = "application/octet-stream"


class IncomingFile:
    """A file of which more may come. ``close`` it unless it was finished."""

    def __init__(
        self, limits: UploadLimits, field: str, name: str, declared_type: str | None
    ) -> None:
        self._limits = limits
        self._field = field
        self._name = name
        self._declared_type = declared_type
        self._head = bytearray()
        self._type: ContentType | None = None
        self._spool: SpoolFile | None = None

    @property
    def is_begun(self) -> bool:
        """Whether anything has come."""
        return self._spool is not None

    @property
    def was_left_out(self) -> bool:
        """Whether it is what a browser sends where nobody has chosen a file."""
        return self._spool is None and not self._name

    def write(self, data: memoryview) -> None:
        """Write on.

        Raises:
            UploadTypeError: it begins as nothing that is taken.
            UploadDiskError: the disk has no room, or fails.
        """
        if self._spool is None:
            limits = self._limits
            self._spool = SpoolFile(limits.directory, flush_bytes=limits.flush_bytes)
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                # Before the rest is waited for.
                self._judge()
        self._spool.write(data)

    def finish(self) -> UploadedFile:
        """Return it, whole.

        Raises:
            UploadTypeError: it is of a type that is not taken, or two things at once.
            UploadMalformedError: it is empty.
        """
        if self._spool is None:
            raise UploadMalformedError(f"the file {safe_name(self._name)!r} is empty")
        if len(self._head) < HEAD_BYTES:
            self._judge()
        spool, found = self._spool, self._type
        if self._limits.types is not None and found is not None:
            self._refuse_disguise(disguise_at_end(spool.fileno(), spool.size_bytes, found.name))
        return UploadedFile(
            spool,
            field=self._field,
            name=safe_name(self._name, found.extension if found else None),
            type=found.name if found else canonical(self._declared_type) or _ANYTHING,
            declared_name=self._name,
            declared_type=self._declared_type,
        )

    def close(self) -> None:
        """Let it go."""
        if self._spool is not None:
            self._spool.close()

    def _judge(self) -> None:
        head = bytes(self._head)
        types = self._limits.types
        if types is None:
            self._type = content_type(head)
            return
        found = types.find(head, self._declared_type)
        if isinstance(found, str):
            raise UploadTypeError(f"the file {safe_name(self._name)!r} is not taken: {found}")
        self._type = found
        self._refuse_disguise(disguise_at_start(head, found.name))

    def _refuse_disguise(self, other: str | None) -> None:
        if other is not None and self._type is not None:
            raise UploadTypeError(
                f"the file {safe_name(self._name)!r} is not taken: "
                f"it is {self._type.name} and {other} at once"
            )
