"""Why an upload was refused: one error for each answer that the client gets.

* UploadError                   a RequestRefusedError; its ``problem`` is what to answer
  x UploadMalformedError   400  it cannot be read as what it says it is
    + UploadMissingError   400  it has no file or field of that name; a KeyError as well
    + UploadCutError       400  the client went away before all of it was there
  x UploadTooSlowError     408  it did not arrive in time
  x UploadTooLargeError    413  more bytes, files or fields than are allowed
  x UploadTypeError        415  its content is of a type that is not taken, or not what it says
  x UploadBusyError        503  others are being received; with ``Retry-After``
  x UploadDiskError        507  the disk has no room, or does not work

The middleware answers these when an application lets them out. Without it, answer with ``problem``,
or turn it into your framework's error: ``problem.status`` and ``str(error)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tonnage.errors import RequestRefusedError
from tonnage.problem import Problem

_Headers = tuple[tuple[bytes, bytes], ...]


class UploadError(RequestRefusedError):
    """The base of all errors that refuse an upload."""

    status: ClassVar[int] = 400
    error: ClassVar[str] = "bad_upload"

    def __init__(
        self, detail: str, extra: Mapping[str, Any] | None = None, headers: _Headers = ()
    ) -> None:
        """Refuse with *detail*, which says what is wrong and what to do; *extra* goes with it."""
        super().__init__(Problem(self.status, self.error, detail, extra or {}, headers))

    def __str__(self) -> str:
        # One of them is a KeyError too, which would quote it.
        return self.problem.detail


class UploadMalformedError(UploadError):
    """The body cannot be read as what its headers say it is."""

    error = "malformed_upload"


class UploadMissingError(UploadMalformedError, KeyError):
    """The form has no file, or no field, of the name that was asked for."""

    error = "missing_part"


class UploadCutError(UploadMalformedError):
    """The client went away, or sent less than it had announced."""

    error = "upload_cut"


class UploadTooSlowError(UploadError):
    """The body did not arrive in time."""

    status = 408
    error = "upload_too_slow"


class UploadTooLargeError(UploadError):
    """There are more bytes, files or fields than are allowed."""

    status = 413
    error = "payload_too_large"


class UploadTypeError(UploadError):
    """The content is of a type that is not taken, is not what it says, or is something else too."""

    status = 415
    error = "unsupported_media_type"


class UploadBusyError(UploadError):
    """No turn came free in time."""

    status = 503
    error = "uploads_busy"

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        headers = ((b"retry-after", str(retry_after_seconds).encode()),)
        super().__init__(detail, {"retryAfter": retry_after_seconds}, headers)


class UploadDiskError(UploadError):
    """What arrived could not be written to the disk."""

    status = 507
    error = "no_disk_space"
