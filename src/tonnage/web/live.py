"""The stream of the live page: the server's state once a second, to all who look.

The supervisor is asked once a second however many look, and not at all while nobody does. A stream
ends when its client is gone, when there is no answer, and when the worker is to end: a browser's
``EventSource`` comes again by itself, to another worker. Whoever reads slowly gets fewer events:
each is sent the newest when it has taken the last.

Bounded: :data:`MOST_STREAMS` streams a worker, and one event kept for all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tonnage.web.question import UnansweredError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tonnage.answer import Answer
    from tonnage.web.respond import Receive, Send

MOST_STREAMS: Final = 32
EVERY_SECONDS: Final = 1.0
# How soon a browser comes again once the stream has ended.
_RETRY: Final = b"retry: 1000\n\n"
# It has no length; and a proxy such as nginx is not to collect it.
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class Live:
    """The streams of one worker.

    Args:
        ask: asks for the state.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._streams = 0
        self._is_ending = False
        self._ticker: asyncio.Task[None] | None = None
        # The next event, once it is there; None: there will be no more.
        self._coming: asyncio.Future[bytes | None] | None = None
        self._newest: bytes | None = None

    @property
    def is_full(self) -> bool:
        """Whether no further stream may begin."""
        return self._streams >= MOST_STREAMS

    def end(self) -> None:
        """End all streams now, and later ones with their first event."""
        self._is_ending = True
        self._publish(None)

    async def stream(
        self, receive: Receive, send: Send, headers: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        """Send the state again and again, with *headers* too, until the client or worker goes."""
        leaving = asyncio.ensure_future(_until_gone(receive))
        self._streams += 1
        try:
            sent = [*_HEADERS, *headers]
            await send({"type": "http.response.start", "status": 200, "headers": sent})
            event = self._newest or await self._next()
            await send({"type": "http.response.body", "body": _RETRY, "more_body": True})
            while event is not None and not leaving.done():
                await send({"type": "http.response.body", "body": event, "more_body": True})
                event = None if self._is_ending else await self._next()
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._streams -= 1
            leaving.cancel()

    async def _next(self) -> bytes | None:
        if self._ticker is None or self._ticker.done():
            self._coming = asyncio.get_running_loop().create_future()
            self._ticker = asyncio.create_task(self._tick())
        # One of many waits for it: who is cancelled must not cancel it for the others.
        return await asyncio.shield(self._coming) if self._coming is not None else None

    async def _tick(self) -> None:
        try:
            while self._streams:
                answer = await self._ask()
                if answer.status != 200:
                    return
                lines = answer.body.replace(b"\n", b"\ndata: ")
                self._newest = b"data: %b\n\n" % lines
                self._publish(self._newest)
                self._coming = asyncio.get_running_loop().create_future()
                if self._is_ending:
                    return
                await asyncio.sleep(EVERY_SECONDS)
        except UnansweredError:
            return
        finally:
            self._newest = None
            self._publish(None)

    def _publish(self, event: bytes | None) -> None:
        if self._coming is not None and not self._coming.done():
            self._coming.set_result(event)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
