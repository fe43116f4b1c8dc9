"""A WSGI request: the scope that the limits look at, and a body of which no more can be read.

Does not decide anything: that is :mod:`tonnage.web.path.wsgi`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage.errors import RequestRefusedError
from tonnage.problem import body_too_large
from tonnage.units import KIB
from tonnage.web.path.heads import announced_bytes

if TYPE_CHECKING:
    from tonnage.problem import Problem
    from tonnage.web.path.decompress import RequestDecoder
    from tonnage.web.respond import Scope

Environ = MutableMapping[str, Any]

_PIECE_BYTES: Final = 64 * KIB
_PEER: Final = "tonnage.peer"


class Readable(Protocol):
    """What is used of ``wsgi.input``."""

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes, and none at the end."""

    def readline(self, size: int, /) -> bytes:
        """Return up to *size* bytes of a line, and none at the end."""


def scope_of(environ: Environ) -> Scope:
    """Return *environ* as an ASGI scope, with the environ itself in ``wsgi.environ``."""
    headers = [
        (_header_name(name), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    for variable, header in (
        ("CONTENT_TYPE", b"content-type"),
        ("CONTENT_LENGTH", b"content-length"),
    ):
        value = environ.get(variable)
        if value:
            headers.append((header, value.encode("latin-1")))
    root = _text(environ.get("SCRIPT_NAME", ""))
    address, port = environ.get("REMOTE_ADDR"), str(environ.get("REMOTE_PORT", ""))
    scope = {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "root_path": root,
        "path": root + _text(environ.get("PATH_INFO", "")),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": headers,
        "client": (address, int(port) if port.isdecimal() else 0) if address else None,
        "wsgi.environ": environ,
    }
    if _PEER in environ:
        scope[_PEER] = environ[_PEER]
    return scope


def length_bytes(environ: Environ) -> int | None:
    """Return how long the body says it is; None: it says nothing that makes sense."""
    return announced_bytes((environ.get("CONTENT_LENGTH") or "").encode("latin-1"))


def note_client(scope: Scope, environ: Environ) -> None:
    """Put what proxies have said of the client from *scope* into *environ*."""
    client = scope["client"]
    if client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    environ["wsgi.url_scheme"] = scope["scheme"]
    environ[_PEER] = scope[_PEER]


class CountedInput:
    """A body that is counted as it is read, and refused when it becomes too large.

    Args:
        stream: the server's ``wsgi.input``.
        limit_bytes: how large the body may be.
    """

    def __init__(self, stream: Readable, limit_bytes: int) -> None:
        self._stream = stream
        self._limit_bytes = limit_bytes
        self._left_bytes = limit_bytes
        #: Why it was refused, if it was; an application may hide the error that it gets.
        self.problem: Problem | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to *size* bytes, or all there are; raises RequestRefusedError."""
        if size is not None and size >= 0:
            return self._counted(self._stream.read(self._at_most(size)))
        return b"".join(iter(lambda: self.read(_PIECE_BYTES), b""))

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line, or up to *size* bytes of it; raises RequestRefusedError."""
        return self._counted(self._stream.readline(self._at_most(size)))

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Return lines of *hint* bytes together, or all; raises RequestRefusedError."""
        lines, length = [], 0
        for line in self:
            lines.append(line)
            length += len(line)
            if hint is not None and 0 < hint <= length:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _at_most(self, size: int | None) -> int:
        # One more than is left shows that there is more.
        most = max(0, self._left_bytes + 1)
        return most if size is None or size < 0 else min(size, most)

    def _counted(self, data: bytes) -> bytes:
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self.problem = body_too_large(self._limit_bytes)
            raise RequestRefusedError(self.problem)
        return data


def unpack(environ: Environ, decoder: RequestDecoder) -> None:
    """Put the unpacked body into *environ*, in memory, so that its length is known.

    Raises:
        RequestRefusedError: it is too large, or not in its coding.
    """
    announced = length_bytes(environ)
    is_terminated = announced is None and bool(environ.get("wsgi.input_terminated"))
    left = announced or 0
    stream: Readable = environ["wsgi.input"]
    body = io.BytesIO()
    while not decoder.is_finished:
        unpacked = decoder.take()
        if unpacked is not None:
            body.write(unpacked)
            continue
        # Nobody may read on where neither a length nor the server says where the end is.
        data = stream.read(_PIECE_BYTES if is_terminated else min(_PIECE_BYTES, left))
        left -= len(data)
        decoder.put(data, more=bool(data) and (is_terminated or left > 0))
    environ["CONTENT_LENGTH"] = str(body.tell())
    body.seek(0)
    environ["wsgi.input"] = body
    del environ["HTTP_CONTENT_ENCODING"]
    # It has come to its end, in whatever parts it was sent.
    environ.pop("HTTP_TRANSFER_ENCODING", None)


# There are a few dozen in practice; invented ones, of as many bytes as servers let a name have,
# push each other out.
@lru_cache(maxsize=256)
def _header_name(variable: str) -> bytes:
    return variable[5:].replace("_", "-").lower().encode("latin-1")


def _text(path: str) -> str:
    # WSGI has the bytes of a path as characters of Latin-1.
    return path if path.isascii() else path.encode("latin-1").decode(errors="replace")
