"""The supervisor's parts, made and wired.

What a part does is its own module's; this says in which order they are made, and who is given
whom. Those that act on memory are made in :mod:`tonnage.server.safeguards`. Where the order
matters, a comment says why. Whatever has to be closed is left on a stack.
"""

from __future__ import annotations

import functools
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tonnage.budget.plan import Plan, make_plan
from tonnage.budget.wishes import wishes_from
from tonnage.governor.ledger import SMALL_SHARE
from tonnage.governor.page import MAX_WORKERS, SharedPage
from tonnage.governor.statistics import Statistics, read_statistics
from tonnage.host.cpu import discover_cpus
from tonnage.host.limits import Limit, discover_limit
from tonnage.host.malloc import Heap
from tonnage.host.pages import drop_file_pages
from tonnage.host.processes import descendants
from tonnage.host.usage import meter_for
from tonnage.jobs.importpath import with_import_path
from tonnage.ops.alertpolicy import SECURITY
from tonnage.ops.lines import log_views
from tonnage.ops.metrics.views import Metrics
from tonnage.ops.page.views import LivePage
from tonnage.ops.places import PAGE_PATH
from tonnage.ops.sizing.start import start_observer
from tonnage.server.actions import Actions, to_json
from tonnage.server.announcing import Announcer
from tonnage.server.crew import Crew
from tonnage.server.doors import open_doors
from tonnage.server.figures import Figuring, security_events
from tonnage.server.firstimport import finish_first
from tonnage.server.foreman import Foreman
from tonnage.server.importcost import size_of
from tonnage.server.jobs.owner import Jobs
from tonnage.server.jobs.spawning import Fresh, FromNursery
from tonnage.server.limitwatch import LimitWatch, displaced, marks_of
from tonnage.server.listener import Listener, close_door
from tonnage.server.postmortem.blackbox import make_directory
from tonnage.server.reactor import Reactor
from tonnage.server.reload import SourceWatch
from tonnage.server.renewal import Renewal
from tonnage.server.safeguards import make_safeguards
from tonnage.server.startroom import StartRoom
from tonnage.server.supervisor import Supervisor
from tonnage.server.watch import Watch
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack

    from tonnage.budget.sizes import AppSize
    from tonnage.ops.alerts import Alerter
    from tonnage.server.nursery import Nursery
    from tonnage.settings import JobSettings, Settings

# Places beyond the planned number of workers, for successors of those that are still draining.
_SPARE_SLOTS = 2
# Of the room that a plan leaves: what was measured at the start grows by some MB in use.
_JOB_SHARE = 15 / 16


def assemble(
    settings: Settings, page: SharedPage, listener: Listener, nursery: Nursery, stack: ExitStack
) -> Supervisor:
    """Return the supervisor, ready to run, once the application has been imported.

    Raises:
        TonnageError: the application cannot be imported, what was asked for does not fit, or
            reports cannot be written where they are to be kept.
    """
    if settings.reports.report_dir is not None:
        make_directory(settings.reports.report_dir, settings.origin("report_dir"))
    limit = discover_limit(settings.memory.limit_bytes, settings.origin("memory"))
    source = SourceWatch(settings.app.app_dir) if settings.app.reload else None
    finish_first(nursery, listener, source)
    wishes = wishes_from(settings, limit.bytes)
    cpus = discover_cpus().count
    app = size_of(nursery.zygote) if nursery.zygote else None
    plan = make_plan(limit.bytes, limit.source, cpus, app, wishes)
    _fill_in(nursery, page, plan)
    server = _Server(
        settings=settings,
        limit=limit,
        plan=plan,
        app=app,
        page=page,
        listener=listener,
        nursery=nursery,
        source=source,
        stack=stack,
    )
    Heap().trim()
    drop_file_pages()
    return server.supervisor


def _fill_in(nursery: Nursery, page: SharedPage, plan: Plan) -> None:
    workers = min(plan.workers, MAX_WORKERS)
    nursery.assignment = replace(nursery.assignment, queue_requests=plan.queue_requests)
    page.use_slots(workers + _SPARE_SLOTS)
    header = page.header
    header.started_nanoseconds = time.monotonic_ns()
    header.desired_workers = header.planned_workers = workers
    header.supervisor_pid = os.getpid()


def _fitting(settings: Settings, plan: Plan) -> JobSettings:
    """Return what holds for isolated jobs: their memory, where nobody chose it, fits the plan."""
    jobs = settings.jobs
    if settings.sources["job_memory"] != "default":
        return jobs
    # The stores give way. Small requests keep their share, so that no job ever has that.
    room_bytes = plan.room_bytes + plan.line("stores").bytes
    most_bytes = room_bytes - int(plan.ceiling_bytes * SMALL_SHARE)
    most_bytes = max(MIB, int(most_bytes * _JOB_SHARE) // MIB * MIB)
    return replace(jobs, job_memory_bytes=min(jobs.job_memory_bytes, most_bytes))


class _Server:
    """The parts of a running server."""

    def __init__(
        self,
        *,
        settings: Settings,
        limit: Limit,
        plan: Plan,
        app: AppSize | None,
        page: SharedPage,
        listener: Listener,
        nursery: Nursery,
        source: SourceWatch | None,
        stack: ExitStack,
    ) -> None:
        self._settings, self._limit, self._plan, self._app = settings, limit, plan, app
        self._page, self._listener, self._nursery = page, listener, nursery
        self._source, self._stack = source, stack
        self._reactor = Reactor()
        self._watch = Watch(
            page,
            meter_for(limit, self._pids),
            marks_of(limit.bytes, settings.memory),
            plan.ceiling_bytes,
            clock=time.monotonic,
        )
        stack.callback(lambda: self._watch.meter.close())
        # Before the safeguards: they keep their reports beside the control socket.
        self._doors = open_doors(settings, page, listener, self._reactor, stack)
        self._crew = Crew(page, plan.workers, spawn=nursery.spawn, clock=time.monotonic)
        self._figuring = Figuring(page, security_events)
        self._alerts_to: str | None = None
        self._alerter = self._start_alerter()
        self._safeguards = make_safeguards(
            settings,
            page,
            self._crew,
            self._watch,
            reports=self._doors.reports_in,
            started_by_workers=self._started_by_workers,
            alert=self._alert,
        )
        recycler = self._safeguards.keeper.recycler
        self._start_room = StartRoom(page, self._crew, self._watch, recycler)
        self._live = self._make_live_page()
        self._offer_to_operators()
        self._renewal = Renewal(page, self._reactor, nursery, recycler, clock=time.monotonic)
        self._job_settings = _fitting(settings, plan)
        self._jobs = self._make_jobs()
        self._limit_watch = LimitWatch(
            settings=settings,
            limit=limit,
            plan=plan,
            watch=self._watch,
            reactor=self._reactor,
            pids=self._pids,
        )
        self._announcer = self._make_announcer()
        self.supervisor = self._make_supervisor(self._make_foreman())
        # After the supervisor, who is to look then.
        self._limit_watch.listen(self.supervisor.look_soon)
        stack.callback(self._limit_watch.close)

    def _start_alerter(self) -> Alerter | None:
        reports = self._settings.reports
        if reports.alert_url is None:
            return None
        # Imported where somebody is to be told: the sender's parts are not small.
        from tonnage.ops.alerts import Alerter
        from tonnage.ops.webhook import Webhook

        kept = self._nursery.assignment.inherited
        origin = self._settings.origin("alert_url")
        self._alerts_to = str(Webhook.from_settings(reports, origin))
        return Alerter.start(reports, self._doors.name, kept, origin=origin)

    def _make_live_page(self) -> LivePage:
        live = LivePage(
            self._page,
            to_json,
            self._figuring.figures,
            operator=self._safeguards.operator,
            plan=self._plan,
            name=self._listener.url.partition("://")[2],
        )
        self._stack.callback(live.close)
        return live

    def _offer_to_operators(self) -> None:
        settings, page, front = self._settings, self._page, self._doors.front
        figures, environment = self._figuring.figures, settings.logging.environment
        front.offer(Actions(self._safeguards.operator, self._statistics))
        front.views.add(self._live.views(PAGE_PATH, settings.admission.page_path))
        front.views.add(log_views(lambda: len(page.slots)))
        front.views.add(Metrics(page, figures, environment).views())

    def _make_jobs(self) -> Jobs:
        fresh = Fresh(with_import_path(os.environ, [os.fspath(self._settings.app.app_dir)]))
        jobs = Jobs(
            self._job_settings,
            page=self._page,
            reactor=self._reactor,
            spawner=FromNursery(self._nursery, fresh),
            claim_kill=self._safeguards.inquest.claim_kill,
            on_killed=self._safeguards.inquest.on_job_killed,
            clock=time.monotonic,
        )
        self._watch.read_jobs = jobs.read_held_bytes
        return jobs

    def _make_announcer(self) -> Announcer:
        displacements = displaced(self._watch.marks, self._settings.memory)
        return Announcer(
            settings=self._settings,
            plan=self._plan,
            page=self._page,
            nursery=self._nursery,
            watch=self._watch,
            limit_watch=self._limit_watch,
            doors=self._doors,
            jobs=self._job_settings,
            alerts_to=self._alerts_to,
            warnings=(
                *(*self._limit.warnings, *self._plan.warnings),
                *(*displacements, *self._doors.warnings),
            ),
        )

    def _make_foreman(self) -> Foreman:
        return Foreman(
            page=self._page,
            reactor=self._reactor,
            crew=self._crew,
            nursery=self._nursery,
            renewal=self._renewal,
            safeguards=self._safeguards,
            alerter=self._alerter,
            front=self._doors.front,
            jobs=self._jobs,
            figuring=self._figuring,
            may_start=self._may_start,
            on_ready=self._on_ready,
            start_seconds=self._settings.process.start_seconds,
            clock=time.monotonic,
        )

    def _make_supervisor(self, foreman: Foreman) -> Supervisor:
        settings = self._settings
        observer = start_observer(
            settings, self._plan, self._app, self._statistics, self._figuring.figures
        )
        self._stack.callback(observer.close)
        return Supervisor(
            page=self._page,
            reactor=self._reactor,
            crew=self._crew,
            nursery=self._nursery,
            foreman=foreman,
            renewal=self._renewal,
            safeguards=self._safeguards,
            alerter=self._alerter,
            front=self._doors.front,
            jobs=self._jobs,
            refresh_limit=self._limit_watch.refresh,
            note_history=self._live.note,
            observer=observer,
            source=self._source,
            close_door=functools.partial(close_door, self._listener.socket),
            log_seconds=settings.memory.memory_log_seconds,
            stop_seconds=settings.process.stop_seconds,
            clock=time.monotonic,
        )

    # What the parts ask of the whole.

    def _statistics(self) -> Statistics:
        return read_statistics(self._page, time.monotonic_ns())

    def _alert(self, kind: str, text: str, fields: dict[str, Any]) -> None:
        if kind == SECURITY:
            # Logged by a worker; all others are logged here.
            self._live.events.add_warning(kind, f"security: {text}")
        if self._alerter is not None:
            self._alerter.alert(kind, text, fields)

    def _started_by_workers(self) -> Iterable[int]:
        """Return the processes of ours that are neither the server's own, workers nor jobs."""
        own = {self._nursery.pid(), *self._jobs.pids()}
        if self._alerter is not None:
            own.add(self._alerter.pid)
        return self._crew.programs(descendants, os.getpid()) - own

    def _pids(self) -> Iterable[int]:
        return [os.getpid(), *descendants(os.getpid())]

    def _may_start(self) -> bool:
        may = self._start_room.may_start()
        # It may have come to the end that fewer are all there will be.
        self._announce_if_complete()
        return may

    def _announce_if_complete(self) -> None:
        if self._crew.is_complete:
            self._announcer.announce()

    def _on_ready(self) -> None:
        self.supervisor.look_soon()
        self._announce_if_complete()
