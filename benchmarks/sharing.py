"""An application whose values come from a cache, private to each worker or with a shared level.

``GET /item/7`` answers ``found`` or ``made``, and the worker's process id. ``SHARING`` says which
cache: ``private``, or ``shared``; ``SHARING_CHARACTERS`` how large a value is, and ``SHARING_SIZE``
what is shared at most.
"""

from __future__ import annotations

import os
from typing import Any

from tonnage import Cache

#: Of each value, beside some small fields.
TEXT_CHARACTERS = int(os.environ.get("SHARING_CHARACTERS") or 1500)

if os.environ.get("SHARING") == "shared":
    size = os.environ.get("SHARING_SIZE") or "64M"
    cache: Cache[dict[str, Any]] = Cache("items", max_bytes="2M", shared=size, ttl=None)
else:
    cache = Cache("items", max_bytes="64M", ttl=None)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    number = scope["path"].rpartition("/")[2]
    said = b"found"

    async def make() -> dict[str, Any]:
        nonlocal said
        said = b"made"
        text = f"{number} " * (TEXT_CHARACTERS // (len(number) + 1))
        return {"id": number, "title": f"item {number}", "tags": ["a", "b"], "text": text}

    await cache.get_or_await(f"item:{number}", make)
    body = said + b" %d" % os.getpid()
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
