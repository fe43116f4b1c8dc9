"""A job's progress as an event stream (server-sent events), which browsers read by themselves.

    event: running
    id: 3.running
    data: {"id": "...", "status": "running", ...}

Promises: the first event says how far it is, each further one that this has changed, and the last
one that it is over; then the stream ends. A client that comes back with ``Last-Event-ID`` is told
nothing twice; if it had heard the last event, it gets 204, after which browsers do not ask again. A
comment every :data:`COMMENT_SECONDS` keeps proxies from ending what is silent.

Bounds: :data:`MOST_STREAMS` in a process, :data:`LONGEST_SECONDS` each; browsers then come back.
Which worker has the job does not matter: it is looked at every :data:`LOOK_SECONDS`, which takes
some ten microseconds.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from tonnage.errors import RequestRefusedError
from tonnage.images.kit.answers import NO_CONTENT, described
from tonnage.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tonnage.images.kit.answers import Reply
    from tonnage.images.kit.request import MountedRequest
    from tonnage.images.kit.status import Status
    from tonnage.web.respond import Receive, Send

    Look = Callable[[str], Awaitable[Status | None]]

LOOK_SECONDS: Final = 0.25
COMMENT_SECONDS: Final = 15.0
LONGEST_SECONDS: Final = 300.0
MOST_STREAMS: Final = 64
#: When a browser comes back after a stream that has ended too early.
_RETRY_MILLISECONDS: Final = 1000

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx would keep events back until it has some KB of them.
    (b"x-accel-buffering", b"no"),
]
_BUSY: Final = Problem(
    503,
    "streams_busy",
    f"{MOST_STREAMS} clients follow jobs already: ask for the job's status instead",
    headers=((b"retry-after", b"5"),),
)


class Events:
    """The event streams of one application, in one process."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._open = 0

    async def serve(
        self, request: MountedRequest, status: Status, receive: Receive, send: Send
    ) -> Reply | None:
        """Tell the client how far the job of *status* is, until it is over.

        Return what is to be answered instead.

        Raises:
            RequestRefusedError: too many are told already.
        """
        heard = request.header(b"last-event-id")
        if status.is_over and heard == _mark(status):
            return NO_CONTENT
        if self._open >= MOST_STREAMS:
            raise RequestRefusedError(_BUSY)
        telling = asyncio.ensure_future(self._tell(request, status, heard, send))
        gone = asyncio.ensure_future(_gone(receive))
        self._open += 1
        try:
            await asyncio.wait((telling, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= 1
            gone.cancel()
            telling.cancel()
            await asyncio.wait((telling, gone))
        if not telling.cancelled():
            telling.result()
        return None

    async def _tell(self, request: MountedRequest, status: Status, heard: str, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        text = f"retry: {_RETRY_MILLISECONDS}\n\n"
        loop = asyncio.get_running_loop()
        begun = said = loop.time()
        while True:
            if _mark(status) != heard:
                text += _event(status, request.prefix)
                heard = _mark(status)
            elif loop.time() - said >= COMMENT_SECONDS:
                text += ": still there\n\n"
            if text:
                await _send(send, text)
                text, said = "", loop.time()
            if status.is_over or loop.time() - begun >= LONGEST_SECONDS:
                break
            await asyncio.sleep(LOOK_SECONDS)
            found = await self._look(status.id)
            if found is None:
                break
            status = found
        await send({"type": "http.response.body", "body": b""})


def _mark(status: Status) -> str:
    return f"{status.version}.{status.state.value}"


def _event(status: Status, prefix: str) -> str:
    data = json.dumps(described(status, prefix))
    return f"event: {status.state.value}\nid: {_mark(status)}\ndata: {data}\n\n"


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
