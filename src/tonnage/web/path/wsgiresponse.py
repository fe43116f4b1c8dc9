"""One response of a WSGI application on its way to the server.

Covers the limit of its size, headers added and removed, compression, and our answer in the place of
the application's where it broke a limit; :mod:`tonnage.web.path.passage` is the same for ASGI.

As WSGI has it, a response begins with its first byte, whenever ``start_response`` was called. So
the first piece is asked for before the server gets anything, and until then another answer may
take its place. What turns out later to be too large is cut: the iterable raises, and servers then
close the connection without ending the response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import RequestRefusedError
from tonnage.problem import log_refusal, problem_in, response_too_large
from tonnage.units import KIB
from tonnage.web.path.heads import announced_bytes
from tonnage.web.path.swallowed import is_logged, refusal_behind

if TYPE_CHECKING:
    from tonnage.answer import Answer
    from tonnage.problem import Problem
    from tonnage.web.path.compress import Encoder
    from tonnage.web.path.lane import Lane
    from tonnage.web.path.wsgirequest import CountedInput, Environ
    from tonnage.web.respond import Message, Scope

    Write = Callable[[bytes], object]
    StartResponse = Callable[..., Write]

WSGIApp = Callable[[Any, Any], Iterable[bytes]]
Headers = list[tuple[str, str]]

# How far it has come. HELD: start_response was called, and nothing sent. REPLACED: ours was sent.
_NOT_BEGUN, _HELD, _BEGUN, _REPLACED = range(4)

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_START: Final = "http.response.start"
_BODY: Final = "http.response.body"
_FILE_WRAPPER: Final = "wsgi.file_wrapper"
_FILE_PIECE_BYTES: Final = 64 * KIB
# These have no body, whatever their headers say.
_BODILESS: Final = ("1", "204", "304")


class WSGIResponse:
    """The response of one request, and what the server iterates over."""

    __slots__ = (
        "_added", "_encoder", "_file", "_headers", "_is_head", "_is_over", "_iterable", "_lane",
        "_length", "_pieces", "_problem", "_ready", "_scope", "_sent_bytes", "_server_start",
        "_server_write", "_state", "_status", "body",
    )  # fmt: skip

    def __init__(self, scope: Scope, start_response: StartResponse, lane: Lane) -> None:
        """Begin.

        Args:
            scope: the request.
            start_response: the server's.
            lane: what applies to it.
        """
        self._scope = scope
        self._server_start = start_response
        self._lane = lane
        self._is_head = scope["method"] == "HEAD"
        self._added: tuple[tuple[bytes, bytes], ...] = ()
        self._state = _NOT_BEGUN
        self._status = ""
        self._headers: Headers = []
        # What it says, or shows, to be its length; None: that is not known.
        self._length: int | None = None
        self._sent_bytes = 0
        self._is_over = False
        #: The request's body, if that is counted.
        self.body: CountedInput | None = None
        self._problem: Problem | None = None
        self._encoder: Encoder | None = None
        self._server_write: Write | None = None
        self._iterable: Iterable[bytes] = ()
        self._file: tuple[object, Any, int] | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._ready: bytes | None = None

    def add(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """Have *headers* added to it."""
        self._added += headers

    def answer(self, answer: Answer) -> Iterable[bytes]:
        """Return *answer* in place of a response, with what is added to all of them."""
        self._state = _REPLACED
        start: Message = {
            "type": _START,
            "status": answer.status,
            "headers": [*answer.all_headers(), *self._added],
        }
        if self._lane.cors is not None:
            start = self._lane.cors.start(self._scope, start)
        status = f"{answer.status} {_PHRASES.get(answer.status, 'Refused')}"
        self._server_start(status, _as_text(start["headers"]))
        return [b"" if self._is_head else answer.body]

    def refuse(self, problem: Problem) -> Iterable[bytes]:
        """Return what *problem* says, in place of a response."""
        if problem.status >= 500 and not is_logged(self._scope["wsgi.environ"]):
            log_refusal(self._scope, problem, f"answered {problem.status}")
        return self.answer(problem.answer(self._lane.shape))

    def run(self, app: WSGIApp, environ: Environ) -> Iterable[bytes]:
        """Have *app* answer, and return what the server is to iterate over."""
        try:
            self._iterable = self._call(app, environ)
            if self._can_pass_whole():
                self._begin()
                return self._iterable
            self._pieces = self._all_pieces()
            self._ready = next(self._pieces, None)
        except Exception as error:
            # What frameworks make of a body that was cut, by errors of their own, is answered too.
            self._problem = self._refusal() or problem_in(error)
            if self._problem is None or self._state is _BEGUN:
                self.close()
                raise
        except BaseException:
            self.close()
            raise
        problem = self._refusal()
        if problem is not None and self._state in (_NOT_BEGUN, _HELD):
            self.close()
            return self.refuse(problem)
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        ready, self._ready = self._ready, None
        return ready if ready is not None else next(self._pieces)

    def close(self) -> None:
        """End it, whatever has become of it; the server does so in any case."""
        if self._encoder is not None:
            self._encoder.close()
        # It refers to this object, which refers to it: neither is to wait for the collector.
        self._pieces = iter(())
        iterable, self._iterable = self._iterable, ()
        close = getattr(iterable, "close", None)
        if close is not None:
            close()

    def _refusal(self) -> Problem | None:
        """Return why the request is refused, whatever the application makes of that."""
        return self.body.problem if self.body is not None and self.body.problem else self._problem

    def _start(self, status: str, headers: Headers, exc_info: Any = None) -> Write:
        """Be the ``start_response`` of the application."""
        if exc_info is not None and self._state is _BEGUN:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self._state is not _NOT_BEGUN:
            raise AssertionError("the application has called start_response twice")
        self._state, self._status, self._headers = _HELD, status, headers
        if status.startswith("5"):
            # Frameworks start their 500 for a refusal while they handle it, or after a signal.
            self._problem = refusal_behind(self._scope["wsgi.environ"])
        return self._write

    def _write(self, data: bytes) -> None:
        """Be the ``write`` of the application: what some have used before there were iterables."""
        try:
            for piece in self._converted(data):
                assert self._server_write is not None, "it has begun"
                self._server_write(piece)
        except RequestRefusedError as error:
            self._note_cut(error.problem)
            raise

    def _all_pieces(self) -> Iterator[bytes]:
        try:
            for data in self._chunks():
                if data:
                    yield from self._converted(data)
            yield from self._rest()
        except RequestRefusedError as error:
            self._note_cut(error.problem)
            raise

    def _note_cut(self, problem: Problem) -> None:
        self._problem = problem
        if self._state is _BEGUN:
            outcome = "its response had begun, so its connection is closed"
            log_refusal(self._scope, problem, outcome)

    def _chunks(self) -> Iterable[bytes]:
        if self._file is not None and self._file[0] is self._iterable:
            # What a server's wrapper returns need not be good for anything but being returned.
            _, file, size = self._file
            return iter(lambda: file.read(size), b"")
        if isinstance(self._iterable, (list, tuple)):
            self._learn_length(sum(map(len, self._iterable)))
        return self._iterable

    def _learn_length(self, length: int) -> None:
        if self._state is _HELD and not (self._is_head or self._status.startswith(_BODILESS)):
            self._length = length
            if _content_length(self._headers) is None:
                # As servers do for a single piece.
                self._headers = [*self._headers, ("Content-Length", str(length))]

    def _converted(self, data: bytes) -> Iterable[bytes]:
        """Return the pieces that *data* becomes; the first one begins the response."""
        if self._state is not _BEGUN:
            self._begin(len(data))
        elif self._is_over:
            # More than it had said that there is, and what there was is encoded as a whole.
            return ()
        self._sent_bytes += len(data)
        self._check_sent()
        if self._encoder is None:
            return (data,)
        self._is_over = self._sent_bytes == self._length
        return self._encoded(data, more=not self._is_over)

    def _rest(self) -> Iterable[bytes]:
        if self._state is not _BEGUN:
            self._begin()
        # An application may have swallowed what write() has raised.
        self._check_sent()
        if self._encoder is None or self._is_over:
            return ()
        return self._encoded(b"", more=False)

    def _check_sent(self) -> None:
        limit = self._lane.response_limit_bytes
        if limit is not None and self._sent_bytes > limit and not self._is_head:
            raise RequestRefusedError(response_too_large(limit, self._sent_bytes))

    def _encoded(self, data: bytes, *, more: bool) -> Iterator[bytes]:
        assert self._encoder is not None, "it is only asked where there is one"
        for message in self._encoder.messages({"type": _BODY, "body": data, "more_body": more}):
            if message["type"] == _START:
                self._send_start(message["headers"])
            elif message.get("body"):
                yield message["body"]

    def _begin(self, first_bytes: int = 0) -> None:
        """Decide whether what is held may begin, with a piece of *first_bytes*; have it begin."""
        problem = self._refusal()
        if problem is not None:
            raise RequestRefusedError(problem)
        if self._state is not _HELD:
            raise AssertionError("the application has not called start_response")
        if self._length is None:
            self._length = _content_length(self._headers)
        length = max(first_bytes, self._length or 0)
        if (
            self._lane.response_limit_bytes is not None
            and length > self._lane.response_limit_bytes
            and not self._is_head
        ):
            raise RequestRefusedError(response_too_large(self._lane.response_limit_bytes, length))
        self._state = _BEGUN
        if self._lane.cors is None and self._lane.compression is None and not self._lane.removed:
            headers = self._headers
            if self._added:
                headers = [*headers, *_as_text(self._added)]
            self._server_write = self._server_start(self._status, headers)
            return
        start = self._changed()
        if self._lane.compression is not None:
            ready, self._encoder = self._lane.compression.begin(self._scope, start)
            if ready is None:
                return  # it comes out with the first piece
            start = ready
        self._send_start(start["headers"])

    def _changed(self) -> Message:
        """Return the start of the response as ASGI has it, with headers added and removed."""
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self._headers
        ]
        if self._lane.removed:
            headers = [header for header in headers if header[0] not in self._lane.removed]
        headers += self._added
        start: Message = {"type": _START, "status": int(self._status[:3]), "headers": headers}
        return start if self._lane.cors is None else self._lane.cors.start(self._scope, start)

    def _send_start(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._server_write = self._server_start(self._status, _as_text(headers))

    def _call(self, app: WSGIApp, environ: Environ) -> Iterable[bytes]:
        """Return what *app* does; a file that it has the server wrap is noted."""
        wrapper = environ.get(_FILE_WRAPPER)
        if wrapper is None:
            return app(environ, self._start)

        def wrap(file: Any, size: int = _FILE_PIECE_BYTES) -> object:
            wrapped = wrapper(file, size)
            self._file = wrapped, file, size
            return wrapped

        environ[_FILE_WRAPPER] = wrap
        try:
            return app(environ, self._start)
        finally:
            # gunicorn looks by this type whether it was given a file.
            environ[_FILE_WRAPPER] = wrapper

    def _can_pass_whole(self) -> bool:
        """Whether the server may have the application's file itself, which it sends best."""
        if self._file is None or self._file[0] is not self._iterable or self._state is not _HELD:
            return False
        length = _content_length(self._headers)
        return self._lane.compression is None and (
            self._lane.response_limit_bytes is None or length is not None
        )


def _as_text(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _content_length(headers: Headers) -> int | None:
    for name, value in headers:
        if name.lower() == "content-length":
            return announced_bytes(value.encode("latin-1"))
    return None
