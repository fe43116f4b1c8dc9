"""An application with all that operators can ask about, for tests of who may ask."""

from __future__ import annotations

import os
import time
from typing import Any

from tonnage.stores.cache import Cache
from tonnage.stores.security.monitor import SecurityMonitor

#: Applications find their database so; its password is nobody's business.
DATABASE_URL = os.environ.get("DATABASE_URL", "")

monitor = SecurityMonitor()
cache: Cache[int] = Cache("operated", ttl=None)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Say who answered; sleep with the whole worker where the path is ``/stuck``."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/stuck":
        time.sleep(3.0)  # noqa: ASYNC251 - this is the fault to be seen
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"11")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"application"})


class Route:
    """A route as Starlette's router has them."""

    path = "/metrics"


class Own:
    """The same, with a route of its own for metrics."""

    routes = (Route(),)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        await app(scope, receive, send)


own = Own()
