"""The operations' endpoints over ASGI, before the gate and before the app's own routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.ops.health import is_trusted
from tonnage.web.respond import respond

if TYPE_CHECKING:
    from tonnage.ops.health import Health
    from tonnage.web.respond import ASGIApp, Receive, Scope, Send


class Endpoints:
    """Answers what :class:`~tonnage.ops.health.Health` knows; passes everything else on."""

    def __init__(self, app: ASGIApp, health: Health, admin_token: str | None) -> None:
        self._app = app
        self._health = health
        self._admin_token = admin_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            answer = self._health.find(scope["path"])
            if answer is not None:
                peer = scope.get("tonnage.peer") or scope.get("client")
                trusted = is_trusted(peer and peer[0], scope["headers"], self._admin_token)
                await respond(scope, receive, send, answer(trusted))
                return
        await self._app(scope, receive, send)
