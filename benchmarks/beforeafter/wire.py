"""One client's connection: HTTP/1.1 with keep-alive, over asyncio's streams.

    connection = Connection(port, source)
    reply = await connection.ask(data, with_body=True)

As much of HTTP as answers of these servers have: a length, chunks, or a body that ends with the
connection. A body that nobody wants is read in pieces and let go, however long it is.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from benchmarks.load import field_of

_PIECE_BYTES: Final = 2**16
_BUFFER_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; *body* is empty where it was not wanted."""

    status: int
    body: bytes


class Connection:
    """A connection to *port* of this machine, from the address *source*, made when it is needed."""

    def __init__(self, port: int, source: str) -> None:
        self._port = port
        self._source = source
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, data: bytes, *, with_body: bool = False, is_head: bool = False) -> Reply:
        """Send *data*, a whole request, and return the answer.

        Raises:
            OSError, EOFError, ValueError: there is no connection, no whole answer, or nonsense.
        """
        reader, writer = await self._open()
        try:
            writer.write(data)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status = int(head[9:12])
            body = _Body(reader, keep=with_body)
            ends_with_it = False
            if not (is_head or status in (204, 304)):
                ends_with_it = await body.read(head)
        except BaseException:
            self.close()
            raise
        if ends_with_it or b"connection: close" in head:
            self.close()
        return Reply(status, body.content)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # A server may close what has been idle for a while; that is no failure.
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                "127.0.0.1", self._port, limit=_BUFFER_BYTES, local_addr=(self._source, 0)
            )
        return self._streams


class _Body:
    """Reads a body to its end; *content* has it, if it is to be kept."""

    def __init__(self, reader: asyncio.StreamReader, *, keep: bool) -> None:
        self.content = b""
        self._reader = reader
        self._keep = keep
        self._pieces: list[bytes] = []

    async def read(self, head: bytes) -> bool:
        """Read it; return whether only the end of the connection ends it."""
        length = field_of(head, b"content-length")
        is_open = False
        if length:
            await self._take(int(length))
        elif b"transfer-encoding: chunked" in head:
            while size := int((await self._reader.readline()).split(b";")[0], 16):
                await self._take(size)
                await self._reader.readexactly(2)
            while (await self._reader.readline()).strip():
                continue  # trailers
        else:
            is_open = True
            while piece := await self._reader.read(_PIECE_BYTES):
                self._note(piece)
        self.content = b"".join(self._pieces)
        return is_open

    async def _take(self, length: int) -> None:
        while length:
            piece = await self._reader.read(min(length, _PIECE_BYTES))
            if not piece:
                raise EOFError("the answer was cut off")
            length -= len(piece)
            self._note(piece)

    def _note(self, piece: bytes) -> None:
        if self._keep:
            self._pieces.append(piece)
