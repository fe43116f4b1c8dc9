"""WSGI applications, spoken to through a2wsgi.

Covers what a2wsgi leaves open:

* When nobody takes a response any more, since it was cut or took too long, the thread that makes
  it is told so. It would wait for room in its queue for ever otherwise, and a thread of the pool
  with it.
* A body that comes without a length, in chunks or unpacked on its way, is received whole before the
  application is called, and has its length then: most applications take a body without one for an
  empty one. It is held in memory, at most :data:`MOST_UNANNOUNCED_BYTES` of it; a larger one is
  refused with 411.
* A body that ends before its length does is an error where it is read, and not a shorter body.
* The route that the framework has found is noted in the request's scope, for its name in figures.
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any, Final

from a2wsgi import WSGIMiddleware
from a2wsgi.wsgi import WSGIResponder

from tonnage.errors import RequestRefusedError
from tonnage.problem import Problem
from tonnage.units import MIB, format_bytes
from tonnage.web.routenames import flask_template
from tonnage.web.routes import TEMPLATE

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from tonnage.web.respond import Message, Receive

MOST_UNANNOUNCED_BYTES: Final = 16 * MIB


class Wsgi(WSGIMiddleware):
    """A WSGI application as an ASGI one, its work done in the threads of *executor*."""

    def __init__(self, app: Any, executor: Executor) -> None:
        super().__init__(app, workers=1)
        self.executor = executor  # type: ignore[assignment]  # any will do

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer *scope*.

        Raises:
            RequestRefusedError: its body is too large to be received without a length.
        """
        if scope["type"] == "http":
            await _Responder(self.app, self.executor, self.send_queue_size)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Responder(WSGIResponder):
    _is_over = False
    _failure: Exception | None = None
    # The body, where it did not say its length.
    _received: io.BytesIO | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._scope, self._receive = scope, receive
        if not any(name == b"content-length" for name, _ in scope["headers"]):
            self._received = await _receive_whole(receive)
            if self._received is None:
                return
        try:
            await super().__call__(scope, receive, send)
        except Exception:
            # What the thread says of it is that nobody is there; why is said here.
            if self._failure is not None:
                raise self._failure from None
            raise
        if self._failure is not None:
            raise self._failure

    async def sender(self, send: Any) -> None:
        """Send what the thread has put into the queue."""
        try:
            await super().sender(send)
        except Exception as error:  # noqa: BLE001 - whoever made the response is to hear it
            self._failure = error
        finally:
            self._is_over = True
            # Whoever waits to put something gets the room, and is told the next time.
            while not self.send_queue.empty():
                self.send_queue.get_nowait()

    def send(self, message: Any) -> None:
        """Put *message* into the queue, in the thread.

        Raises:
            BrokenPipeError: nobody takes it any more.
        """
        if self._is_over:
            raise BrokenPipeError("nobody takes this response any more")
        super().send(message)

    def wsgi(self, environ: Any, start_response: Any) -> None:
        """Run the application, in the thread."""
        self._environ = environ
        if self._received is None:
            environ["wsgi.input"] = io.BufferedReader(_Body(self._receive, self.loop))
        else:
            environ["wsgi.input"] = self._received
            size = self._received.getbuffer().nbytes
            if size:
                environ["CONTENT_LENGTH"] = str(size)
            # Its parts are put together.
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        super().wsgi(environ, start_response)

    def start_response(self, status: Any, response_headers: Any, exc_info: Any = None) -> Any:
        """Begin the response, in the thread: by now the framework knows which route it is of."""
        template = self._environ.get(TEMPLATE) or flask_template(self._environ)
        if template is not None:
            self._scope[TEMPLATE] = template
        return super().start_response(status, response_headers, exc_info)


class _Body(io.RawIOBase):
    """A body as it arrives, read in the thread.

    Args:
        receive: ASGI's.
        loop: the event loop that it belongs to.
    """

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._receive = receive
        self._loop = loop
        self._unread = memoryview(b"")
        self._more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while self._more and not self._unread:
            message = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
            if message["type"] != "http.request":
                # Frameworks expect an OSError of a server.
                raise ConnectionResetError("the client has gone before the end of its body")
            self._unread = memoryview(message.get("body", b""))
            self._more = message.get("more_body", False)
        size = min(len(buffer), len(self._unread))
        buffer[:size], self._unread = self._unread[:size], self._unread[size:]
        return size

    async def _next(self) -> Message:
        return await self._receive()


async def _receive_whole(receive: Receive) -> io.BytesIO | None:
    """Return the body; None: the client has gone before its end."""
    body = io.BytesIO()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body.write(message.get("body", b""))
        if body.tell() > MOST_UNANNOUNCED_BYTES:
            raise RequestRefusedError(_length_required(MOST_UNANNOUNCED_BYTES))
        more = message.get("more_body", False)
    body.seek(0)
    return body


def _length_required(most_bytes: int) -> Problem:
    return Problem(
        411,
        "length_required",
        f"in chunks or compressed, a body is taken up to {format_bytes(most_bytes)} here: send this"
        " one plain and with a Content-Length, or in parts",
        {"maxBytes": most_bytes},
    )
