"""`tonnage plan`: look at this machine and this app, and print what the budget would be.

Promises: nothing is started that outlives the command; TARGET is imported in a child process only.
Does not: decide anything; `tonnage.budget.plan` does, and `tonnage run` makes the same plan with
`wishes_from`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tonnage.budget.plan import AppSize, Wishes, make_plan
from tonnage.budget.receipt import render, to_json
from tonnage.host.cpu import discover_cpus
from tonnage.host.limits import discover_limit

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


def measure_target(settings: Settings) -> AppSize:
    """Import TARGET in a child process and return its size; raises TargetError as `run` would."""
    # Imported here: the server's part is needed only where an app is named.
    from tonnage.server.measure import measure_app

    return measure_app(settings)


def show_plan(
    settings: Settings,
    as_json: bool,
    out: TextIO,
    *,
    root: Path = Path("/"),
    measure: Callable[[Settings], AppSize] = measure_target,
) -> int:
    """Print the plan for *settings* to *out*, as a receipt or as JSON, and return exit status 0.

    *root* is where /proc and /sys are found.

    Raises:
        UsageError: PlanError if it cannot fit, TargetError if the app cannot be imported.
    """
    limit = discover_limit(settings.memory.limit_bytes, settings.origin("memory"), root)
    app = measure(settings) if settings.app.target else None
    cpus = discover_cpus(root).count
    plan = make_plan(limit.bytes, limit.source, cpus, app, wishes_from(settings, limit.bytes))
    plan = replace(plan, warnings=(*limit.warnings, *plan.warnings))
    if as_json:
        import json  # Only here: a server that makes its plan with `wishes_from` prints none.

        json.dump({"limit": limit.describe(), **to_json(plan)}, out, indent=2)
        out.write("\n")
    else:
        out.write(render(plan, limit.describe(), color=_wants_color(out)))
    return 0


def _wants_color(out: TextIO) -> bool:
    # NO_COLOR, not empty, is how users ask every program for plain text (no-color.org).
    return out.isatty() and not os.environ.get("NO_COLOR")
