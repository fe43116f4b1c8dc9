"""A WebSocket of uvicorn's that knows a refusal for what it is, and is counted once.

Promises that a handshake which was answered with a response of its own (a 429, or one of the
application's) is not called an error: uvicorn's protocol for `websockets` sends such an answer, and
then logs that the handshake was never completed, so that every client that is refused writes a
line. And that a WebSocket counts as a request when its handshake is answered, with the time that
took: as 1xx where it was accepted, else by the status of the refusal; as none where its client went
before. Does nothing else. Imported with the first WebSocket, as the library is.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from tonnage.ops.figures.counting import NO_STATUS

if TYPE_CHECKING:
    from tonnage.ops.figures.counting import Counting
    from tonnage.web.respond import Message

_Protocol: Any = AutoWebSocketsProtocol

# What the messages that answer a handshake come to; a response says its status itself.
_ANSWERS: Final = {"websocket.accept": 101, "websocket.close": 403}


class WebSocket(_Protocol):  # type: ignore[misc]  # which of two it is depends on what is installed
    """A WebSocket, from its handshake on."""

    def __init__(self, counting: Counting, **parts: Any) -> None:
        super().__init__(**parts)
        self._counting: Counting | None = counting
        self._begun_seconds = monotonic()

    async def send(self, message: Message) -> None:
        """Send for the application; a refusal that is out completes the handshake."""
        await super().send(message)
        if self._counting is not None:
            status = message.get("status") or _ANSWERS.get(message["type"])
            if status is not None:
                self._count(status)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True

    def send_500_response(self) -> None:
        """Answer for an application that has failed before it has answered."""
        self._count(500)
        super().send_500_response()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a handshake that nobody has answered counts as such."""
        self._count(NO_STATUS)
        super().connection_lost(exc)

    def _count(self, status: int) -> None:
        counting, self._counting = self._counting, None
        scope = getattr(self, "scope", None)  # there is none where the head was no handshake
        if counting is not None and scope:
            counting.count(scope, status, monotonic() - self._begun_seconds)
