"""Short JSON answers that say why: to a request that may not start, and to one out of memory."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tonnage.governor.statistics import read_statistics
from tonnage.ops.health import Answer
from tonnage.units import in_mb

if TYPE_CHECKING:
    from tonnage.governor.costs import RouteCost
    from tonnage.governor.page import SharedPage
    from tonnage.web.outofmemory import MemoryFailure


def refusal(page: SharedPage, route: RouteCost, *, reason: str, retry_after_seconds: int) -> Answer:
    """Return the 503 for a request of *route* that cannot start now."""
    now = read_statistics(page, time.monotonic_ns())
    held = sum(worker.held_bytes for worker in now.workers)
    own = now.supervisor_pss_bytes + now.zygote_pss_bytes
    body: dict[str, Any] = {
        "error": "service_unavailable",
        "detail": f"this request cannot start now: {reason}; try again in {retry_after_seconds} s",
        "reason": reason,
        "retryAfter": retry_after_seconds,
        "level": now.level.name,
        "unit": "MB",
        "used": in_mb(now.used_bytes),
        "limit": in_mb(now.limit_bytes),
        "expectedCost": in_mb(route.whole(page.header.workers_ceiling_bytes).worst_bytes),
        "heldBy": {
            "requests and workers": in_mb(held),
            "promised to requests": in_mb(now.reserved_bytes),
            "supervisor and shared pages": in_mb(own),
            "other": in_mb(max(0, now.used_bytes - held - own)),
        },
        "inFlight": sum(worker.in_flight for worker in now.workers),
        "waiting": sum(worker.waiting for worker in now.workers),
    }
    headers = ((b"retry-after", str(retry_after_seconds).encode()),)
    return Answer(503, json.dumps(body).encode(), headers)


def out_of_memory(failure: MemoryFailure, *, retry_after_seconds: int) -> Answer:
    """Return the 503 or 413 for a request that began and ran out of memory.

    Where in the code it did so is in the log, and is not for clients.
    """
    body: dict[str, Any] = {
        "error": "out_of_memory",
        "detail": f"{failure.route} needed more memory than this server can give it",
        "reason": "the request needed more memory than its worker had left",
        "route": failure.route,
        "unit": "MB",
        "available": in_mb(failure.left_bytes),
    }
    if failure.status == 413:
        body["reason"] = "its body is too large for the memory that its worker had left"
        body["body"] = in_mb(failure.body_bytes)
        return Answer(413, json.dumps(body).encode())
    body["retryAfter"] = retry_after_seconds
    headers = ((b"retry-after", str(retry_after_seconds).encode()),)
    return Answer(503, json.dumps(body).encode(), headers)
