"""WSGI applications, spoken to through a2wsgi.

Covers what a2wsgi leaves open: when nobody takes a response any more, since it was cut or took too
long, the thread that makes it is told so. It would wait for room in its queue for ever otherwise,
and a thread of the pool with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from a2wsgi import WSGIMiddleware
from a2wsgi.wsgi import WSGIResponder

if TYPE_CHECKING:
    from concurrent.futures import Executor


class Wsgi(WSGIMiddleware):
    """A WSGI application as an ASGI one, its work done in the threads of *executor*."""

    def __init__(self, app: Any, executor: Executor) -> None:
        super().__init__(app, workers=1)
        self.executor = executor  # type: ignore[assignment]  # any will do

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer *scope*."""
        if scope["type"] == "http":
            await _Responder(self.app, self.executor, self.send_queue_size)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Responder(WSGIResponder):
    _is_over = False
    _failure: Exception | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
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
