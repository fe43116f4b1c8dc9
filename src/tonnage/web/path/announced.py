"""What a message says of its length, before any of it has come. Believes nothing further."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tonnage.web.respond import Message

_LENGTH_CHARS: Final = len("content-length")
_TYPE_CHARS: Final = len("content-type")
_LONGEST_NUMBER: Final = 19


def announced_bytes(value: bytes) -> int | None:
    """Return what a Content-Length of *value* says; None: nothing that makes sense."""
    if not value.isdigit():
        return None
    # Python refuses to read very long numbers, and these are too large in any case.
    return int(value) if len(value) < _LONGEST_NUMBER else sys.maxsize


def announced(start: Message) -> tuple[int | None, bool]:
    """Return the length that a response says it has, and whether it is a stream of events."""
    is_stream = False
    for name, value in start["headers"]:
        # By length first: few are asked further, and names may come in any case.
        if len(name) == _LENGTH_CHARS and name.lower() == b"content-length":
            return announced_bytes(value), False
        if len(name) == _TYPE_CHARS and name.lower() == b"content-type":
            is_stream = value.startswith(b"text/event-stream")
    return None, is_stream
