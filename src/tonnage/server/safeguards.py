"""The safeguards against running out of memory, made and wired: one call, used by the server."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tonnage.governor.levels import Level
from tonnage.governor.reclaim import Reclaimed
from tonnage.governor.recycle import Reason
from tonnage.ops.alertpolicy import SECURITY
from tonnage.server.asking import Asking
from tonnage.server.hold import Hold, make_hold
from tonnage.server.keeper import Keeper
from tonnage.server.leaks.following import Leaking
from tonnage.server.messages import Alarm, Kept, RanOut, Traced
from tonnage.server.operator import Operator
from tonnage.server.postmortem.blackbox import BlackBox
from tonnage.server.postmortem.inquest import Inquest
from tonnage.server.recycling import Recycler
from tonnage.server.rounds import Rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tonnage.governor.page import SharedPage
    from tonnage.server.crew import Crew, Member
    from tonnage.server.leaks.trace import TraceReport
    from tonnage.server.messages import OfMemory
    from tonnage.server.watch import Look, Watch
    from tonnage.settings import Settings


@dataclass(frozen=True, slots=True)
class Safeguards:
    """What the supervisor needs of them."""

    page: SharedPage
    hold: Hold
    keeper: Keeper
    inquest: Inquest
    operator: Operator
    alert: Callable[[str, str, dict[str, Any]], object]

    def look(self) -> Look | None:
        """Look, and do all that this demands; return None where use cannot be read."""
        look = self.hold.look(spared=self.keeper.leaking.tracing.traced)
        if look is not None:
            if look.kills:
                self.inquest.on_kills(look.kills)
            self.inquest.on_programs_ended()
            self.keeper.act(look)
        return look

    def on_ready(self, member: Member) -> None:
        """Take in that *member* serves from now on."""
        self.hold.watch.roll_up(member.pid or 0, self.page.slots[member.index])
        self.keeper.recycler.heard_ready(member)

    def on_message(self, member: Member, message: OfMemory) -> None:
        """Take in what *member* says of its memory, and what people are to be told."""
        match message:
            case Reclaimed():
                self.keeper.on_reclaimed(member, message)
            case RanOut():
                self.inquest.on_memory_error(member, message)
            case Kept():
                self.keeper.recycler.want(member.index, Reason.NOT_BACK)
            case Traced(report):
                self.keeper.leaking.tracing.heard(member, cast("TraceReport", report))
            case Alarm(text, fields):
                self.alert(SECURITY, text, fields)

    def forget(self, member: Member) -> None:
        """Drop what is known of a worker that has ended."""
        self.hold.watch.forget(member.index)
        self.keeper.forget(member)

    def next_look_seconds(self) -> float:
        """Return how long to wait before the next look."""
        return min(self.hold.next_look_seconds(), self.keeper.next_look_seconds())


def make_safeguards(
    settings: Settings,
    page: SharedPage,
    crew: Crew,
    watch: Watch,
    *,
    reports: Path | None,
    started_by_workers: Callable[[], Iterable[int]],
    alert: Callable[[str, str, dict[str, Any]], object],
    clock: Callable[[], float] = time.monotonic,
) -> Safeguards:
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

    box = BlackBox(
        reports,
        settings.reports.reports,
        clock=clock,
        wall_clock=time.time,
        slots=page.header.slot_count,
        application=f"{settings.app.target} in {settings.app.app_dir.resolve()}",
    )
    asking = Asking(clock)
    rounds = Rounds(page, crew, watch, asking, clock=clock)
    hold = make_hold(
        settings.memory,
        page,
        watch,
        others=started_by_workers,
        shrink=lambda spare: rounds.begin(Level.CRITICAL, "the brake is on", spare=spare),
        clock=clock,
    )
    recycler = Recycler(
        page,
        crew,
        settings.recycling,
        drain_seconds=settings.process.stop_seconds,
        start_seconds=settings.process.start_seconds,
        alert=alert,
        clock=clock,
    )
    leaking = Leaking(
        page,
        crew,
        asking=asking,
        report=settings.reports.leak_report,
        alert=alert,
        loosen=hold.fuses.loosen,
        clock=clock,
    )
    keeper = Keeper(
        page=page,
        crew=crew,
        watch=watch,
        recycler=recycler,
        leaking=leaking,
        rounds=rounds,
        asking=asking,
        box=box,
        recycle_above_bytes=settings.recycling.recycle_above_bytes,
        alert=alert,
        clock=clock,
    )
    inquest = Inquest(page, watch, hold.brake, box, alert=alert, clock=clock)
    return Safeguards(page, hold, keeper, inquest, Operator(page, crew, keeper, box), alert)
