"""The response of a WSGI application: limited, compressed, cut, and sent as it comes."""

from __future__ import annotations

import gc
import gzip
import io
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
from tests.support.collector import hangs_at
from tests.web.path.wsgiapps import (
    LONG_TEXT,
    TEXT,
    echo,
    limited_response,
    refused,
    replying,
    streaming,
)
from tests.web.path.wsgiserver import ask

from tonnage.errors import RequestRefusedError
from tonnage.units import KIB
from tonnage.web.path.wsgi import TonnageWSGI
from tonnage.web.path.wsgiresponse import WSGIResponse


@pytest.mark.parametrize(
    "app",
    [
        replying(b"a" * 2000),
        replying(b"a" * 600, b"a" * 600),
        streaming(b"a" * 2000),
        streaming(b"a", headers=[TEXT, ("Content-Length", "2000")]),
    ],
    ids=["one piece", "a list", "a first piece", "an announced length"],
)
def test_a_response_that_is_too_large_is_replaced(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as nothing of it is out: the client is told, and so is the log."""
    with caplog.at_level(logging.WARNING, "tonnage.requests"):
        answer = ask(limited_response(app), "/rows")
    assert refused(answer, 500, "response_too_large")["maxBytes"] == KIB
    assert "GET /rows" in caplog.text


def test_a_path_cannot_write_lines_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nor fill it; a method cannot either, where a server takes any."""
    path = "/a\nERROR all is lost" + "x" * 9999
    server = {"REQUEST_METHOD": "GET\x1b[2J"}
    with caplog.at_level(logging.WARNING, "tonnage.requests"):
        for said in ({}, server):
            ask(limited_response(replying(b"a" * 2000)), path, server=said, is_strict=False)
    assert len(caplog.messages) == 2
    for message in caplog.messages:
        assert message.isprintable()
        assert len(message) < 500


@pytest.mark.parametrize(("said", "status"), [("²", 200), ("9" * 5000, 500)])
def test_a_length_that_is_no_number_is_none(said: str, status: int) -> None:
    """A number too long to be read is too large."""
    app = limited_response(streaming(b"a", headers=[TEXT, ("Content-Length", said)]))
    assert ask(app, is_strict=False).status == status


def test_a_response_that_becomes_too_large_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """The server gets an error, so that it closes; the application's iterable is closed."""
    closed = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        try:
            while True:
                yield b"a" * 300
        finally:
            closed.append(True)

    with caplog.at_level(logging.WARNING, "tonnage.requests"):
        answer = ask(limited_response(app))
    assert answer.status == 200
    assert len(answer.body) == 900
    assert isinstance(answer.error, RequestRefusedError)
    assert closed == [True]
    assert "its response had begun, so its connection is closed" in caplog.text


def test_what_is_written_counts(caplog: pytest.LogCaptureFixture) -> None:
    """By the callable that start_response returns; also where the application hides the error."""
    errors = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [TEXT])
        for _ in range(5):
            try:
                write(b"a" * 300)
            except RequestRefusedError as error:
                errors.append(error)
        return [b"the end"]

    with pytest.raises(RequestRefusedError):
        ask(limited_response(app))
    assert len(errors) == 2
    assert ask(TonnageWSGI(app)).body == b"a" * 1500 + b"the end"


def test_streams_and_head_have_no_limit() -> None:
    """A route that says so; and what only says how long it would be."""
    app = TonnageWSGI(
        streaming(*[b"a" * 600] * 5), max_response="1K", routes={"/events": {"stream": True}}
    )
    assert len(ask(app, "/events").body) == 3000
    assert isinstance(ask(app, "/other").error, RequestRefusedError)
    head = ask(
        limited_response(replying(headers=[TEXT, ("Content-Length", "2000")])), method="HEAD"
    )
    assert (head.status, head.headers["content-length"]) == (200, "2000")


def test_pieces_are_sent_as_they_come() -> None:
    """Nothing waits for what follows, also where it is compressed."""
    made: list[int] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        for number in range(3):
            made.append(number)
            yield b"%d" % number * 100

    for options in ({}, {"max_response": "1M"}, {"compress": True}):
        made.clear()
        seen: list[int] = []
        wrapped = TonnageWSGI(app, **options)

        def watch(
            environ: Any, start_response: Any, wrapped: Any = wrapped, seen: list[int] = seen
        ) -> Iterator[bytes]:
            for piece in wrapped(environ, start_response):
                seen.append(len(made))
                yield piece

        ask(watch, accept_encoding="gzip")
        assert seen[:3] == [1, 2, 3], options


def test_headers_are_removed() -> None:
    """In whatever case they are written."""
    app = TonnageWSGI(
        replying(b"ok", headers=[TEXT, ("X-Powered-By", "tea"), ("server", "old")]),
        remove_headers=["x-powered-by", "Server"],
    )
    assert set(ask(app).headers) == {"content-type", "content-length"}


@pytest.mark.parametrize("app", [replying(LONG_TEXT), streaming(LONG_TEXT, LONG_TEXT)])
def test_responses_are_compressed(app: Any) -> None:
    """For clients that take it; whole ones say how long they have become."""
    compressed = TonnageWSGI(app, compress=True, max_response="1M")
    plain = ask(compressed)
    answer = ask(compressed, accept_encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert gzip.decompress(answer.body) == plain.body
    assert "content-encoding" not in plain.headers
    if "content-length" in plain.headers:
        assert int(answer.headers["content-length"]) == len(answer.body) < KIB


def test_long_and_announced_bodies_are_compressed() -> None:
    """What is larger than a slice; what has said its length, in several pieces."""
    long = LONG_TEXT * 10
    parts = [LONG_TEXT[:1000], b"", LONG_TEXT[1000:]]
    announced = [TEXT, ("Content-Length", str(len(LONG_TEXT)))]
    for app, body in ((replying(long), long), (streaming(*parts, headers=announced), LONG_TEXT)):
        answer = ask(TonnageWSGI(app, compress=True), accept_encoding="gzip")
        assert gzip.decompress(answer.body) == body
        assert b"" not in answer.pieces


def test_what_comes_beyond_an_announced_length_is_not_sent() -> None:
    """What was announced is one whole, as it is encoded; and a list may announce it itself."""
    announced = [TEXT, ("Content-Length", str(len(LONG_TEXT)))]
    for app in (
        streaming(LONG_TEXT, b"more", headers=announced),
        replying(LONG_TEXT, headers=announced),
    ):
        answer = ask(TonnageWSGI(app, compress=True), accept_encoding="gzip", is_strict=False)
        assert gzip.decompress(answer.body) == LONG_TEXT


def test_compression_keeps_out_where_it_should() -> None:
    """Short bodies, HEAD, no content, other types, routes without it, and short memory."""
    app = TonnageWSGI(replying(LONG_TEXT), compress=True, routes={"/raw": {"compress": "off"}})
    image = replying(LONG_TEXT, headers=[("Content-Type", "image/png")])
    none = replying(status="204 No Content", headers=[])
    for plain, method, path in (
        (TonnageWSGI(replying(b"short"), compress=True), "GET", "/"),
        (TonnageWSGI(image, compress=True), "GET", "/"),
        (TonnageWSGI(none, compress=True), "GET", "/"),
        (TonnageWSGI(replying(headers=[TEXT]), compress=True), "HEAD", "/"),
        (TonnageWSGI(replying(LONG_TEXT), compress=True, may_compress=lambda: False), "GET", "/"),
        (app, "GET", "/raw"),
    ):
        answer = ask(plain, path, method=method, accept_encoding="gzip")
        assert "content-encoding" not in answer.headers
    assert ask(TonnageWSGI(none, compress=True)).headers == {}


def test_a_cut_response_gives_its_compressor_back() -> None:
    """Or one after the other would be lost."""
    app = TonnageWSGI(streaming(*[LONG_TEXT] * 5), compress=True, max_response=2 * len(LONG_TEXT))
    for _ in range(3):
        assert isinstance(ask(app, accept_encoding="gzip").error, RequestRefusedError)
    compression: Any = app._lanes.all()[0].compression
    assert compression.streams_bytes == 0


class File(io.BytesIO):
    """A file, and the server's way to send it."""


class Sendfile:
    """What a server returns for a file; only good for being returned."""

    def __init__(self, file: File, size: int) -> None:
        self.file = file

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def test_the_server_sends_files_by_itself_where_it_may() -> None:
    """What it has wrapped is returned as it is, unless it is to be counted or compressed."""
    length = ("Content-Length", str(len(LONG_TEXT)))

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [TEXT] if environ["PATH_INFO"] == "/unsaid" else [TEXT, length])
        return environ["wsgi.file_wrapper"](File(LONG_TEXT), 1000)

    def serve(wrapped: TonnageWSGI, path: str = "/", **headers: str) -> Any:
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "wsgi.url_scheme": "http",
            "wsgi.file_wrapper": Sendfile,
            **headers,
        }
        found: Any = wrapped(environ, lambda *given: len)
        return found if isinstance(found, Sendfile) else b"".join(found)

    assert isinstance(serve(TonnageWSGI(app)), Sendfile)
    assert isinstance(serve(limited_response(app, "1M")), Sendfile)
    assert b"response_too_large" in serve(limited_response(app))
    assert serve(limited_response(app, "1M"), "/unsaid") == LONG_TEXT
    packed = serve(TonnageWSGI(app, compress=True), HTTP_ACCEPT_ENCODING="gzip")
    assert gzip.decompress(packed) == LONG_TEXT


def test_what_starts_twice_is_told() -> None:
    """An application that changes its mind needs a reason; with one the last word counts."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        try:
            raise LookupError
        except LookupError:
            start_response("503 Busy", [TEXT], sys.exc_info())
        return [b"busy"]

    def careless(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        start_response("503 Busy", [TEXT])
        return []

    def late(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b"a"
        try:
            raise LookupError("too late")
        except LookupError:
            start_response("503 Busy", [TEXT], sys.exc_info())

    answer = ask(TonnageWSGI(app))
    assert (answer.status, answer.body) == (503, b"busy")
    with pytest.raises(AssertionError, match="twice"):
        ask(TonnageWSGI(careless))
    assert isinstance(ask(TonnageWSGI(late)).error, LookupError)
    with pytest.raises(AssertionError, match="has not called start_response"):
        ask(TonnageWSGI(lambda environ, start_response: []))


def test_closing_reaches_the_application() -> None:
    """Also of a response that was refused, or that nobody has read to its end."""
    closed: list[str] = []

    class Pieces:
        def __init__(self, name: str, piece: bytes) -> None:
            self.name, self.piece = name, piece

        def __iter__(self) -> Iterator[bytes]:
            yield from (self.piece, self.piece)

        def close(self) -> None:
            closed.append(self.name)

    def app(environ: Any, start_response: Any) -> Pieces:
        start_response("200 OK", [TEXT])
        name = environ["PATH_INFO"]
        return Pieces(name, b"a" * (2000 if name == "/large" else 10))

    limited = limited_response(app)
    ask(limited, "/large")
    ask(limited, "/read")
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/left", "wsgi.url_scheme": "http"}
    response: Any = limited(environ, lambda *given: len)
    next(response)
    response.close()
    response.close()
    assert closed == ["/large", "/read", "/left"]


def serve_plainly(app: Any, body: bytes, most_pieces: int) -> None:
    """Serve one request, without the validator, which keeps what it has seen."""
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/"}
    environ |= {
        "wsgi.url_scheme": "http",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    response = app(environ, lambda *given: len)
    with suppress(RequestRefusedError):
        list(islice(response, most_pieces))
    if isinstance(response, WSGIResponse):
        response.close()


@pytest.mark.parametrize(
    ("app", "body", "most_pieces"),
    [
        (echo, b"a", 9),
        (echo, b"a" * 2000, 9),
        (replying(b"a" * 2000), b"", 9),
        (streaming(*[b"a" * 600] * 3), b"", 9),
        (streaming(*[b"a" * 600] * 3), b"", 1),
    ],
    ids=["answered", "body refused", "response refused", "cut", "client gone"],
)
def test_nothing_of_a_request_waits_for_the_collector(
    app: Any, body: bytes, most_pieces: int
) -> None:
    """A cycle would keep its body and its response for who knows how long."""
    limited = TonnageWSGI(app, max_body="1K", max_response="1K")
    gc.collect()
    gc.disable()
    try:
        serve_plainly(limited, body, most_pieces)
        assert [each for each in gc.get_objects() if type(each) is WSGIResponse] == []
    finally:
        gc.enable()


def test_the_collector_may_find_a_response_that_no_server_has_closed_at_any_line() -> None:
    """Also while its thread opens the stream of the next response, which then does not hang."""
    limited = TonnageWSGI(streaming(b"a" * 2000, b"a" * 2000), compress=True)
    environ = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", "HTTP_ACCEPT_ENCODING": "gzip"}

    def begin() -> Any:
        return limited(dict(environ), lambda *given: len)

    assert hangs_at("path/compress.py", leave=begin, act=lambda: begin().close()) == []
