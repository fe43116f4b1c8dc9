"""Bodies as clients send them, and an ASGI request that carries one."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

BOUNDARY = b"----line"
FORM_TYPE = b"multipart/form-data; boundary=" + BOUNDARY

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + bytes(200)
GIF = b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + bytes(200)
PDF = b"%PDF-1.7\n" + bytes(200)


def png(size_bytes: int = 300) -> bytes:
    """Return what begins as a PNG and is *size_bytes* long."""
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02"
    return head + bytes(size_bytes - len(head))


def archive() -> bytes:
    """Return a small zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.txt", zlib.compress(b"a"))
    return buffer.getvalue()


def file_part(
    field: str, name: str | bytes, content: bytes, type: str | None = "image/png"
) -> bytes:
    """Return one file of a form."""
    quoted = name if isinstance(name, bytes) else name.encode()
    head = b'Content-Disposition: form-data; name="%b"; filename="%b"' % (field.encode(), quoted)
    if type is not None:
        head += b"\r\nContent-Type: " + type.encode()
    return part(head, content)


def field_part(name: str, value: bytes) -> bytes:
    """Return one field of a form."""
    return part(b'Content-Disposition: form-data; name="%b"' % name.encode(), value)


def part(head: bytes, content: bytes) -> bytes:
    """Return one part with the header lines *head*."""
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """Return a whole form."""
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def pieces(body: bytes, size_bytes: int) -> list[bytes]:
    """Return *body* in pieces."""
    return [body[at : at + size_bytes] for at in range(0, len(body), size_bytes)] or [b""]


@dataclass
class Request:
    """A request as frameworks hand it over; ``asked`` counts how often the body was read from."""

    body: Sequence[bytes]
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    ends: bool = True
    asked: int = 0
    before_each: Callable[[int], Any] = lambda asked: None

    @property
    def scope(self) -> dict[str, Any]:
        """The ASGI scope."""
        return {"type": "http", "method": "POST", "headers": self.headers}

    async def receive(self) -> dict[str, Any]:
        """Return the next message; after an unfinished body, that the client has gone."""
        waited = self.before_each(self.asked)
        if waited is not None:
            await waited
        self.asked += 1
        if self.asked > len(self.body):
            return {"type": "http.disconnect"}
        is_last = self.ends and self.asked == len(self.body)
        return {
            "type": "http.request",
            "body": self.body[self.asked - 1],
            "more_body": not is_last,
        }


def sent(*parts: bytes, piece_bytes: int = 2**20) -> Request:
    """Return a request that carries a form of *parts*."""
    body = form(*parts)
    return Request(
        pieces(body, piece_bytes),
        [(b"content-type", FORM_TYPE), (b"content-length", str(len(body)).encode())],
    )


def raw(content: bytes, type: str = "image/png", piece_bytes: int = 2**20) -> Request:
    """Return a request whose body is the file."""
    headers = [(b"content-type", type.encode()), (b"content-length", str(len(content)).encode())]
    return Request(pieces(content, piece_bytes), headers)
