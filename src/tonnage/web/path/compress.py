"""Responses are compressed where that saves the client something, within a bounded memory.

Promises: what an application sends at one moment is sent at that moment, however small; nothing is
held back in a compressor. At most :data:`MOST_STREAM_BYTES` are in open streams; beyond it, and
while the owner says no (memory is short), responses go as they are. ``Vary`` is right also then.

Does not compress: what is compressed already, event streams, ranges, small bodies, types that are
not known to gain, and what says ``no-transform``. How is :mod:`tonnage.web.path.encodings`.

A body of known length that comes in one piece of up to :data:`WHOLE_BYTES` is compressed at once
and has a ``Content-Length``; all others are streams. A longer piece is compressed in slices with
the event loop's turn between them. Threads would have been quicker on an idle core (86 instead of
49 MB/s with four bodies of 1 MB), but take the application's places in the pool, cannot be
cancelled, and are no quicker where each core has its worker; a slice stalls the loop for 0.3 ms.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

from tonnage.units import KIB, MIB
from tonnage.web.path.compressible import (
    VARY_HEADER,
    ContentTypes,
    encoded,
    remember,
    weakened,
)
from tonnage.web.path.encodings import Taken, codings, taken
from tonnage.web.path.heads import Head

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from tonnage.web.path.encodings import Coder, Coding
    from tonnage.web.respond import Message, Scope, Send

# What is smaller fits into one packet either way.
MIN_BYTES: Final = KIB
# The open streams of one process: 102 of gzip, 34 of brotli, or 12 of zstd.
MOST_STREAM_BYTES: Final = 4 * MIB
# Up to here at once: 1.2 ms of gzip, 0.1 ms of zstd.
WHOLE_BYTES: Final = 64 * KIB
SLICE_BYTES: Final = 16 * KIB

_NO_BODY: Final = frozenset((204, 205, 304))
_PATH_SENDING: Final = ("http.response.pathsend", "http.response.zerocopysend")


class Compression:
    """What responses are compressed with, for one process; each compressed one has an Encoder.

    Args:
        level: gzip's, from 1 (fast) to 9 (small).
        min_bytes: bodies known to be smaller go as they are.
        types: content types to compress besides the usual ones.
        may_compress: asked before a response is compressed; says no while memory is short.
        most_stream_bytes: what open streams may hold together.
    """

    def __init__(
        self,
        *,
        level: int = 6,
        min_bytes: int = MIN_BYTES,
        types: Collection[str] = (),
        may_compress: Callable[[], bool] = lambda: True,
        most_stream_bytes: int = MOST_STREAM_BYTES,
    ) -> None:
        self._min_bytes = min_bytes
        self._types = ContentTypes(types)
        self._may_compress = may_compress
        self._most_stream_bytes = most_stream_bytes
        self._codings = codings(level)
        self._known_accepts: dict[bytes, Taken] = {}
        self._streams_bytes = 0
        # WSGI's threads open and close streams too, and the garbage collector closes them in the
        # middle of anything, so that a thread can come here twice.
        self._lock = threading.RLock()

    @property
    def streams_bytes(self) -> int:
        """What the open streams hold, in bytes."""
        return self._streams_bytes

    def begin(
        self, scope: Scope, start: Message, head: Head | None = None
    ) -> tuple[Message | None, Encoder | None]:
        """Look at the *start* of a response; to be asked once, before it is sent.

        Args:
            scope: the request.
            start: the start.
            head: what it says, if that was looked at already.

        Returns:
            What is to be sent now, and what all further messages of the response have to go
            through: None if they go as they are. An encoder may hold the start until the body
            comes, and then nothing is to be sent now; an application that fails before that has
            not begun its response.
        """
        if head is None:
            head = Head(start.get("headers", ()))
        # A 304 says no type, but has to say what the whole response would have said.
        is_revalidation = start["status"] == 304
        length = head.length_bytes
        if length is not None and length < self._min_bytes and not is_revalidation:
            return start, None
        if not self._gains(head, is_revalidation):
            return start, None
        if not head.varies:
            start = {**start, "headers": [*start.get("headers", ()), VARY_HEADER]}
        if is_revalidation:
            return (weakened(start) if self._taken(scope).codings else start), None
        return self._begin(scope, start, -1 if length is None else length)

    def _gains(self, head: Head, is_revalidation: bool) -> bool:
        if head.is_final:
            return False
        kind = head.content_type
        return self._types.gain(kind) if kind else is_revalidation

    def _begin(
        self, scope: Scope, start: Message, length: int
    ) -> tuple[Message | None, Encoder | None]:
        """Compress what gains by it, if the client takes it and there is room for it."""
        status = start["status"]
        if status in _NO_BODY or status == 206 or scope["method"] == "HEAD":
            return start, None
        client = self._taken(scope)
        if not client.codings or not self._may_compress():
            return start, None
        encoder = Encoder(self, client, start)
        if length < 0 and not _sends_paths(scope):
            # It may be a while until the first piece: the client sees the headers meanwhile.
            return encoder.open(), encoder
        return None, encoder

    def lease(self, client: Taken) -> Coding | None:
        """Return the best coding that a further stream has room for, which is then taken."""
        with self._lock:
            for coding in client.codings:
                if self._streams_bytes + coding.stream_bytes <= self._most_stream_bytes:
                    self._streams_bytes += coding.stream_bytes
                    return coding
        return None

    def release(self, coding: Coding) -> None:
        """Give the room of a stream back."""
        with self._lock:
            self._streams_bytes -= coding.stream_bytes

    def _taken(self, scope: Scope) -> Taken:
        accepted = b",".join([v for name, v in scope["headers"] if name == b"accept-encoding"])
        known = self._known_accepts.get(accepted)
        if known is None:
            known = taken(accepted, self._codings)
            remember(self._known_accepts, accepted, known)
        return known


class Encoder:
    """Compresses one response; the messages that it is given are left as they are.

    To be closed when the response is over, also if it was cut: its memory is another's then.
    """

    __slots__ = ("_client", "_coder", "_coding", "_compression", "_held", "_is_plain")

    def __init__(self, compression: Compression, client: Taken, start: Message) -> None:
        self._compression = compression
        self._client = client
        self._held: Message | None = start
        self._coding: Coding | None = None
        self._coder: Coder | None = None
        self._is_plain = False

    @property
    def is_holding(self) -> bool:
        """Whether the start is still here: another answer may take the response's place."""
        return self._held is not None

    def open(self) -> Message:
        """Begin a stream, and return the start of the response; plain if there is no room."""
        start, self._held = self._held, None
        assert start is not None, "a response starts once"
        self._coding = self._compression.lease(self._client)
        if self._coding is None:
            self._is_plain = True
            return start
        self._coder = self._coding.stream()
        return {**start, "headers": encoded(start["headers"], self._coding.name)}

    async def send(self, message: Message, send: Send) -> None:
        """Send what *message* becomes, with the event loop's turn between slices of a long one."""
        messages = self.messages(message)
        if isinstance(messages, tuple):
            for ready in messages:
                await send(ready)
            return
        for ready in messages:
            if ready.get("body") or not ready.get("more_body"):
                await send(ready)
            await asyncio.sleep(0)

    def messages(self, message: Message) -> Iterable[Message]:
        """Return what *message* becomes: a tuple, or an iterator that compresses as it goes.

        The iterator's pieces may be empty: each stands for the time of one slice.
        """
        if message["type"] != "http.response.body":
            return self._passed(message)
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if self._is_plain:
            return (message,)
        if len(body) > WHOLE_BYTES:
            return self._in_slices(memoryview(body), more)
        if self._held is None:
            return (self._piece(body, more),)
        if more:
            start = self.open()
            return (start, message if self._coder is None else self._piece(body, more))
        return self._whole(body, message)

    def close(self) -> None:
        """Free the stream; once is enough, twice does no harm."""
        coding, self._coding, self._coder = self._coding, None, None
        if coding is not None:
            self._compression.release(coding)

    # A stream lives as long as what holds it, so what is counted stays true also where an owner
    # was ended before it could close.
    __del__ = close

    def _passed(self, message: Message) -> tuple[Message, ...]:
        if self._held is not None and message["type"] in _PATH_SENDING:
            # The server reads the file itself.
            start, self._held = self._held, None
            self._is_plain = True
            return (start, message)
        return (message,)

    def _whole(self, body: bytes, message: Message) -> tuple[Message, ...]:
        start, self._held = self._held, None
        assert start is not None
        self._is_plain = True  # whatever may follow, trailers
        coding = self._client.codings[0]
        packed = coding.whole(body) if body else b""
        if not body or (len(packed) >= len(body) and self._client.identity):
            return (start, message)
        headers = encoded(start["headers"], coding.name)
        if not start.get("trailers"):
            headers.append((b"content-length", b"%d" % len(packed)))
        return {**start, "headers": headers}, {**message, "body": packed}

    def _piece(self, body: bytes | memoryview, more: bool) -> Message:
        coder = self._coder
        assert coder is not None, "the response is over"
        # An empty piece may be the application's sign of life.
        packed = coder.compress(body) if body else b""
        if not more:
            packed += coder.finish()
            self.close()
            self._is_plain = True
        elif body:
            packed += coder.flush()
        return _body(packed, more)

    def _in_slices(self, body: memoryview, more: bool) -> Iterator[Message]:
        if self._held is not None:
            yield self.open()
        coder = self._coder
        if coder is None:
            yield _body(bytes(body), more)
            return
        slices = range(0, len(body), SLICE_BYTES)
        for at in slices[:-1]:
            yield _body(coder.compress(body[at : at + SLICE_BYTES]), more=True)
        yield self._piece(body[slices[-1] :], more)


def _body(data: bytes, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def _sends_paths(scope: Scope) -> bool:
    extensions = scope.get("extensions") or ()
    return any(name in extensions for name in _PATH_SENDING)
