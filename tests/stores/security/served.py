"""An application with a log-in and a cache, for tests with a real server."""

from __future__ import annotations

import os

from tonnage import Cache, SecurityMonitor, SecurityRule
from tonnage.web.respond import Receive, Scope, Send

monitor = SecurityMonitor(
    rules=[SecurityRule("login_failed", failures=4, within="15m", block="15m")]
)
cache: Cache[int] = Cache("answers", ttl=None)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail each log-in; say whether something is cached, and cache it where that is asked for."""
    if scope["type"] != "http":
        return
    status, body = 200, str(os.getpid())
    if scope["path"] == "/login":
        monitor.check(scope)
        monitor.attempt(scope, user="ann", succeeded=False)
        status = 401
    elif scope["path"] in ("/keep", "/look"):
        body += " yes" if cache.get("answer") else " no"
        if scope["path"] == "/keep":
            cache.set("answer", 42)
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})
