"""The refusal: a short JSON answer that says why, who holds the memory, and when to try again."""

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
