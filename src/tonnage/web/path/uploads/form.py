"""``multipart/form-data`` (RFC 7578) as it streams in: begin, data, end of each part; no I/O here.

The bytes are python-multipart's to read. Here are the bounds that it leaves open, and what it takes
for granted: parts are counted, each must say ``form-data`` and its name, nothing is encoded once
more, and a body that stops before its last boundary is refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from tonnage.web.path.uploads.errors import UploadMalformedError, UploadTooLargeError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_PART_HEADERS: Final = 8  # RFC 7578 knows three
_PART_HEADER_BYTES: Final = 4096
_AS_IT_IS: Final = (b"", b"7bit", b"8bit", b"binary")

# The parser warns of every body that it cannot read, which is any client's to cause at will; the
# client is told, and so is whoever counts refusals.
_SILENT = logging.Logger("tonnage.uploads.form", logging.CRITICAL + 1)


class PartTarget(Protocol):
    """What becomes of the parts."""

    def begin_file(self, field: str, name: str, declared_type: str | None) -> None:
        """A file begins."""

    def begin_field(self, field: str) -> None:
        """A field that is no file begins."""

    def data(self, data: memoryview) -> None:
        """More of the part that began last."""

    def end(self) -> None:
        """The part that began last is whole."""


class Form:
    """A form that arrives in pieces."""

    def __init__(self, boundary: bytes, target: PartTarget, *, max_parts: int) -> None:
        """Hand the parts to *target*, of which there may be *max_parts*.

        Raises:
            UploadMalformedError: there is no such boundary.
        """
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser

        self._target = target
        self._parts_left = max_parts
        self._max_parts = max_parts
        self._header = bytearray()
        self._value = bytearray()
        # Bounded by the parser: 8 headers of 4 KB.
        self._headers: dict[bytes, bytes] = {}
        self._is_whole = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._data,
            "on_part_end": target.end,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(
                boundary,
                callbacks,
                max_header_count=_PART_HEADERS,
                max_header_size=_PART_HEADER_BYTES,
            )
        except FormParserError as error:
            raise UploadMalformedError(f"the form's boundary cannot be used: {error}") from None
        self._parser.logger = _SILENT
        self._error = FormParserError

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            UploadMalformedError: it is no form.
            UploadTooLargeError: it has too many parts.
        """
        try:
            self._parser.write(data)
        except self._error as error:
            raise UploadMalformedError(f"the form cannot be read: {error}") from None

    def finish(self) -> None:
        """Say that nothing follows.

        Raises:
            UploadMalformedError: the last boundary is missing.
        """
        if not self._is_whole:
            raise UploadMalformedError("the form ends before its last boundary: send all of it")

    def _begin(self) -> None:
        self._parts_left -= 1
        if self._parts_left < 0:
            raise UploadTooLargeError(
                f"the form has more than {self._max_parts} parts: send fewer files or fields",
                {"maxParts": self._max_parts},
            )
        self._headers = {}

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        name = bytes(self._header).lower()
        if name in self._headers:
            # Two parsers might each believe another one of them.
            raise UploadMalformedError("a part of the form has the same header twice")
        self._headers[name] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        disposition, options = parse_header(self._headers.get(b"content-disposition", b""))
        field = options.get(b"name")
        if disposition != b"form-data" or field is None:
            raise UploadMalformedError("a part of the form has no name")
        if self._headers.get(b"content-transfer-encoding", b"").strip().lower() not in _AS_IT_IS:
            raise UploadMalformedError("a part of the form is encoded: send it as it is")
        name = options.get(b"filename")
        if name is None:
            self._target.begin_field(_text(field))
            return
        declared = self._headers.get(b"content-type")
        self._target.begin_file(
            _text(field),
            name.decode(errors="replace"),
            declared.decode("latin-1") if declared is not None else None,
        )

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._target.data(memoryview(data)[start:end])

    def _end(self) -> None:
        self._is_whole = True


def parse_header(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the lower-case value of a header such as ``Content-Type``, and its parameters."""
    from python_multipart.multipart import parse_options_header

    return parse_options_header(value)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise UploadMalformedError("a name in the form is not UTF-8") from None
