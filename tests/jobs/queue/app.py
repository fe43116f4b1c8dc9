"""An application whose work is done elsewhere."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from tests.jobs.queue import work

from tonnage import isolated
from tonnage.jobs import queue


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with what a job says of itself."""
    if scope["type"] != "http":
        return
    wait = parse_qs(scope["query_string"].decode()).get("wait", ["10"])[0]
    found = await isolated(work.where_of, "elsewhere", memory="64M", wait=float(wait))
    given = queue.statistics()
    body = json.dumps({"found": found, "given": given.given if given else 0}).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
