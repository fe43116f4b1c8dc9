"""The operations' endpoints over ASGI, before the gate and before the app's own routes.

Health, the security events, clearing caches; and page and metrics, which are passed on to the
supervisor (:mod:`tonnage.web.relay`). Where the application has no monitor or no cache, the paths
of these are its own. What only few ever ask for is imported when somebody does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.ops import caches, security
from tonnage.ops.answers import too_many_attempts
from tonnage.ops.login import bearer
from tonnage.ops.places import Places
from tonnage.ops.trust import is_operator, is_trusted
from tonnage.web.proxy import peer_address
from tonnage.web.respond import respond
from tonnage.web.routes import OPERATIONS, ROUTE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tonnage.answer import Answer
    from tonnage.ops.health import Health
    from tonnage.web.doorman import Doorman
    from tonnage.web.relay import Relay
    from tonnage.web.respond import ASGIApp, Receive, Scope, Send

_FORBIDDEN: Final = 403


class Endpoints:
    """Answers what operators ask; passes everything else on.

    Args:
        app: the application, behind its gate.
        health: answers its own paths.
        admin_token: opens the details to remote clients; None: nothing does.
        also_below: where the same is answered besides, such as ``/api``.
        places: where page and metrics are.
        send: sends a descriptor to the supervisor, which answers on it.
    """

    def __init__(
        self,
        app: ASGIApp,
        health: Health,
        admin_token: str | None,
        *,
        also_below: str = "",
        places: Places | None = None,
        send: Callable[[int], bool] = lambda fd: False,
    ) -> None:
        self._app = app
        self._health = health
        self._admin_token = admin_token
        self._send = send
        self._places = places or Places()
        self._relay: Relay | None = None
        self._doorman: Doorman | None = None
        self._is_draining = False
        self._events_paths = {security.PATH, also_below + security.PATH}
        self._clear_paths = {caches.PATH, also_below + caches.PATH}
        self._relayed = self._places.paths
        self._below = self._places.below
        self._own = health.paths | self._events_paths | self._clear_paths

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, or pass on; passing on adds no coroutine of its own."""
        # Every request passes here: two looks into sets, and one at how the path begins.
        path = scope.get("path", "")
        if path in self._own and scope["type"] == "http":
            answer = self._answer(scope)
            if answer is not None:
                scope[ROUTE] = OPERATIONS
                return respond(scope, receive, send, answer)
        if path in self._relayed or path.startswith(self._below):
            scope[ROUTE] = OPERATIONS
            return self._relaying()(scope, receive, send)
        return self._app(scope, receive, send)

    def drain(self) -> None:
        """End what would not end by itself: the worker is to end."""
        self._is_draining = True
        if self._relay is not None:
            self._relay.drain()

    def _relaying(self) -> Relay:
        if self._relay is None:
            from tonnage.web.question import SupervisorClient
            from tonnage.web.relay import Relay

            supervisor = SupervisorClient(self._send)
            self._relay = Relay(self._places, self._admin_token, self._watching(), supervisor)
            if self._is_draining:
                self._relay.drain()
        return self._relay

    def _watching(self) -> Doorman | None:
        if self._doorman is None and self._admin_token is not None:
            from tonnage.web.doorman import Doorman

            self._doorman = Doorman(self._admin_token)
        return self._doorman

    def _lets(self, lets: Callable[..., bool], scope: Scope) -> bool:
        headers = scope["headers"]
        # A doorman keeps a table, so none is made for those who show no token.
        doorman = self._watching() if bearer(headers) is not None else None
        # A client that has guessed and shows a token is nobody, from this machine too.
        if doorman is not None and doorman.blocks(scope):
            return False
        return lets(peer_address(scope), headers, self._admin_token)

    def _answer(self, scope: Scope) -> Answer | None:
        """Return the answer to what is asked for; None: that is the application's affair."""
        answer = self._found(scope)
        doorman = self._doorman
        if answer is None or answer.status != _FORBIDDEN or doorman is None:
            return answer
        # The right token would not open it either: as everywhere, when to come again is said.
        is_given = bearer(scope["headers"]) is not None
        seconds = doorman.blocked_seconds(scope) if is_given else 0.0
        return too_many_attempts(seconds) if seconds else answer

    def _found(self, scope: Scope) -> Answer | None:
        path, method = scope["path"], scope["method"]
        is_read = method in ("GET", "HEAD")
        # The user can move health to any path, so it comes first.
        health = self._health.find(path)
        if health is not None:
            return health(self._lets(is_trusted, scope)) if is_read else None
        query = scope.get("query_string", b"").decode("latin-1")
        if path in self._events_paths and is_read and security.has_monitor():
            return security.answer_events(query, trusted=self._lets(is_operator, scope))
        if path in self._clear_paths and caches.has_caches():
            return caches.answer_clear(method, query, trusted=self._lets(is_operator, scope))
        return None
