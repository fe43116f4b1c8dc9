"""Files that clients send: straight to the disk, within limits, and gone when the request is over.

=========================  =======================================================================
``Uploads``                what is taken, how much at once; ``receive`` and ``receive_wsgi``
``Files``                  what a request brought: files by field, and the other fields
``UploadedFile``           one of them: ``path``, ``type``, ``name``, ``size_bytes``, ``move_to``
``UploadStatistics``       what was received and refused
``UploadError``            why one is refused, and its kinds: see ``errors``
``safe_name``              a client's file name made safe
=========================  =======================================================================

Works under any ASGI or WSGI server. Needs the extra ``uploads``.
"""

from __future__ import annotations

from tonnage.web.path.uploads.counting import UploadStatistics
from tonnage.web.path.uploads.errors import (
    UploadBusyError,
    UploadCutError,
    UploadDiskError,
    UploadError,
    UploadMalformedError,
    UploadMissingError,
    UploadTooLargeError,
    UploadTooSlowError,
    UploadTypeError,
)
from tonnage.web.path.uploads.filenames import safe_name
from tonnage.web.path.uploads.files import Files, UploadedFile
from tonnage.web.path.uploads.receiving import Uploads

__all__ = [
    "Files",
    "UploadBusyError",
    "UploadCutError",
    "UploadDiskError",
    "UploadError",
    "UploadMalformedError",
    "UploadMissingError",
    "UploadStatistics",
    "UploadTooLargeError",
    "UploadTooSlowError",
    "UploadTypeError",
    "UploadedFile",
    "Uploads",
    "safe_name",
]
