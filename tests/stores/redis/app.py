"""An application whose cache is shared through Redis; run with ``tonnage run`` by the tests."""

from __future__ import annotations

import itertools
import os
import threading
from typing import Any

from tonnage import Cache
from tonnage.stores.redis.link import link

events: Cache[dict[str, Any]] = Cache("events", ttl="1h", redis=True)
# As an application may have it: made when it is imported, used in its workers.
redis = link()
THREADS_AT_IMPORT = threading.active_count()
_makings = itertools.count()


@events.cached(key=lambda number: number, tags=lambda number: [f"event:{number}"])
async def load(number: str) -> dict[str, Any]:
    """What stands for a look into a database."""
    return {"event": number, "making": f"{os.getpid()}:{next(_makings)}"}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer ``/event/7`` and ``/change/7``."""
    if scope["type"] != "http":
        return
    _, kind, number = scope["path"].split("/")
    if kind == "change":
        events.invalidate(f"event:{number}")
    made = await load(number)
    body = f"{made['making']} {redis.statistics().state} {THREADS_AT_IMPORT}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})
