"""The start banner of a server: gathers what is true of it, and prints that once.

What the banner says and how is :mod:`tonnage.ops.banner`'s.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tonnage import __version__
from tonnage.budget.connections import connections_per_worker
from tonnage.host.malloc import allocator_kind
from tonnage.host.measures import MEASURES
from tonnage.ops.admintoken import notes_on, warnings_on
from tonnage.ops.banner import BannerFacts, render_banner
from tonnage.ops.limitlines import limit_lines
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tonnage.budget.plan import Plan
    from tonnage.governor.page import SharedPage
    from tonnage.server.doors import Doors
    from tonnage.server.limitwatch import LimitWatch
    from tonnage.server.nursery import Nursery
    from tonnage.server.watch import Watch
    from tonnage.settings import JobSettings, Settings


class Announcer:
    """Prints the banner. Everything it tells of is handed in."""

    def __init__(
        self,
        *,
        settings: Settings,
        plan: Plan,
        page: SharedPage,
        nursery: Nursery,
        watch: Watch,
        limit_watch: LimitWatch,
        doors: Doors,
        jobs: JobSettings,
        alerts_to: str | None,
        warnings: tuple[str, ...],
    ) -> None:
        """Announce nothing yet.

        Args:
            settings: as they were given.
            plan: what the memory was divided into.
            page: the shared page.
            nursery: whether the application was imported once for all.
            watch: measures, and has the marks.
            limit_watch: has the limit, and what the kernel tells of.
            doors: what answers where.
            jobs: what holds for isolated jobs.
            alerts_to: who is told of trouble; None: nobody.
            warnings: what should be changed.
        """
        self._settings = settings
        self._plan = plan
        self._page = page
        self._nursery = nursery
        self._watch = watch
        self._limit_watch = limit_watch
        self._doors = doors
        self._jobs = jobs
        self._alerts_to = alerts_to
        self._warnings = warnings
        self._announced = False

    def announce(self) -> None:
        """Print the banner on stderr, the first time."""
        if self._announced:
            return
        self._announced = True
        with suppress(OSError):  # its reader is gone, or its disk is full: no reason to end
            print(render_banner(self._facts()), file=sys.stderr, flush=True)

    def _facts(self) -> BannerFacts:
        settings, plan, doors = self._settings, self._plan, self._doors
        memory, reports, header = settings.memory, settings.reports, self._page.header
        marks, zygote = self._watch.marks, self._nursery.zygote
        token = settings.admission.admin_token
        return BannerFacts(
            version=__version__,
            # Without a look: the change of level that one finds would be told to nobody.
            used_bytes=self._watch.used_bytes_now() or header.used_bytes,
            used_how=MEASURES[header.measured_how],
            limit_text=self._limit_watch.limit.describe(),
            workers=plan.workers,
            threads=plan.threads,
            cpus=plan.cpus,
            preload_text=self._preload_text(),
            zygote_bytes=plan.line("zygote").bytes if zygote else 0,
            urls=doors.urls,
            marks=(
                *(marks.warning_bytes, marks.critical_bytes, marks.exhausted_bytes),
                self._watch.ceiling_bytes,
            ),
            allocator=memory.allocator if memory.allocator != "auto" else allocator_kind(),
            queue_requests=plan.queue_requests,
            wakeups=self._limit_watch.wakeups,
            fuse=memory.fuse,
            worker_memory_bytes=memory.worker_memory_bytes,
            recycling=settings.recycling,
            alerts_to=self._alerts_to,
            alert_seconds=reports.alert_seconds,
            reports_in=None if doors.reports_in is None else os.fspath(doors.reports_in),
            reports_kept=reports.reports,
            limits=tuple(self._limits()),
            notes=(*self._limit_watch.notes, *notes_on(token, settings.listen)),
            warnings=(*self._warnings, *warnings_on(token)),
        )

    def _preload_text(self) -> str:
        if zygote := self._nursery.zygote:
            return f"imported once in {zygote.seconds:.1f} s"
        return f"off ({self._nursery.why_not or '--no-preload'})"

    def _limits(self) -> Iterator[tuple[str, str]]:
        """Yield what a request, a job, a store may be and take, as pairs of label and text."""
        settings, header, zygote = self._settings, self._page.header, self._nursery.zygote
        if zygote and zygote.has_jobs:
            yield "jobs", _told_jobs(self._jobs, settings.jobs.job_memory_bytes)
        connections = connections_per_worker(
            header.limit_bytes,
            max(1, header.planned_workers),
            settings.databases.database_connections,
        )
        yield from limit_lines(
            settings.listen, settings.path, settings.stores, settings.databases, connections
        )


def _told_jobs(jobs: JobSettings, wished_bytes: int) -> str:
    """Return what is said of isolated jobs, to applications that have some."""
    memory = format_bytes(jobs.job_memory_bytes)
    if jobs.job_memory_bytes < wished_bytes:
        memory += f" ({format_bytes(wished_bytes)} would not fit)"
    usual = f"{memory} and {jobs.job_timeout_seconds:g} s each"
    queue = f"{jobs.job_queue} may wait, {jobs.job_wait_seconds:g} s at most"
    return f"{jobs.job_slots} at once · {usual}, where they do not say · {queue}"
