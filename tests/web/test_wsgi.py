"""WSGI applications behind the adapter: bodies without a length, and bodies that are cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tonnage.errors import RequestRefusedError
from tonnage.web.respond import Message, Scope
from tonnage.web.wsgi import MOST_UNANNOUNCED_BYTES, Wsgi

CHUNKED = (b"transfer-encoding", b"chunked")
GONE: Message = {"type": "http.disconnect"}


def length(size: int) -> tuple[bytes, bytes]:
    """Return the header of a body of *size*."""
    return b"content-length", b"%d" % size


def parts(*pieces: bytes, is_cut: bool = False) -> list[Message]:
    """Return *pieces* as a server gives them; the last one ends the body unless it *is_cut*."""
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    if not is_cut:
        messages[-1]["more_body"] = False
    return [*messages, GONE]


def serve(
    app: Callable[..., Any],
    headers: Iterable[tuple[bytes, bytes]],
    messages: list[Message],
    most_sent: int | None = None,
) -> list[Message]:
    """Return what *app* sends for a request that arrives in *messages*.

    Args:
        app: the application.
        headers: of the request.
        messages: its body.
        most_sent: how many messages the client takes before it is gone; None: all.
    """
    sent: list[Message] = []
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "http_version": "1.1",
        "path": "/",
        "query_string": b"",
        "headers": list(headers),
    }

    async def receive() -> Message:
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message: Message) -> None:
        if len(sent) == most_sent:
            raise ConnectionAbortedError("nobody is there")
        sent.append(message)

    with ThreadPoolExecutor(1) as pool:

        async def run() -> None:
            await Wsgi(app, pool)(scope, receive, send)

        asyncio.run(run())
    return sent


def told(read: Callable[[Any], object]) -> Callable[..., list[bytes]]:
    """Return an application that answers with what *read* makes of its environ."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        found = repr(read(environ)).encode()
        start_response("200 OK", [])
        return [found]

    return app


def body_of(sent: list[Message]) -> bytes:
    """Return the body that was sent."""
    return b"".join(message.get("body", b"") for message in sent)


def shown(environ: Any) -> tuple[str | None, bool, bytes]:
    """Return what an application that reads by the length sees."""
    size = environ.get("CONTENT_LENGTH")
    is_chunked = "HTTP_TRANSFER_ENCODING" in environ
    return size, is_chunked, environ["wsgi.input"].read(int(size or 0))


def test_a_body_in_chunks_has_a_length() -> None:
    """It is there whole when the application begins, as if it had been announced."""
    sent = serve(told(shown), [CHUNKED], parts(b"ab", b"", b"c"))
    assert body_of(sent) == repr(("3", False, b"abc")).encode()


def test_a_body_whose_length_was_taken_away_has_one() -> None:
    """As that of a body that was unpacked on its way."""
    sent = serve(told(shown), [], parts(b"a", b"b"))
    assert body_of(sent) == repr(("2", False, b"ab")).encode()


def test_no_body_has_no_length() -> None:
    """Whether it has no chunks or is none."""
    for headers in ([], [CHUNKED]):
        assert body_of(serve(told(shown), headers, parts(b""))) == repr((None, False, b"")).encode()


def test_a_body_in_chunks_is_bounded() -> None:
    """Beyond it the client is told to announce its length, and the application is not asked."""
    most, size_of = bytes(MOST_UNANNOUNCED_BYTES), told(lambda environ: environ["CONTENT_LENGTH"])
    assert body_of(serve(size_of, [CHUNKED], parts(most))) == f"'{len(most)}'".encode()
    with pytest.raises(RequestRefusedError) as refused:
        serve(told(pytest.fail), [CHUNKED], parts(most, b"a"))
    problem = refused.value.problem
    assert (problem.status, problem.error) == (411, "length_required")
    assert "Content-Length" in problem.detail
    assert b"'2048'" in body_of(serve(told(shown), [length(2048)], parts(b"a" * 2048)))


def test_what_is_cut_is_no_body() -> None:
    """In chunks the application is not asked; by its length it is told when it comes there."""
    assert serve(told(pytest.fail), [CHUNKED], parts(b"ab", is_cut=True)) == []

    def read(environ: Any) -> tuple[bytes, str]:
        body = environ["wsgi.input"]
        first = body.read(2)
        with pytest.raises(OSError, match="gone") as error:
            body.read(2)
        return first, type(error.value).__name__

    sent = serve(told(read), [length(4)], parts(b"ab", is_cut=True))
    assert body_of(sent) == repr((b"ab", "ConnectionResetError")).encode()


@pytest.mark.parametrize("headers", [[CHUNKED], [length(9)]])
def test_a_body_is_read_as_a_file_is(headers: list[tuple[bytes, bytes]]) -> None:
    """Lines with and without a bound, some of them, the rest, and nothing at the end."""

    def read(environ: Any) -> object:
        body = environ["wsgi.input"]
        lines = [body.readline(9), body.readline(1), *body.readlines(1), next(iter(body))]
        return lines, body.read(None), body.read(), body.read(5), body.readline(), list(body)

    sent = serve(told(read), headers, parts(b"a", b"\nbc\n", b"d\nef"))
    lines = [b"a\n", b"b", b"c\n", b"d\n"]
    assert body_of(sent) == repr((lines, b"ef", b"", b"", b"", [])).encode()


@pytest.mark.parametrize("most_sent", [0, 1, 3])
def test_who_makes_a_response_hears_that_nobody_takes_it(most_sent: int) -> None:
    """The application ends where it is, and the server hears why, not what the thread says."""
    ended: list[str] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            for _ in range(1000):
                yield b"x"
        finally:
            ended.append("ended")

    with pytest.raises(ConnectionAbortedError, match="nobody is there"):
        serve(app, [length(0)], parts(b""), most_sent)
    assert ended == ["ended"]


def test_a_response_that_was_all_made_is_not_taken_for_sent() -> None:
    """The last piece may be what the client does not take any more."""
    with pytest.raises(ConnectionAbortedError, match="nobody is there"):
        serve(told(shown), [length(0)], parts(b""), 1)
