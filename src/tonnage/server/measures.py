"""The measures against running out of memory, made and wired: one call, used by the server."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tonnage.governor.levels import Level
from tonnage.server.blackbox import BlackBox
from tonnage.server.braking import Brake
from tonnage.server.fuses import Fuses
from tonnage.server.inquest import Inquest
from tonnage.server.keeper import Keeper
from tonnage.server.leaking import Leaking
from tonnage.server.operator import Operator
from tonnage.server.recycling import Recycler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tonnage.config import Settings
    from tonnage.governor.page import SharedPage
    from tonnage.server.crew import Crew
    from tonnage.server.watch import Watch


@dataclass(frozen=True, slots=True)
class Measures:
    """What the supervisor needs of them."""

    keeper: Keeper
    brake: Brake
    inquest: Inquest
    operator: Operator


def make_measures(
    settings: Settings,
    page: SharedPage,
    crew: Crew,
    watch: Watch,
    *,
    reports: Path | None,
    started_by_workers: Callable[[], Iterable[int]],
    alert: Callable[[str, str, dict[str, Any]], object],
    clock: Callable[[], float] = time.monotonic,
) -> Measures:
    """Make everything that acts on memory.

    Args:
        settings: what the user wants.
        page: the shared page.
        crew: the workers.
        watch: who samples.
        reports: the directory for reports; None: they go to the log.
        started_by_workers: lists our processes that are neither the server's own nor workers.
        alert: tells people of something, with its kind, a sentence and figures.
        clock: monotonic seconds.
    """

    def tell(kind: str, text: str) -> None:
        alert(kind, text, {})

    box = BlackBox(
        reports,
        settings.reports.reports,
        clock=clock,
        wall_clock=time.time,
        slots=page.header.slot_count,
    )
    fuses = Fuses(
        page,
        worker_memory_bytes=settings.memory.worker_memory_bytes,
        enabled=settings.memory.fuse,
    )
    brake = Brake(
        page,
        watch,
        fuses,
        others=started_by_workers,
        shrink=lambda spare: keeper.reclaim(Level.CRITICAL, "the brake is on", spare=spare),
        clock=clock,
    )
    recycler = Recycler(
        page,
        crew,
        settings.recycling,
        drain_seconds=settings.process.stop_seconds,
        start_seconds=settings.process.start_seconds,
        alert=tell,
        clock=clock,
    )
    leaking = Leaking(
        page,
        crew,
        report=settings.reports.leak_report,
        alert=tell,
        loosen=fuses.loosen,
        clock=clock,
    )
    keeper = Keeper(
        page=page,
        crew=crew,
        watch=watch,
        fuses=fuses,
        brake=brake,
        recycler=recycler,
        leaking=leaking,
        box=box,
        recycle_above_bytes=settings.recycling.recycle_above_bytes,
        alert=alert,
        clock=clock,
    )
    inquest = Inquest(page, watch, brake, box, alert=alert, clock=clock)
    return Measures(keeper, brake, inquest, Operator(page, keeper, box))
