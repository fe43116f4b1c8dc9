"""Responses are compressed where it helps, at the moment they are sent, and within a bound."""

from __future__ import annotations

import asyncio
import ctypes
import gzip
import importlib
import random
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tonnage.units import KIB
from tonnage.web.path.compress import (
    SLICE_BYTES,
    WHOLE_BYTES,
    Compression,
)
from tonnage.web.path.compressible import MOST_REMEMBERED
from tonnage.web.respond import Message, Scope

# Without an extra installed only gzip is there: what does not ask for another coding says gzip.
PAGE = b'{"title": "A page that gains by compression", "price": 12.5},\n' * 60
LONG = PAGE * 60
JSON = ("content-type", "application/json")


def request(accepted: str | None = "gzip", method: str = "GET", **more: Any) -> Scope:
    """Return the scope of a request."""
    headers = [] if accepted is None else [(b"accept-encoding", accepted.encode())]
    return {"type": "http", "method": method, "headers": headers, **more}


def start(*headers: tuple[str, str], status: int = 200, **more: Any) -> Message:
    """Return the start of a response."""
    given = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": given, **more}


def body(data: bytes, more: bool = False) -> Message:
    """Return a piece of a body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


def whole(data: bytes = PAGE, *headers: tuple[str, str], **more: Any) -> list[Message]:
    """Return a response of known length in one piece."""
    length = ("content-length", str(len(data)))
    return [start(length, *(headers or (JSON,)), **more), body(data)]


def respond(
    messages: list[Message],
    scope: Scope | None = None,
    compression: Compression | None = None,
) -> list[Message]:
    """Return what is sent when the application sends *messages*."""
    compression = compression or Compression()
    first, encoder = compression.begin(scope or request(), messages[0])
    sent = [] if first is None else [first]
    for message in messages[1:]:
        sent += [message] if encoder is None else encoder.messages(message)
    if encoder is not None:
        encoder.close()
    return sent


def headers(sent: list[Message]) -> dict[str, str]:
    """Return the headers of what was sent; none of them is there twice."""
    names = [name for name, _ in sent[0]["headers"]]
    assert len(names) == len({name.lower() for name in names})
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def content(sent: list[Message]) -> bytes:
    """Return the body as sent."""
    return b"".join(message.get("body", b"") for message in sent[1:])


def unpack(name: str) -> Callable[[bytes], bytes]:
    """Return what undoes a coding, by another hand than ours."""
    if name == "gzip":
        return gzip.decompress
    if name == "br":
        brotli = pytest.importorskip("brotli")
        return lambda data: bytes(brotli.decompress(data))
    for module in ("compression.zstd", "backports.zstd"):
        try:
            zstd = importlib.import_module(module)
        except ImportError:
            continue
        return lambda data: bytes(zstd.decompress(data))
    pytest.skip("no zstd")


each_coding = pytest.mark.parametrize("name", ["gzip", "br", "zstd"])


@each_coding
def test_a_page_is_compressed_at_once(name: str) -> None:
    """It has the length of what is sent, so the connection goes on as with any other page."""
    undo = unpack(name)

    sent = respond(whole(), request(name))

    assert undo(content(sent)) == PAGE
    assert headers(sent) == {
        "content-type": "application/json",
        "content-encoding": name,
        "content-length": str(len(content(sent))),
        "vary": "accept-encoding",
    }
    assert len(content(sent)) < len(PAGE) / 5


@each_coding
def test_each_piece_of_a_stream_is_there_when_it_was_sent(name: str) -> None:
    """A client can read all that the application sent so far, however little it was."""
    undo = unpack(name)
    compression = Compression()
    pieces = [b"one", b"two" * 100, b"", PAGE, b"three"]
    first, encoder = compression.begin(request(name), start(JSON))
    assert first is not None
    assert encoder is not None
    sent = b""
    seen = 0
    decoder = zlib.decompressobj(31) if name == "gzip" else None
    for piece in pieces:
        (message,) = encoder.messages(body(piece, more=True))
        sent += message["body"]
        if decoder is not None:
            seen += len(decoder.decompress(message["body"]))
            assert seen == len(b"".join(pieces[: pieces.index(piece) + 1]))
        assert bool(message["body"]) == bool(piece)
    (message,) = encoder.messages(body(b"end"))
    sent += message["body"]

    assert undo(sent) == b"".join(pieces) + b"end"
    assert compression.streams_bytes == 0


@each_coding
@pytest.mark.parametrize("size", [WHOLE_BYTES, WHOLE_BYTES + 1, 5 * SLICE_BYTES, 300_001])
def test_a_body_of_any_size_arrives(name: str, size: int) -> None:
    """Long ones go in slices, without a length, and nothing is missing at their edges."""
    undo = unpack(name)
    data = (LONG * 2)[:size]

    sent = respond(whole(data), request(name))

    assert undo(content(sent)) == data
    assert [message["more_body"] for message in sent[1:]] == [True] * (len(sent) - 2) + [False]
    assert ("content-length" in headers(sent)) == (size <= WHOLE_BYTES)


async def test_others_have_their_turn_while_a_long_body_is_compressed() -> None:
    """Between two slices the event loop goes round."""
    turns = 0
    sent: list[Message] = []

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def send(message: Message) -> None:
        sent.append(message)

    first, encoder = Compression().begin(request(), whole(LONG)[0])
    assert first is None
    assert encoder is not None
    task = asyncio.create_task(other())
    await encoder.send(body(LONG), send)
    task.cancel()

    assert turns >= len(LONG) // SLICE_BYTES
    assert gzip.decompress(content(sent)) == LONG
    assert all(message["body"] for message in sent[1:])


def test_the_start_of_a_stream_is_sent_at_once() -> None:
    """A client sees the headers though the first piece may take a while."""
    first, encoder = Compression().begin(request(), start(JSON))

    assert first is not None
    assert dict(first["headers"])[b"content-encoding"] == b"gzip"
    assert encoder is not None


def test_a_response_that_fails_before_its_body_has_not_begun() -> None:
    """Its start was held, so an error page can still take its place."""
    messages = whole()
    first, encoder = Compression().begin(request(), messages[0])

    assert first is None
    assert encoder is not None
    assert encoder.is_holding
    assert len(tuple(encoder.messages(messages[1]))) == 2
    assert not encoder.is_holding


@pytest.mark.parametrize(
    "messages",
    [
        whole(PAGE, ("content-type", "image/png")),
        whole(PAGE, ("content-type", "application/octet-stream")),
        whole(PAGE, ("content-type", "text/event-stream")),
        [start(("content-type", "text/event-stream; charset=utf-8")), body(PAGE, more=True)],
        whole(PAGE, ("x-other", "no type")),
        whole(PAGE, JSON, ("content-encoding", "br")),
        whole(PAGE, JSON, ("cache-control", "public, No-Transform")),
        whole(PAGE, JSON, ("content-digest", "sha-256=:abc=:")),
        whole(b"{}" * 100),
    ],
)
def test_what_would_not_gain_is_left_as_it_is(messages: list[Message]) -> None:
    """Compressed types, event streams, small bodies, and what may not be changed."""
    assert respond(messages) == messages


@pytest.mark.parametrize(
    ("messages", "scope"),
    [
        (whole(), request(None)),
        (whole(), request("")),
        (whole(), request("gzip;q=0")),
        (whole(), request("identity, deflate")),
        (whole(), request(method="HEAD")),
        (whole(status=206), request()),
        ([start(JSON, status=204), body(b"")], request()),
    ],
)
def test_what_is_not_compressed_this_time_says_that_it_varies(
    messages: list[Message], scope: Scope
) -> None:
    """A cache may not give it to a client that takes more, nor the other way round."""
    sent = respond(messages, scope)

    assert headers(sent) == {**headers(messages), "vary": "accept-encoding"}
    assert sent[1:] == messages[1:]


@pytest.mark.parametrize("given", ["Accept-Encoding", "origin, accept-encoding", "*"])
def test_what_varies_already_does_not_say_so_twice(given: str) -> None:
    """One Vary is enough."""
    assert headers(respond(whole(PAGE, JSON, ("vary", given))))["vary"] == given


def test_what_varies_otherwise_too_says_both() -> None:
    """Caches add the values of several Vary up."""
    sent = respond(whole(PAGE, JSON, ("vary", "origin")))

    varies = [value for name, value in sent[0]["headers"] if name == b"vary"]
    assert varies == [b"origin", b"accept-encoding"]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html; charset=utf-8",
        "TEXT/CSV",
        "application/vnd.api+json",
        "image/svg+xml",
        "application/x-ndjson",
        "application/x-mine",
    ],
)
def test_text_in_all_its_forms_gains(content_type: str) -> None:
    """By name, by suffix, in any case, with parameters, and what the options name."""
    compression = Compression(types=["Application/X-Mine"])

    for _ in range(2):  # the second time from memory
        sent = respond(whole(PAGE, ("content-type", content_type)), compression=compression)
        assert gzip.decompress(content(sent)) == PAGE


def test_names_of_headers_may_be_written_as_in_http_1() -> None:
    """Django leaves them so, though ASGI wants lower case."""
    given = [
        start(("Content-Type", "text/html"), ("Content-Length", str(len(PAGE))), ("ETag", '"a"')),
        body(PAGE),
    ]

    sent = respond(given)

    assert headers(sent)["ETag"] == 'W/"a"'
    assert headers(sent)["content-length"] == str(len(content(sent)))
    assert "Content-Length" not in headers(sent)


def test_a_strong_etag_becomes_weak_and_ranges_are_not_offered() -> None:
    """The bytes are others, the content is the same; parts would be of the plain body."""
    sent = respond(whole(PAGE, JSON, ("etag", '"abc"'), ("accept-ranges", "bytes")))

    assert headers(sent)["etag"] == 'W/"abc"'
    assert "accept-ranges" not in headers(sent)
    assert headers(respond(whole(PAGE, JSON, ("etag", 'W/"abc"'))))["etag"] == 'W/"abc"'


@pytest.mark.parametrize(("accepted", "etag"), [("gzip", 'W/"abc"'), (None, '"abc"')])
def test_a_304_says_what_the_whole_response_would_have_said(
    accepted: str | None, etag: str
) -> None:
    """Else a cache would not find the response that it is about."""
    for given in ((), (("content-length", "0"),)):
        revalidated = start(*given, ("etag", '"abc"'), status=304)
        sent = respond([revalidated, body(b"")], request(accepted))
        assert headers(sent) == {**dict(given), "etag": etag, "vary": "accept-encoding"}


def test_what_does_not_get_smaller_is_sent_plain() -> None:
    """Random bytes grow by compression; a client that refuses plain bodies gets them so."""
    noise = random.Random(1).randbytes(4 * KIB)

    plain = respond(whole(noise))
    insisted = respond(whole(noise), request("gzip, identity;q=0"))

    assert content(plain) == noise
    assert headers(plain)["content-length"] == str(len(noise))
    assert gzip.decompress(content(insisted)) == noise


def test_nothing_is_compressed_while_memory_is_short() -> None:
    """The owner says so; a stream that is open already goes on."""
    is_short = False
    compression = Compression(may_compress=lambda: not is_short)
    _, encoder = compression.begin(request(), start(JSON))
    assert encoder is not None
    is_short = True

    sent = respond(whole(), compression=compression)
    (last,) = encoder.messages(body(PAGE))

    assert content(sent) == PAGE
    assert headers(sent)["vary"] == "accept-encoding"
    assert gzip.decompress(last["body"]) == PAGE


def test_beyond_the_bound_streams_are_plain() -> None:
    """What open streams hold is counted; one that ends makes room for another."""
    compression = Compression(most_stream_bytes=80 * KIB)
    open_ones = [compression.begin(request(), start(JSON))[1] for _ in range(2)]
    assert compression.streams_bytes == 80 * KIB

    plain = respond([start(JSON), body(b"a", more=True), body(b"b")], compression=compression)
    long_one = respond(whole(LONG), compression=compression)
    known_length = respond(
        [start(JSON, ("content-length", "5000")), body(PAGE, more=True), body(b"b")],
        compression=compression,
    )
    whole_one = respond(whole(), compression=compression)

    assert content(plain) == b"ab"
    assert "content-encoding" not in headers(plain)
    assert content(long_one) == LONG
    assert headers(long_one)["content-length"] == str(len(LONG))
    assert content(known_length) == PAGE + b"b"
    assert headers(known_length)["content-length"] == "5000"
    # This one holds nothing once it is there.
    assert headers(whole_one)["content-encoding"] == "gzip"
    assert open_ones[0] is not None
    open_ones[0].close()
    open_ones[0].close()
    assert compression.streams_bytes == 40 * KIB
    again = respond([start(JSON), body(b"a")], compression=compression)
    assert gzip.decompress(content(again)) == b"a"


def test_a_larger_coding_gives_way_to_a_smaller_one() -> None:
    """Where zstd does not fit any more, gzip may."""
    unpack("zstd")
    compression = Compression(most_stream_bytes=370 * KIB)
    streams = [compression.begin(request("zstd, gzip"), start(JSON)) for _ in range(2)]

    names = [dict(first["headers"])[b"content-encoding"] for first, _ in streams if first]
    assert names == [b"zstd", b"gzip"]
    del streams
    # A stream that nobody closed is as gone as its memory.
    assert compression.streams_bytes == 0


def test_a_file_that_the_server_reads_itself_goes_plain() -> None:
    """Its start was held until that was known."""
    path: Message = {"type": "http.response.pathsend", "path": "page.html"}
    scope = request(extensions={"http.response.pathsend": {}})

    for given in (start(("content-length", "5000"), JSON), start(JSON)):
        sent = respond([given, path], scope)
        assert sent[1] is path
        assert headers(sent) == {**headers([given]), "vary": "accept-encoding"}


def test_trailers_follow_the_body() -> None:
    """A body with trailers is chunked, and has no length."""
    trailers: Message = {"type": "http.response.trailers", "headers": []}
    sent = respond([start(JSON, ("content-length", "9999"), trailers=True), body(PAGE), trailers])

    assert gzip.decompress(sent[1]["body"]) == PAGE
    assert sent[2] is trailers
    assert "content-length" not in headers(sent)


def test_an_empty_stream_is_a_valid_one() -> None:
    """The application said nothing in the end."""
    assert gzip.decompress(content(respond([start(JSON), body(b"")]))) == b""


def test_the_messages_of_the_application_are_left_as_they_are() -> None:
    """An application may send the same start again and again."""
    messages = whole()
    before = repr(messages)

    respond(messages)
    respond(messages, request(None))

    assert repr(messages) == before


def test_invented_headers_do_not_fill_the_memory() -> None:
    """What is remembered of types and of Accept-Encoding is bounded, and stays right."""
    compression = Compression()

    def invent(numbers: range) -> None:
        for number in numbers:
            given = whole(PAGE, ("content-type", f"text/x-{number}"))
            sent = respond(given, request(f"gzip, x{number};q=0.{number}"), compression)
            assert headers(sent)["content-encoding"] == "gzip"

    invent(range(MOST_REMEMBERED - 10))
    tracemalloc.start()
    invent(range(MOST_REMEMBERED, 3 * MOST_REMEMBERED - 10))
    respond(whole(), request("gzip" + ", x" * 10_000), compression)
    grown_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown_bytes < MOST_REMEMBERED * 600


@each_coding
def test_a_stream_holds_no_more_than_it_is_counted_with(name: str) -> None:
    """Asked of the C library, with streams that have seen more than their windows."""
    unpack(name)
    allocated_bytes = allocated()
    scope = request(name)
    compression = Compression()
    respond([start(JSON), body(LONG)], scope, compression)  # tables that a library makes once
    before_bytes = allocated_bytes()
    encoders = [compression.begin(scope, start(JSON))[1] for _ in range(10)]
    for encoder in encoders:
        assert encoder is not None
        for at in range(0, 4 * WHOLE_BYTES, SLICE_BYTES):
            encoder.messages(body((LONG * 2)[at : at + SLICE_BYTES], more=True))

    held_bytes = allocated_bytes() - before_bytes
    assert compression.streams_bytes / 2 < held_bytes < compression.streams_bytes


def allocated() -> Callable[[], int]:
    """Return what says how many bytes the C library has handed out."""
    size = ctypes.c_size_t

    class Mallinfo2(ctypes.Structure):
        _fields_ = (
            ("_", size * 4),
            ("mapped", size),
            ("_", size * 2),
            ("used", size),
            ("_", size * 2),
        )

    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        pytest.skip("not glibc 2.33 or later")
    mallinfo2.restype = Mallinfo2

    def allocated_bytes() -> int:
        info = mallinfo2()
        return int(info.used + info.mapped)

    return allocated_bytes
