"""Compressed request bodies are unpacked for the application, within bounds. Off unless asked for.

Promises: nothing is unpacked further than :data:`STEP_BYTES` ahead of what the application reads;
a body that unpacks to more than its limit, or to more than its ratio allows, is refused with 413
at that moment, whatever it claims to be. What decompressors hold together is bounded
(:data:`MOST_HELD_BYTES`); beyond it requests get 503.

Does not limit what is not compressed (the path's own count does), nor is there a way back: the
application sees a body without ``Content-Encoding`` and of unknown length. The codings of
responses are in :mod:`tonnage.web.path.encodings`.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

from tonnage.errors import RequestRefusedError
from tonnage.problem import Problem
from tonnage.units import KIB, MIB, format_bytes
from tonnage.web.awaited import is_gone
from tonnage.web.path.decoders import decoders

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.web.path.decoders import Decoder
    from tonnage.web.respond import Message, Receive, Scope

# How many times larger than what was sent. JSON reaches 10, logs 15; a bomb of deflate 1000.
MOST_RATIO: Final = 20.0
# Up to here the ratio is not asked: small bodies of equal rows do better than any usual text.
FREE_BYTES: Final = 64 * KIB
# What is unpacked in one step, which is about 0.2 ms, and the most that is ahead of the reader.
STEP_BYTES: Final = 64 * KIB
# What is given to a decompressor at once: zlib copies what it did not get to at each step.
_PIECE_BYTES: Final = 16 * KIB
# Files that are sent as one body; each costs some microseconds, even if it is empty.
MOST_MEMBERS: Final = 1000

# The windows of all bodies being unpacked in one process: 170 of gzip, or 2 of the others.
MOST_HELD_BYTES: Final = 8 * MIB


class Decompression:
    """What request bodies are unpacked with, for one process.

    Args:
        most_held_bytes: what open decompressors may hold together.
    """

    def __init__(self, *, most_held_bytes: int = MOST_HELD_BYTES) -> None:
        self._most_held_bytes = most_held_bytes
        self._held_bytes = 0
        # The garbage collector closes a decoder in the middle of anything, also where this is held.
        self._lock = threading.RLock()
        self._decoders = decoders()

    @property
    def held_bytes(self) -> int:
        """What the open decompressors hold, in bytes."""
        return self._held_bytes

    def begin(
        self,
        scope: Scope,
        max_bytes: int | None = None,
        max_ratio: float | None = MOST_RATIO,
    ) -> RequestDecoder | None:
        """Return what unpacks the body of the request, or None if there is nothing to unpack.

        Args:
            scope: of an HTTP request, with lower-case header names.
            max_bytes: how large the body may be, unpacked.
            max_ratio: how many times larger than sent it may become; None: any number of times.

        Raises:
            RequestRefusedError: 415 where the coding is not known here, 503 where as many bodies
                are being unpacked as may be.
        """
        values = [value for name, value in scope["headers"] if name == b"content-encoding"]
        if not values:
            return None
        name = b",".join(values).strip().lower()
        if name in (b"", b"identity"):
            return None
        known = self._decoders.get(b"gzip" if name == b"x-gzip" else name)
        if known is None:
            raise RequestRefusedError(self._unknown(name))
        held_bytes, make = known
        with self._lock:
            if self._held_bytes + held_bytes > self._most_held_bytes:
                raise RequestRefusedError(_busy())
            self._held_bytes += held_bytes
        return RequestDecoder(
            make,
            max_bytes=max_bytes,
            max_ratio=max_ratio,
            on_close=lambda: self._release(held_bytes),
        )

    def _release(self, held_bytes: int) -> None:
        with self._lock:
            self._held_bytes -= held_bytes

    def _unknown(self, name: bytes) -> Problem:
        known = ", ".join(coding.decode() for coding in self._decoders)
        shown = name[:40].decode("latin-1")
        return Problem(
            status=415,
            error="unsupported_content_encoding",
            detail=f"Content-Encoding {shown!r} is not known here: send the body plain, or as one"
            f" of {known}",
            headers=((b"accept-encoding", known.encode()),),
        )


class RequestDecoder:
    """Unpacks the body of one request; to be closed when the request is over."""

    __slots__ = (
        "_at", "_decoder", "_input", "_make", "_max_bytes", "_max_ratio", "_members", "_more",
        "_on_close", "_receive", "_taken_bytes", "_unpacked_bytes", "is_finished",
    )  # fmt: skip

    def __init__(
        self,
        make: Callable[[], Decoder],
        *,
        max_bytes: int | None,
        max_ratio: float | None,
        on_close: Callable[[], None],
    ) -> None:
        self.is_finished = False
        # First: without memory for a decoder, what was counted for it is given back all the same.
        self._on_close: Callable[[], None] | None = on_close
        self._make = make
        self._decoder = make()
        self._max_bytes = max_bytes
        self._max_ratio = max_ratio
        self._input = b""
        self._at = 0
        self._more = True
        self._members = 1
        self._taken_bytes = 0
        self._unpacked_bytes = 0

    def scope(self, scope: Scope) -> Scope:
        """Return the scope as the application is to see it: of a plain body of unknown length."""
        packed = (b"content-encoding", b"content-length")
        return {**scope, "headers": [each for each in scope["headers"] if each[0] not in packed]}

    def receiver(self, receive: Receive) -> Receive:
        """Return *receive* with the body unpacked; it raises RequestRefusedError."""
        self._receive = receive
        return self._receive_unpacked

    @property
    def disconnected(self) -> bool:
        """Whether the client has gone: asked of whoever ``receive`` belongs to."""
        return is_gone(self._receive)

    async def _receive_unpacked(self) -> Message:
        while not self.is_finished:
            piece = self.take()
            if piece is not None:
                # A small body may be long unpacked: others have their turn between steps.
                await asyncio.sleep(0)
                return {"type": "http.request", "body": piece, "more_body": not self.is_finished}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self.put(message.get("body", b""), more=message.get("more_body", False))
        return await self._receive()

    def put(self, data: bytes, *, more: bool) -> None:
        """Add a part of the body as it was sent; to be asked for after take returned None."""
        self._input = data
        self._at = 0
        self._more = more

    def take(self) -> bytes | None:
        """Return a part of the body unpacked, or None if more input is needed for it.

        Raises:
            RequestRefusedError: 413 where it becomes too large, 400 where it is not in its coding.
        """
        while True:
            piece = b""
            if self._decoder.eof or self._decoder.needs_input:
                if self._at >= len(self._input):
                    return None if self._more else self._finish()
                piece = bytes(self._input[self._at : self._at + _PIECE_BYTES])
                self._at += len(piece)
                self._taken_bytes += len(piece)
            data = self._unpack(piece)
            if data:
                self._check_size(len(data))
                return data

    def close(self) -> None:
        """Free the decompressor; once is enough, twice does no harm."""
        self.is_finished = True
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    __del__ = close

    def _unpack(self, piece: bytes) -> bytes:
        if self._decoder.eof:
            # Files put one after another are a valid gzip and zstd body.
            self._members += 1
            if self._members > MOST_MEMBERS:
                raise RequestRefusedError(_damaged(f"it has more than {MOST_MEMBERS} parts"))
            self._decoder = self._make()
        try:
            data = self._decoder.decompress(piece, STEP_BYTES)
        except MemoryError:
            raise
        except Exception as error:  # each library has its own, and may not be there to be asked
            raise RequestRefusedError(_damaged(str(error))) from error
        if self._decoder.eof:
            unused = len(self._decoder.unused_data)
            self._at -= unused
            self._taken_bytes -= unused
        return data

    def _finish(self) -> bytes:
        if self._taken_bytes and not self._decoder.eof:
            raise RequestRefusedError(_damaged("it ends too early"))
        self.close()
        return b""

    def _check_size(self, length: int) -> None:
        self._unpacked_bytes += length
        if self._max_bytes is not None and self._unpacked_bytes > self._max_bytes:
            limit = format_bytes(self._max_bytes)
            raise RequestRefusedError(_too_large(f"more than {limit}", self._max_bytes))
        if self._max_ratio is None:
            return
        allowed = max(FREE_BYTES, self._max_ratio * self._taken_bytes)
        if self._unpacked_bytes > allowed:
            raise RequestRefusedError(_too_large(f"more than {self._max_ratio:g} times its size"))


def _too_large(why: str, limit_bytes: int | None = None) -> Problem:
    return Problem(
        status=413,
        error="payload_too_large",
        detail=f"the body unpacks to {why}: send less at a time",
        extra={} if limit_bytes is None else {"maxBytes": limit_bytes},
    )


def _damaged(why: str) -> Problem:
    return Problem(
        status=400,
        error="bad_content_encoding",
        detail=f"the body is not what its Content-Encoding says: {why}",
    )


def _busy() -> Problem:
    return Problem(
        status=503,
        error="too_many_compressed_bodies",
        detail="as many compressed bodies are being read as may be: send it again, or send it"
        " plain",
        headers=((b"retry-after", b"1"),),
    )
