"""The supervisor's parts, made in order and wired: limit, plan, watch, crew, front desk, banner."""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tonnage import __version__
from tonnage.budget.command import wishes_from
from tonnage.budget.connections import connections_per_worker
from tonnage.budget.plan import Plan, make_plan
from tonnage.errors import ListenError, TonnageError
from tonnage.governor.levels import Marks, marks_for
from tonnage.governor.page import MAX_WORKERS, SharedPage
from tonnage.governor.statistics import read_statistics
from tonnage.host.cpu import discover_cpus
from tonnage.host.limits import Limit, discover_limit
from tonnage.host.malloc import Heap, allocator_kind
from tonnage.host.pages import drop_file_pages
from tonnage.host.processes import descendants
from tonnage.host.usage import meter_for
from tonnage.host.wakeups import open_wakeups
from tonnage.ops.banner import BannerFacts, render_banner
from tonnage.ops.health import Health
from tonnage.ops.limitlines import limit_lines
from tonnage.ops.trust import ALIASES
from tonnage.server.actions import Actions
from tonnage.server.blackbox import make_directory
from tonnage.server.control import server_name, take_control
from tonnage.server.crew import Crew
from tonnage.server.foreman import Foreman
from tonnage.server.frontdesk import FrontDesk
from tonnage.server.listener import Listener, close_door, open_port
from tonnage.server.measure import size_of
from tonnage.server.measures import make_measures
from tonnage.server.reactor import Reactor
from tonnage.server.reload import SourceWatch
from tonnage.server.renewal import Renewal
from tonnage.server.supervisor import Supervisor
from tonnage.server.watch import Watch
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack

    from tonnage.host.wakeups import Wakeup
    from tonnage.ops.alerts import Alerter
    from tonnage.server.nursery import Nursery
    from tonnage.settings import MemorySettings, Settings

logger = logging.getLogger("tonnage.supervisor")

# Places beyond the planned number of workers, for successors of those that are still draining.
_SPARE_SLOTS = 2


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
    marks = marks_of(limit.bytes, settings.memory)
    nursery.finish()
    wishes = wishes_from(settings, limit.bytes)
    cpus = discover_cpus().count
    app = size_of(nursery.zygote) if nursery.zygote else None
    plan = make_plan(limit.bytes, limit.source, cpus, app, wishes)
    _fill_in(nursery, page, plan)
    server = _Server(settings, limit, marks, plan, page, listener, nursery, stack)
    Heap().trim()
    drop_file_pages()
    return server.supervisor


def marks_of(limit_bytes: int, settings: MemorySettings) -> Marks:
    """Return the marks that *settings* put on the way to the limit."""
    return marks_for(
        limit_bytes,
        warning=settings.warning_at,
        critical=settings.critical_at,
        exhausted=settings.exhausted_at,
        free_floor_bytes=settings.free_floor_bytes,
    )


def _displaced(marks: Marks, settings: MemorySettings) -> list[str]:
    """Return, in words, which marks do not lie where *settings* put them."""
    wanted = (
        ("--warning-at", settings.warning_at, marks.warning_bytes),
        ("--critical-at", settings.critical_at, marks.critical_bytes),
    )
    return [
        f"{option} {mark} is not below the next mark: {format_bytes(used)} is used instead"
        for option, mark, used in wanted
        if mark.of(marks.limit_bytes) > used
    ]


def _fill_in(nursery: Nursery, page: SharedPage, plan: Plan) -> None:
    workers = min(plan.workers, MAX_WORKERS)
    nursery.assignment = replace(nursery.assignment, queue_requests=plan.queue_requests)
    page.use_slots(workers + _SPARE_SLOTS)
    header = page.header
    header.started_nanoseconds = time.monotonic_ns()
    header.desired_workers = header.planned_workers = workers
    header.clustering = int(workers > 1)
    header.supervisor_pid = os.getpid()


class _Server:
    """The parts of a running server, made in order and wired."""

    def __init__(
        self,
        settings: Settings,
        limit: Limit,
        marks: Marks,
        plan: Plan,
        page: SharedPage,
        listener: Listener,
        nursery: Nursery,
        stack: ExitStack,
    ) -> None:
        self._settings, self._limit, self._plan = settings, limit, plan
        self._page, self._listener, self._nursery = page, listener, nursery
        self._announced = False
        self._name = server_name(listener.socket.getsockname())
        # Unless the user says where: beside the control socket. None where that cannot be: then
        # reports go to the log.
        self._reports = settings.reports.report_dir
        self._alerts_to: str | None = None
        self._reactor = Reactor()
        self._watch = Watch(
            page, meter_for(limit, self._pids), marks, plan.ceiling_bytes, clock=time.monotonic
        )
        stack.callback(lambda: self._watch.meter.close())
        self._urls = [("app", listener.url)]
        self._warnings = [*limit.warnings, *plan.warnings, *_displaced(marks, settings.memory)]
        front = self._open_front(stack)
        self._crew = Crew(page, plan.workers, spawn=nursery.spawn, clock=time.monotonic)
        self._alerter = self._start_alerter()
        measures = make_measures(
            settings,
            page,
            self._crew,
            self._watch,
            reports=self._reports,
            started_by_workers=self._started_by_workers,
            alert=self._alert,
        )
        front.offer(Actions(measures.operator, lambda: read_statistics(page, time.monotonic_ns())))
        renewal = Renewal(
            *(page, self._reactor, self._crew, nursery, measures.keeper.recycler),
            clock=time.monotonic,
        )
        foreman = Foreman(
            page=page,
            reactor=self._reactor,
            crew=self._crew,
            nursery=nursery,
            renewal=renewal,
            measures=measures,
            alerter=self._alerter,
            front=front,
            on_ready=self._on_ready,
            start_seconds=settings.process.start_seconds,
            clock=time.monotonic,
        )
        self.supervisor = Supervisor(
            page=page,
            reactor=self._reactor,
            crew=self._crew,
            nursery=nursery,
            foreman=foreman,
            renewal=renewal,
            measures=measures,
            alerter=self._alerter,
            front=front,
            refresh_limit=self._refresh_limit,
            source=SourceWatch(settings.app.app_dir) if settings.app.reload else None,
            close_door=functools.partial(close_door, listener.socket),
            log_seconds=settings.memory.memory_log_seconds,
            stop_seconds=settings.process.stop_seconds,
            clock=time.monotonic,
        )
        self._wakeups: list[Wakeup] = []
        self._wakeup_notes: list[str] = []
        self._listen_to_kernel()
        stack.callback(self._close_wakeups)

    def _open_front(self, stack: ExitStack) -> FrontDesk:
        settings = self._settings
        path = settings.admission.health_path
        front = FrontDesk(
            self._reactor,
            Health(
                self._page,
                path=path,
                also_below=ALIASES if settings.admission.api_aliases else "",
                where="supervisor",
            ),
            admin_token=settings.admission.admin_token,
            listening=self._listener.socket,
            clock=time.monotonic,
        )
        stack.callback(front.close)
        self._urls.append(("health", self._listener.hint(path)))
        if settings.listen.admin_port is not None:
            admin = open_port("127.0.0.1", settings.listen.admin_port, option="--admin-port")
            front.open(admin.socket, trusted=False)
            self._urls.append(("admin", admin.hint(path)))
        try:
            control = take_control(self._name, os.environ)
            front.open(control.socket, trusted=True, path=control.path)
            self._urls.append(("control", os.fspath(control.path)))
            self._warnings.extend(control.warnings)
            self._reports = self._reports or control.path.with_suffix(".reports")
        except ListenError as error:
            # Nobody's requests need it.
            self._warnings.append(str(error))
        return front

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
        return Alerter.start(reports, self._name, kept, origin=origin)

    def _alert(self, kind: str, text: str, fields: dict[str, Any]) -> None:
        if self._alerter is not None:
            self._alerter.alert(kind, text, fields)

    def _started_by_workers(self) -> Iterable[int]:
        """Return the processes of ours that are neither the server's own nor workers."""
        own = {*self._crew.pids(), self._nursery.pid()}
        if self._alerter is not None:
            own.add(self._alerter.pid)
        return [pid for pid in descendants(os.getpid()) if pid not in own]

    def _pids(self) -> Iterable[int]:
        return [os.getpid(), *descendants(os.getpid())]

    # The limit, which may move while we run.

    def _refresh_limit(self) -> None:
        settings = self._settings
        try:
            limit = discover_limit(settings.memory.limit_bytes, settings.origin("memory"))
            if (limit.bytes, limit.kind) == (self._limit.bytes, self._limit.kind):
                return
            meter = meter_for(limit, self._pids)
        except TonnageError as error:
            logger.warning("the memory limit cannot be read again, the last one holds: %s", error)
            return
        logger.warning("the memory limit changed: %s", limit.describe())
        self._limit = limit
        marks = marks_of(limit.bytes, settings.memory)
        self._watch.meter.close()
        # The reserve of the plan keeps its size; what is gained or lost is room for requests.
        reserve = self._plan.limit_bytes - self._plan.ceiling_bytes
        self._watch.retarget(meter, marks, max(limit.bytes - reserve, limit.bytes // 2))
        self._listen_to_kernel()

    def _listen_to_kernel(self) -> None:
        self._close_wakeups()
        marks = self._watch.marks
        self._wakeups, self._wakeup_notes = open_wakeups(
            self._limit,
            (marks.warning_bytes, marks.critical_bytes, marks.exhausted_bytes),
            os.environ,
        )
        for wakeup in self._wakeups:
            self._reactor.register(
                wakeup, functools.partial(self._on_wakeup, wakeup), wakeup.events
            )

    def _on_wakeup(self, wakeup: Wakeup) -> None:
        if wakeup.drain():
            self.supervisor.look_soon()
            return
        logger.warning("the kernel's %s is gone; looking at intervals instead", wakeup.name)
        self._reactor.unregister(wakeup)
        self._wakeups.remove(wakeup)
        wakeup.close()

    def _close_wakeups(self) -> None:
        for wakeup in self._wakeups:
            self._reactor.unregister(wakeup)
            wakeup.close()
        self._wakeups = []

    # The banner.

    def _on_ready(self) -> None:
        self.supervisor.look_soon()
        if self._crew.is_complete:
            self._announce()

    def _announce(self) -> None:
        if self._announced:
            return
        self._announced = True
        self._watch.look()
        print(render_banner(self._facts()), file=sys.stderr, flush=True)

    def _facts(self) -> BannerFacts:
        settings = self._settings
        marks, plan, header = self._watch.marks, self._plan, self._page.header
        zygote = self._nursery.zygote
        why_not = self._nursery.why_not or "--no-preload"
        usage = self._watch.meter.read()
        return BannerFacts(
            version=__version__,
            used_bytes=header.used_bytes,
            used_how=usage.how,
            limit_text=self._limit.describe(),
            workers=plan.workers,
            threads=plan.threads,
            cpus=plan.cpus,
            clustering=bool(header.clustering),
            preload_text=(
                f"imported once in {zygote.seconds:.1f} s" if zygote else f"off ({why_not})"
            ),
            zygote_bytes=plan.line("zygote").bytes if zygote else 0,
            urls=tuple(self._urls),
            marks=(
                *(marks.warning_bytes, marks.critical_bytes, marks.exhausted_bytes),
                self._watch.ceiling_bytes,
            ),
            allocator=settings.memory.allocator
            if settings.memory.allocator != "auto"
            else allocator_kind(),
            queue_requests=plan.queue_requests,
            wakeups=tuple(wakeup.name for wakeup in self._wakeups),
            fuse=settings.memory.fuse,
            worker_memory_bytes=settings.memory.worker_memory_bytes,
            recycling=settings.recycling,
            alerts_to=self._alerts_to,
            alert_seconds=settings.reports.alert_seconds,
            reports_in=None if self._reports is None else os.fspath(self._reports),
            reports_kept=settings.reports.reports,
            limits=tuple(
                limit_lines(
                    *(settings.listen, settings.path, settings.stores, settings.databases),
                    connections_per_worker(
                        *(header.limit_bytes, max(1, header.planned_workers)),
                        settings.databases.database_connections,
                    ),
                )
            ),
            notes=tuple(self._wakeup_notes),
            warnings=tuple(self._warnings),
        )
