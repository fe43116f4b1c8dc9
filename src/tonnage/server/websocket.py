"""A WebSocket of uvicorn's that knows a refusal for what it is.

Promises that a handshake which was answered with a response of its own (a 429, or one of the
application's) is not called an error: uvicorn's protocol for `websockets` sends such an answer, and
then logs that the handshake was never completed, so that every client that is refused writes a
line. Does nothing else. Imported with the first WebSocket, as the library is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

if TYPE_CHECKING:
    from tonnage.web.respond import Message

_Protocol: Any = AutoWebSocketsProtocol


class WebSocket(_Protocol):  # type: ignore[misc]  # which of two it is depends on what is installed
    """A WebSocket, from its handshake on."""

    async def send(self, message: Message) -> None:
        """Send for the application; a refusal that is out completes the handshake."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True
