"""One upload as it comes in: bytes fed to it are read, checked and written to disk at once.

Blocks while the disk does, so it runs in a thread; whoever feeds it waits for that, and does not
read on meanwhile. Nothing here knows sockets, servers or event loops: ``receiving`` does.
"""

from __future__ import annotations

import threading

from tonnage.units import format_bytes
from tonnage.web.path.uploads.errors import (
    UploadCutError,
    UploadError,
    UploadMalformedError,
    UploadTooLargeError,
    UploadTypeError,
)
from tonnage.web.path.uploads.files import Files, UploadedFile
from tonnage.web.path.uploads.filetypes import canonical
from tonnage.web.path.uploads.form import Form, parse_header
from tonnage.web.path.uploads.incoming import IncomingFile
from tonnage.web.path.uploads.limits import UploadLimits


class Intake:
    """The body of one request, on its way to the disk. ``close`` it, whatever happened."""

    def __init__(
        self,
        limits: UploadLimits,
        *,
        content_type: bytes = b"",
        content_length: bytes | None = None,
        content_encoding: bytes = b"",
        content_disposition: bytes = b"",
    ) -> None:
        """Judge the headers; nothing is opened or written yet.

        Raises:
            UploadTooLargeError: it is too long by its own words.
            UploadTypeError: it is encoded, or of a type that is not taken.
            UploadMalformedError: the headers make no sense.
        """
        self._limits = limits
        self._length = _parse_length(content_length)
        self._body_bytes = 0
        self._lock = threading.Lock()
        self._is_closed = False
        if content_encoding.strip().lower() not in (b"", b"identity"):
            raise UploadTypeError("the body is compressed: send it as it is")
        kind, options = parse_header(content_type)
        self._form: Form | None = None
        if kind == b"multipart/form-data":
            # What a form has besides files is in nobody's limit, so it may be that much longer.
            self._max_body_bytes = limits.max_body_bytes
            boundary = options.get(b"boundary", b"")
            if not boundary:
                raise UploadMalformedError("the form's Content-Type has no boundary")
            self._parts = _Parts(limits)
            max_parts = limits.max_files + limits.max_fields
            self._form = Form(boundary, self._parts, max_parts=max_parts)
        else:
            self._max_body_bytes = limits.max_bytes
            declared = content_type.decode("latin-1") or None
            named = canonical(declared)
            if limits.types is not None and named is not None and named not in limits.types:
                raise UploadTypeError(f"{named} is not taken here; taken are {limits.types}")
            name = parse_header(content_disposition)[1].get(b"filename", b"")
            self._parts = _Parts(limits)
            self._parts.begin_file("", name.decode(errors="replace"), declared)
        if self._length is not None and self._length > self._max_body_bytes:
            raise _too_large(limits, self._length)

    @property
    def expected_bytes(self) -> int | None:
        """How long the body is by its own words."""
        return self._length

    @property
    def received_bytes(self) -> int:
        """How much of the body was fed so far."""
        return self._body_bytes

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body, and write what belongs to files to the disk.

        Raises:
            UploadError: it is refused; nothing more is to be fed.
        """
        with self._lock:
            if self._is_closed:
                raise UploadCutError("the upload was given up")
            self._body_bytes += len(data)
            if self._body_bytes > self._max_body_bytes:
                raise _too_large(self._limits)
            if self._form is None:
                self._parts.data(memoryview(data))
            else:
                self._form.feed(data)

    def finish(self) -> Files:
        """Say that nothing follows, and return what has come.

        Raises:
            UploadError: it is refused.
        """
        with self._lock:
            if self._length is not None and self._body_bytes < self._length:
                raise UploadCutError(
                    f"only {self._body_bytes} of {self._length} bytes have come: send all of it"
                )
            if self._form is None:
                self._parts.end()
            else:
                self._form.finish()
            return Files(self._parts.files, self._parts.fields())

    def close(self) -> None:
        """Let all files go, after what is being written; the kept ones are on the disk then.

        Raises:
            UploadDiskError: one that was kept could not be written out. All are let go.
        """
        with self._lock:
            self._is_closed = True
            self._parts.close()


class _Parts:
    """The parts of one body: files go to the disk, fields stay in memory, both within limits."""

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits
        self.files: list[UploadedFile] = []  # bounded by max_files
        self._fields: dict[str, list[bytearray]] = {}  # by max_fields and max_fields_bytes
        self._files_left = limits.max_files
        self._fields_left = limits.max_fields
        self._file_bytes_left = limits.max_bytes
        self._field_bytes_left = limits.max_fields_bytes
        self._file: IncomingFile | None = None
        self._value = bytearray()

    def begin_file(self, field: str, name: str, declared_type: str | None) -> None:
        self._file = IncomingFile(self._limits, field, name, declared_type)

    def begin_field(self, field: str) -> None:
        self._fields_left -= 1
        self._take_field_bytes(len(field))
        if self._fields_left < 0:
            raise UploadTooLargeError(
                f"the form has more than {self._limits.max_fields} fields: send fewer",
                {"maxFields": self._limits.max_fields},
            )
        self._value = bytearray()
        self._fields.setdefault(field, []).append(self._value)

    def data(self, data: memoryview) -> None:
        if self._file is None:
            self._take_field_bytes(len(data))
            self._value += data
            return
        if not self._file.is_begun:
            self._files_left -= 1
            if self._files_left < 0:
                raise UploadTooLargeError(
                    f"the form has more than {self._limits.max_files} files: send fewer",
                    {"maxFiles": self._limits.max_files},
                )
        self._file_bytes_left -= len(data)
        if self._file_bytes_left < 0:
            raise _too_large(self._limits)
        self._file.write(data)

    def end(self) -> None:
        file, self._file = self._file, None
        if file is None or file.was_left_out:
            return
        try:
            self.files.append(file.finish())
        except BaseException:
            # Also where there is no memory to judge it: nobody else knows of it.
            file.close()
            raise

    def fields(self) -> dict[str, list[str]]:
        """Return the values of each field.

        Raises:
            UploadMalformedError: one is not UTF-8.
        """
        try:
            return {name: [each.decode() for each in all_] for name, all_ in self._fields.items()}
        except UnicodeDecodeError:
            raise UploadMalformedError("a field of the form is not UTF-8") from None

    def close(self) -> None:
        error: UploadError | None = None
        if self._file is not None:
            self._file.close()
        for file in self.files:
            try:
                file.close()
            except UploadError as failed:
                error = failed
        if error is not None:
            raise error

    def _take_field_bytes(self, count: int) -> None:
        self._field_bytes_left -= count
        if self._field_bytes_left < 0:
            limit = self._limits.max_fields_bytes
            raise UploadTooLargeError(
                f"the form's fields are larger than {format_bytes(limit)}: send files instead",
                {"maxFieldsBytes": limit},
            )


def _parse_length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise UploadMalformedError("Content-Length is not a number")
    return int(value)


def _too_large(limits: UploadLimits, sent_bytes: int | None = None) -> UploadTooLargeError:
    extra = {"limitBytes": limits.max_bytes}
    if sent_bytes is not None:
        extra["bodyBytes"] = sent_bytes
    return UploadTooLargeError(
        f"the upload is larger than {format_bytes(limits.max_bytes)}: send a smaller one", extra
    )
