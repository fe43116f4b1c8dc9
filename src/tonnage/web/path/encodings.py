"""Content codings: which one a client takes, and what compresses with it.

Promises: ``Accept-Encoding`` is read as RFC 9110 (12.5.3) has it, and each coding states what one
open stream of it holds in memory.

Does not decide whether a response is worth it, nor how many streams may be open: that is
:mod:`tonnage.web.path.compress`. What clients send is undone by :mod:`tonnage.web.path.decompress`.

gzip is always there; zstd needs Python 3.14 or ``backports.zstd``, brotli needs ``brotli``: both
come with ``tonnage[compress]``.
"""

from __future__ import annotations

import importlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Small windows for streams, which may be many and last: 37 KB each instead of 250, for a fifth more
# bytes at the same speed. What is compressed whole is over before the next one begins.
_STREAM_WBITS: Final = 16 + 12
_STREAM_MEM_LEVEL: Final = 5
_WHOLE_WBITS: Final = 16 + 15

# Level 1 is as small as gzip at 6 and six times faster. Its streams would take 1.2 MB each with
# the usual window, which also sizes the buffers; level 3 would take 3.4 MB.
_ZSTD_LEVEL: Final = 1
_ZSTD_STREAM_WINDOW_LOG: Final = 15

# Quality 4 is smaller than gzip at 6 in half the time, but a stream of it comes to 1.5 MB. At 1 it
# takes what is passed at once, up to its window.
_BROTLI_WHOLE_QUALITY: Final = 4
_BROTLI_WHOLE_WINDOW_LOG: Final = 18
_BROTLI_STREAM_QUALITY: Final = 1
_BROTLI_STREAM_WINDOW_LOG: Final = 14


class Coder(Protocol):
    """One stream being compressed."""

    def compress(self, data: bytes | memoryview) -> bytes:
        """Take *data*, and return what is ready."""

    def flush(self) -> bytes:
        """Return all that the reader needs for what was taken so far."""

    def finish(self) -> bytes:
        """Return the rest; the stream has ended."""


@dataclass(frozen=True, slots=True)
class Coding:
    """A way to compress: for all of a body at once, or for a stream."""

    name: bytes
    # What one open stream allocates, measured with 256 KB of JSON; rounded up.
    stream_bytes: int
    stream: Callable[[], Coder]
    whole: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a client takes: codings in the order to try them, and whether it does without any."""

    codings: tuple[Coding, ...]
    identity: bool = True


def codings(gzip_level: int) -> tuple[Coding, ...]:
    """Return what can be used here, best first.

    Args:
        gzip_level: 1 (fast) to 9 (small); the others have levels of their own, which cost less
            time and give less to send than gzip does at its usual 6.
    """
    found = [_zstd(), _brotli(), _gzip(gzip_level)]
    return tuple(coding for coding in found if coding is not None)


def taken(accept_encoding: bytes, offered: tuple[Coding, ...]) -> Taken:
    """Return which of the *offered* codings a client takes that sent *accept_encoding*.

    The client's weights come first, then our order. ``identity`` is preferred only to what is
    given a lower weight than it; not named it is taken, unless ``*;q=0`` says otherwise.
    """
    weights = dict(_weights(accept_encoding))
    others = weights.get(b"*", 0.0)
    identity = weights.get(b"identity")
    wanted = {coding: weights.get(coding.name, others) for coding in offered}
    useful = [
        coding for coding in offered if wanted[coding] > 0 and wanted[coding] >= (identity or 0)
    ]
    useful.sort(key=lambda coding: -wanted[coding])  # a stable sort: of equals, ours comes first
    refused = identity == 0 or (identity is None and weights.get(b"*") == 0)
    return Taken(tuple(useful), identity=not refused)


def _weights(accept_encoding: bytes) -> Iterable[tuple[bytes, float]]:
    for part in accept_encoding.lower().split(b","):
        name, *parameters = part.split(b";")
        name = name.strip()
        if name:
            yield name.removeprefix(b"x-") if name == b"x-gzip" else name, _weight(parameters)


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0  # not a weight: rather plain than what it may not want
            return weight if 0.0 <= weight <= 1.0 else 0.0
    return 1.0


class _Gzip:
    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, _STREAM_WBITS, _STREAM_MEM_LEVEL)
        self.compress = self._stream.compress
        self.finish = self._stream.flush

    def flush(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)


def _gzip(level: int) -> Coding:
    return Coding(
        b"gzip",
        stream_bytes=40 * KIB,
        stream=lambda: _Gzip(level),
        whole=lambda body: zlib.compress(body, level, _WHOLE_WBITS),
    )


class _Zstd:
    def __init__(self, zstd: Any, options: dict[Any, int]) -> None:
        self._stream = stream = zstd.ZstdCompressor(options=options)
        self.compress = stream.compress
        self.finish = stream.flush

    def flush(self) -> bytes:
        return bytes(self._stream.flush(self._stream.FLUSH_BLOCK))


def _zstd() -> Coding | None:
    zstd = zstd_module()
    if zstd is None:
        return None
    parameter = zstd.CompressionParameter
    options = {
        parameter.compression_level: _ZSTD_LEVEL,
        parameter.window_log: _ZSTD_STREAM_WINDOW_LOG,
    }
    return Coding(
        b"zstd",
        stream_bytes=320 * KIB,
        stream=lambda: _Zstd(zstd, options),
        whole=lambda body: bytes(zstd.compress(body, _ZSTD_LEVEL)),
    )


class _Brotli:
    def __init__(self, brotli: Any) -> None:
        stream = brotli.Compressor(quality=_BROTLI_STREAM_QUALITY, lgwin=_BROTLI_STREAM_WINDOW_LOG)
        self.compress = stream.process
        self.flush = stream.flush
        self.finish = stream.finish


def _brotli() -> Coding | None:
    brotli = brotli_module()
    if brotli is None:
        return None

    def whole(body: bytes) -> bytes:
        quality, window_log = _BROTLI_WHOLE_QUALITY, _BROTLI_WHOLE_WINDOW_LOG
        return bytes(brotli.compress(body, quality=quality, lgwin=window_log))

    return Coding(b"br", stream_bytes=120 * KIB, stream=lambda: _Brotli(brotli), whole=whole)


def zstd_module() -> Any | None:
    """Return the standard library's zstd or its backport; None if there is neither."""
    return _module("compression.zstd") or _module("backports.zstd")


def brotli_module() -> Any | None:
    """Return brotli, if it is there and new enough (1.2) to bound what it decompresses."""
    brotli = _module("brotli")
    return (
        brotli if hasattr(getattr(brotli, "Decompressor", None), "can_accept_more_data") else None
    )


def _module(name: str) -> Any | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
