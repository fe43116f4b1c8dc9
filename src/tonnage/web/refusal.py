"""What is said to a request that may not start, and to one that has run out of memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tonnage.governor.books import balanced
from tonnage.governor.statistics import read_statistics
from tonnage.problem import Problem
from tonnage.units import format_bytes, in_mb

if TYPE_CHECKING:
    from tonnage.governor.costs import RouteCost
    from tonnage.governor.page import SharedPage
    from tonnage.web.outofmemory import MemoryFailure

# When to try again what memory was short for: it is freed all the time.
_SHORT_SECONDS = 2


def refusal(
    page: SharedPage, route: RouteCost, *, reason: str, retry_after_seconds: int
) -> Problem:
    """Return the 503 for a request of *route* that cannot start now."""
    now = read_statistics(page, time.monotonic_ns())
    held = balanced(now)
    extra = {
        "reason": reason,
        "retryAfter": retry_after_seconds,
        "level": now.level.name,
        "unit": "MB",
        "used": in_mb(now.used_bytes),
        "limit": in_mb(now.limit_bytes),
        "expectedCost": in_mb(route.whole(page.header.workers_ceiling_bytes).worst_bytes),
        "heldBy": {
            "requests and workers": in_mb(held["workers_own"]),
            "promised to requests": in_mb(now.reserved_bytes - now.jobs.promised_bytes),
            "jobs, held and promised": in_mb(held["jobs"] + now.jobs.promised_bytes),
            "supervisor and shared pages": in_mb(
                held["supervisor"] + held["zygote"] + held["workers_shared"]
            ),
            "other": in_mb(held["unexplained"]),
        },
        "inFlight": sum(worker.in_flight for worker in now.workers),
        "waiting": sum(worker.waiting for worker in now.workers),
    }
    detail = f"this request cannot start now: {reason}; try again in {retry_after_seconds} s"
    return Problem(503, "service_unavailable", detail, extra, _after(retry_after_seconds))


def too_short(size_bytes: int, waited_seconds: float) -> Problem:
    """Return the 503 for a request that runs and may not take *size_bytes* more."""
    waited = f" in {waited_seconds:g} s" if waited_seconds else ""
    reason = f"it needs {format_bytes(size_bytes)} more, which did not come free{waited}"
    return Problem(
        503,
        "service_unavailable",
        f"this request was ended: {reason}; try again in {_SHORT_SECONDS} s",
        {"reason": reason, "retryAfter": _SHORT_SECONDS},
        _after(_SHORT_SECONDS),
    )


def never_fits(body_bytes: int, limit_bytes: int) -> Problem:
    """Return the 413 for a body that would be held whole, and is larger than all the memory."""
    return Problem(
        413,
        "payload_too_large",
        f"a body of {format_bytes(body_bytes)} can never fit: this server has"
        f" {format_bytes(limit_bytes)} of memory, and bodies sent here are held in it whole; send"
        " it in parts",
        {"unit": "MB", "body": in_mb(body_bytes), "limit": in_mb(limit_bytes)},
    )


def out_of_memory(failure: MemoryFailure, *, retry_after_seconds: int) -> Problem:
    """Return the 503 or 413 for a request that began and ran out of memory.

    Where in the code it did so is in the log, and is not for clients.
    """
    detail = f"{failure.route} needed more memory than this server can give it"
    extra: dict[str, Any] = {
        "reason": "the request needed more memory than its worker had left",
        "route": failure.route,
        "unit": "MB",
        "available": in_mb(failure.left_bytes),
    }
    if failure.status == 413:
        extra["reason"] = "its body is too large for the memory that its worker had left"
        extra["body"] = in_mb(failure.body_bytes)
        return Problem(413, "out_of_memory", detail, extra)
    extra["retryAfter"] = retry_after_seconds
    return Problem(503, "out_of_memory", detail, extra, _after(retry_after_seconds))


def _after(seconds: int) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", str(seconds).encode()),)
