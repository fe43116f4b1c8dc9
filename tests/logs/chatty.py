"""An application that logs as much as it is asked to."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from typing import Any
from urllib.parse import parse_qs

import tonnage

tonnage.setup_logging()
logging.getLogger("chatty").warning("imported")
log = tonnage.get_logger("chatty")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the counts, after ``?lines=100`` lines were logged; ``?where=thread`` in one."""
    if scope["type"] != "http":
        return
    asked = parse_qs(scope["query_string"].decode())
    for number in range(int(asked.get("lines", ["0"])[0])):
        log.warning("line", number=number, filling="x" * 100)
    if "thread" in asked.get("where", []):
        await asyncio.to_thread(logging.getLogger("library").warning, "in a thread")
    counts: dict[str, Any] = dataclasses.asdict(tonnage.log_statistics())
    counts["id"] = tonnage.request_id()
    body = json.dumps(counts).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
