"""What the settings ask of the plan: the same for ``tonnage plan`` and ``tonnage run``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.budget.plan import Wishes

if TYPE_CHECKING:
    from tonnage.settings import Settings

PLATFORM_WORKERS = "environment WEB_CONCURRENCY"
"""The one source of a number of workers that is lowered, not refused, when it does not fit.

Platforms set it from the machine's size without knowing the app.
"""


def wishes_from(settings: Settings, limit_bytes: int) -> Wishes:
    """Return what *settings* ask of the plan; thresholds become bytes of *limit_bytes*."""
    return Wishes(
        workers=settings.process.workers,
        workers_source=settings.origin("workers"),
        workers_strict=settings.sources["workers"] != PLATFORM_WORKERS,
        clustering=settings.process.clustering,
        threads=settings.process.threads,
        queue_requests=settings.admission.queue_requests,
        free_floor_bytes=settings.memory.free_floor_bytes,
        exhausted_bytes=settings.memory.exhausted_at.of(limit_bytes),
        preload=settings.app.preload,
        alerts=settings.reports.alert_url is not None,
        worker_memory_bytes=settings.memory.worker_memory_bytes,
        recycle_above_bytes=settings.recycling.recycle_above_bytes,
        # Nothing is set aside for jobs; only what was said on purpose is worth a warning.
        job_memory_bytes=(
            None if settings.sources["job_memory"] == "default" else settings.jobs.job_memory_bytes
        ),
    )
