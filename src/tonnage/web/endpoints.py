"""The operations' endpoints over ASGI, before the gate and before the app's own routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.ops.health import is_trusted
from tonnage.web.respond import respond

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tonnage.ops.health import Health
    from tonnage.web.respond import ASGIApp, Receive, Scope, Send


class Endpoints:
    """Answers what :class:`~tonnage.ops.health.Health` knows; passes everything else on."""

    def __init__(self, app: ASGIApp, health: Health, admin_token: str | None) -> None:
        self._app = app
        self._health = health
        self._paths = health.paths
        self._admin_token = admin_token

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, or pass on; passing on adds no coroutine of its own."""
        # Every request passes here: one look into a set, no more.
        if scope.get("path") in self._paths and scope.get("method") in ("GET", "HEAD"):
            return self._answer(scope, receive, send)
        return self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._health.find(scope["path"])
        assert answer is not None
        peer = scope.get("tonnage.peer") or scope.get("client")
        trusted = is_trusted(peer and peer[0], scope["headers"], self._admin_token)
        await respond(scope, receive, send, answer(trusted))
