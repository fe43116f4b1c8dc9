"""The start banner: what is used of which limit, who serves where, and each limit in force.

``render_banner()`` is pure: the supervisor collects the facts and prints the text, once, when the
first worker is ready. How the plan came about is told by ``tonnage plan``; what changes later is
the log's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage.units import format_bytes

if TYPE_CHECKING:
    from tonnage.settings import RecyclingSettings


@dataclass(frozen=True, slots=True)
class BannerFacts:
    """What the banner says.

    Attributes:
        version: Tonnage's.
        used_bytes: Memory in use now.
        used_how: How that is measured: "cgroup working set".
        limit_text: The limit and who sets it, as ``Limit.describe()`` has it.
        workers: Worker processes.
        threads: Threads for synchronous work, in each worker.
        cpus: Processors' worth of time; a quota can make it a fraction.
        preload_text: Whether the application was imported once for all: "imported once in 0.3 s".
        zygote_bytes: What that import holds, shared by the workers; 0 without one.
        urls: What answers where, as pairs of label and URL.
        marks: In bytes, where WARNING, CRITICAL and EXHAUSTED begin, and the ceiling above which
            new work waits.
        allocator: How malloc is set: huge, mmap, default or none.
        queue_requests: How many requests may wait, in all workers together.
        wakeups: The kernel notifications that are watched.
        fuse: Whether what a worker can allocate is bounded by what fits.
        worker_memory_bytes: What each worker may come to at most; None: what fits.
        recycling: When a worker is replaced.
        alerts_to: Scheme and host of the webhook, whose rest is secret; None: nobody is told.
        alert_seconds: Alerts of one kind are sent at most this often.
        limits: What a request may be and take, as pairs of label and text.
        reports_in: Where reports are kept; None: they go to the log.
        reports_kept: How many of the newest.
        notes: What is not active, and why.
        warnings: What should be changed.
    """

    version: str
    used_bytes: int
    used_how: str
    limit_text: str
    workers: int
    threads: int
    cpus: float
    preload_text: str
    zygote_bytes: int
    urls: tuple[tuple[str, str], ...]
    marks: tuple[int, int, int, int]
    allocator: str
    queue_requests: int
    wakeups: tuple[str, ...]
    fuse: bool
    worker_memory_bytes: int | None
    recycling: RecyclingSettings
    alerts_to: str | None
    alert_seconds: float
    reports_in: str | None
    reports_kept: int
    limits: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def render_banner(facts: BannerFacts) -> str:
    """Return the banner, a line for each fact, without a newline at the end."""
    rows = list(_rows(facts))
    width = max(len(label) for label, _ in rows)
    title = f"Tonnage {facts.version} · {format_bytes(facts.used_bytes)} used of {facts.limit_text}"
    return "\n".join([title, *(f"  {label:<{width}}  {text}" for label, text in rows)])


def _rows(facts: BannerFacts) -> Iterator[tuple[str, str]]:
    """Yield labels and texts; each limit that is in force has a line that can be searched for."""
    yield from facts.urls
    clustering = "on" if facts.workers > 1 else "off"
    cpus = "1 CPU" if facts.cpus == 1 else f"{facts.cpus:g} CPUs"
    threads = "1 thread" if facts.threads == 1 else f"{facts.threads} threads"
    yield "workers", f"{facts.workers}, clustering {clustering} · {threads} each · {cpus}"
    shared = f" · {format_bytes(facts.zygote_bytes)} shared" if facts.zygote_bytes else ""
    yield "preload", facts.preload_text + shared
    yield "memory", f"measured: {facts.used_how} · allocator: {facts.allocator}"
    warning, critical, exhausted, ceiling = map(format_bytes, facts.marks)
    yield "WARNING", f"from {warning}: memory is reclaimed"
    told = ", an alert is sent" if facts.alerts_to else ""
    yield "CRITICAL", f"from {critical}: caches are emptied, garbage is collected{told}"
    yield "EXHAUSTED", f"from {exhausted}: no new request is let in, health still answers"
    yield "ceiling", f"{ceiling} in use or promised: above it new requests wait"
    yield "queue", f"{facts.queue_requests} requests may wait, further ones get 503"
    yield from facts.limits
    yield "wake-ups", ", ".join(facts.wakeups) or "none: memory is looked at in intervals only"
    yield "fuse", _fuse(facts)
    yield "recycling", _recycling(facts.recycling)
    often = f", of each kind every {facts.alert_seconds:g} s at most"
    yield (
        "alerts",
        facts.alerts_to + often if facts.alerts_to else "none, without TONNAGE_ALERT_URL",
    )
    kept = f"{facts.reports_in}, the newest {facts.reports_kept}"
    yield "reports", kept if facts.reports_in else "go to the log"
    for note in facts.notes:
        yield "note", note
    for warning_text in facts.warnings:
        yield "warning", warning_text


def _fuse(facts: BannerFacts) -> str:
    if not facts.fuse:
        return "off: an allocation that does not fit is left to the brake"
    most = facts.worker_memory_bytes
    bound = f" · {format_bytes(most)} a worker at most" if most is not None else ""
    return f"on: an allocation that does not fit fails in its own request{bound}"


def _recycling(settings: RecyclingSettings) -> str:
    parts = ["on, for memory that stays or leaks" if settings.recycle else "off for memory"]
    if settings.recycle and settings.recycle_above_bytes is not None:
        parts.append(f"above {format_bytes(settings.recycle_above_bytes)}")
    if settings.max_requests:
        parts.append(f"after {settings.max_requests} requests")
    if settings.max_lifetime_seconds:
        parts.append(f"after {settings.max_lifetime_seconds:g} s")
    return " · ".join(parts)
