"""What proxies in front say of the client: believed for as many hops as are known to be there.

Each proxy appends the address it was called from to ``X-Forwarded-For``; with *hops* trusted
proxies, the client is the entry that many places from the right. Entries further left were sent by
the client itself and may say anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tonnage.web.respond import ASGIApp, Receive, Scope, Send

_SECURE = {"http": "https", "ws": "wss"}


class Proxied:
    """Sets ``client`` and ``scheme`` of the scope; the peer itself stays in ``tonnage.peer``."""

    def __init__(self, app: ASGIApp, hops: int) -> None:
        self._app = app
        self._hops = hops

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Put the client's own address and scheme into *scope*, and pass on."""
        if scope["type"] in ("http", "websocket"):
            believe(scope, self._hops)
        return self._app(scope, receive, send)


def believe(scope: Scope, hops: int) -> None:
    """Put into the *scope* of a request what *hops* proxies say of its client."""
    # Once: a second look would take a believed address for the peer's.
    if "tonnage.peer" in scope:
        return
    addresses: list[str] = []
    protocols: list[str] = []
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            addresses += _parts(value)
        elif name == b"x-forwarded-proto":
            protocols += _parts(value)
    scope["tonnage.peer"] = scope.get("client")
    if addresses:
        scope["client"] = (_without_port(addresses[-hops:][0]), 0)
    # A chain may hand on one value or append its own; the entry of the outermost trusted
    # proxy counts, or the only one there is.
    if protocols and protocols[-hops:][0] == "https":
        scope["scheme"] = _SECURE.get(scope["scheme"], scope["scheme"])


def peer_address(scope: Scope) -> str | None:
    """Return the address at the other end of the connection, as the kernel has it, if it has."""
    peer = scope.get("tonnage.peer") or scope.get("client")
    return peer[0] if peer else None


def _parts(value: bytes) -> list[str]:
    return [part.strip() for part in value.decode("latin-1").split(",") if part.strip()]


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].split("]")[0]
    return address.split(":")[0] if address.count(":") == 1 else address
