"""Decompressors behind one interface: that of the standard library's own for bzip2 and lzma.

Promises: a step gives about as much as it was asked for, whatever was compressed, and a window is
refused that is larger than encoders use. How much a body may become is decided in
:mod:`tonnage.web.path.decompress`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

from tonnage.units import KIB
from tonnage.web.path.encodings import brotli_module, zstd_module

# Asked for by the sender and allocated in full by the reader: RFC 9659 lets zstd ask for 8 MB, and
# brotli may want 16. These are the most that encoders use unless told otherwise.
_ZSTD_WINDOW_LOG: Final = 21
_BROTLI_WINDOW_LOG: Final = 22


class Decoder(Protocol):
    """One stream being unpacked; the interface of the standard library's decompressors."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing to be had without further input."""

    @property
    def unused_data(self) -> bytes:
        """What came after the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take *data*, and return up to about *max_length* bytes."""


# What one holds at most, in bytes, and what makes it.
Kind = tuple[int, Callable[[], Decoder]]


def decoders() -> dict[bytes, Kind]:
    """Return what there is, by the names of Content-Encoding."""
    found: dict[bytes, Kind] = {
        b"gzip": (48 * KIB, lambda: _Inflate(16 + zlib.MAX_WBITS)),
        b"deflate": (48 * KIB, _Deflate),
    }
    brotli, zstd = brotli_module(), zstd_module()
    if brotli is not None:
        found[b"br"] = ((1 << _BROTLI_WINDOW_LOG), lambda: _Brotli(brotli))
    if zstd is not None:
        options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        # The window and a little more, in one block: with huge pages that is two of 2 MB.
        held_bytes = 2 << _ZSTD_WINDOW_LOG
        found[b"zstd"] = (held_bytes, lambda: zstd.ZstdDecompressor(options=options))
    return found


class _Inflate:
    """Zlib's decompressor with the interface of the others."""

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)
        self._is_full = False

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    @property
    def needs_input(self) -> bool:
        return not (self._is_full or self._stream.unconsumed_tail)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        # There may be more of it though all input was read: a repetition that did not fit.
        self._is_full = len(unpacked) >= max_length
        return unpacked


class _Deflate(_Inflate):
    """What is called deflate: zlib's format by the standard, its raw content by many."""

    def __init__(self) -> None:
        super().__init__(zlib.MAX_WBITS)
        self._head: bytes | None = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if self._head is None:
            return super().decompress(data, max_length)
        head = self._head + data
        if len(head) < 2:
            self._head = head
            return b""
        self._head = None
        # RFC 1950: 8 is the method, and the two bytes are a multiple of 31.
        if head[0] & 0x0F != 8 or (head[0] << 8 | head[1]) % 31:
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        return super().decompress(head, max_length)


class _Brotli:
    """Brotli's decompressor with the interface of the others, and a bound on its window."""

    unused_data = b""

    def __init__(self, brotli: Any) -> None:
        self._stream = brotli.Decompressor()
        self._is_new = True
        self._is_full = False

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())

    @property
    def needs_input(self) -> bool:
        return not self._is_full and bool(self._stream.can_accept_more_data())

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if self._is_new and data:
            self._is_new = False
            if _brotli_window_log(data[0]) > _BROTLI_WINDOW_LOG:
                raise ValueError(f"its window is larger than {1 << _BROTLI_WINDOW_LOG} bytes")
        unpacked = bytes(self._stream.process(data, output_buffer_limit=max_length))
        # As with zlib: all input may be taken, and output be left of it.
        self._is_full = len(unpacked) >= max_length
        return unpacked


def _brotli_window_log(first: int) -> int:
    """Return the base 2 logarithm of the window that a stream asks for (RFC 7932, 9.1)."""
    if not first & 1:
        return 16
    if first >> 1 & 7:
        return 17 + (first >> 1 & 7)
    shorter = first >> 4 & 7
    # 1 is a window of up to 1 GB, which brotli itself does not take unless told to.
    return {0: 17, 1: 30}.get(shorter, 8 + shorter)
