"""The operations' endpoints over ASGI, before the gate and before the app's own routes.

Health, the security events, and clearing caches. Where the application has no monitor or no cache,
the paths of these are its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.ops import caches, security
from tonnage.ops.health import is_trusted
from tonnage.ops.trust import is_operator
from tonnage.web.respond import respond

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tonnage.ops.health import Health
    from tonnage.web.answer import Answer
    from tonnage.web.respond import ASGIApp, Receive, Scope, Send


class Endpoints:
    """Answers what operators ask; passes everything else on.

    Args:
        app: the application, behind its gate.
        health: answers its own paths.
        admin_token: opens the details to remote clients; None: nothing does.
        also_below: where the same is answered besides, such as ``/api``.
    """

    def __init__(
        self, app: ASGIApp, health: Health, admin_token: str | None, *, also_below: str = ""
    ) -> None:
        self._app = app
        self._health = health
        self._admin_token = admin_token
        self._events_paths = {security.PATH, also_below + security.PATH}
        self._clear_paths = {caches.PATH, also_below + caches.PATH}
        self._paths = health.paths | self._events_paths | self._clear_paths

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, or pass on; passing on adds no coroutine of its own."""
        # Every request passes here: one look into a set, no more.
        if scope.get("path") in self._paths and scope["type"] == "http":
            answer = self._answer(scope)
            if answer is not None:
                return respond(scope, receive, send, answer)
        return self._app(scope, receive, send)

    def _answer(self, scope: Scope) -> Answer | None:
        """Return the answer to what is asked for; None: that is the application's affair."""
        path, method, headers = scope["path"], scope["method"], scope["headers"]
        peer = scope.get("tonnage.peer") or scope.get("client")
        who = peer and peer[0], headers, self._admin_token
        # The user can move health to any path, so it comes first.
        health = self._health.find(path)
        if health is not None:
            return health(is_trusted(*who)) if method in ("GET", "HEAD") else None
        query = scope.get("query_string", b"").decode("latin-1")
        if path in self._events_paths and method in ("GET", "HEAD"):
            return security.answer_events(query, trusted=is_operator(*who))
        if path in self._clear_paths and caches.has_caches():
            return caches.answer_clear(method, query, trusted=is_operator(*who))
        return None
