"""The supervisor: one small loop that watches, decides and acts; it never imports the application.

    wait for a descriptor or a deadline → look (sample, decide, publish) → act

What it acts with is elsewhere: the workers (:mod:`tonnage.server.crew`), what is done about memory
(:mod:`tonnage.server.keeper`), the reports on deaths (:mod:`tonnage.server.inquest`), answers to
people (:mod:`tonnage.server.frontdesk`). Nothing in the loop waits for anything but the reactor.
"""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from tonnage.errors import TargetError, TonnageError
from tonnage.governor.levels import Level
from tonnage.governor.recycle import Reason
from tonnage.governor.statistics import NANOSECONDS, STUCK_SECONDS, read_statistics
from tonnage.server.braking import CENSUS_SECONDS
from tonnage.server.nursery import RETRY_SECONDS
from tonnage.server.reactor import Signals
from tonnage.server.reload import EVERY_SECONDS as RELOAD_SECONDS
from tonnage.server.watch import ROLLUP_SECONDS
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.ops.alerts import Alerter
    from tonnage.server.crew import Crew, Member
    from tonnage.server.frontdesk import FrontDesk
    from tonnage.server.measures import Measures
    from tonnage.server.nursery import Nursery
    from tonnage.server.reactor import Reactor
    from tonnage.server.reload import SourceWatch
    from tonnage.server.watch import Look, Watch
    from tonnage.server.zygote import Zygote

logger = logging.getLogger("tonnage.supervisor")

# However many events the kernel tells of, looks are no denser than this; one costs some 0.3 ms.
_DENSEST_SECONDS: Final = 0.005
_LIMIT_SECONDS: Final = 10.0
_TIDY_SECONDS: Final = 1.0
# An import takes more for a moment than what is left of it.
_IMPORT_FACTOR: Final = 1.5
_STUCK_CHECK_SECONDS: Final = 0.25
# What still waits to be sent when the server ends may take so long.
_LAST_ALERTS_SECONDS: Final = 2.0


@dataclass(slots=True)
class Duty:
    """Something to be done regularly."""

    do: Callable[[], None]
    every_seconds: float
    due_seconds: float = 0.0


class Supervisor:
    """The loop. Everything it works with is handed in, made by :mod:`tonnage.server.assemble`."""

    def __init__(
        self,
        *,
        page: SharedPage,
        reactor: Reactor,
        crew: Crew,
        nursery: Nursery,
        watch: Watch,
        measures: Measures,
        alerter: Alerter | None,
        front: FrontDesk,
        refresh_limit: Callable[[], None],
        announce: Callable[[], None],
        close_door: Callable[[], object],
        source: SourceWatch | None,
        log_seconds: float,
        start_seconds: float,
        stop_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._page = page
        self._reactor = reactor
        self._crew = crew
        self._nursery = nursery
        self._watch = watch
        self._keeper, self._brake = measures.keeper, measures.brake
        self._inquest = measures.inquest
        self._alerter = alerter
        self._front = front
        self._announce = announce
        self._close_door = close_door
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._clock = clock
        self._stop_at: float | None = None
        self._status = 0
        self._mistake: str | None = None
        # Somebody has asked twice: what is cut short needs no report.
        self._in_haste = False
        # A signal has asked for new code; the workers follow once it is imported.
        self._recycle_when_imported = False
        self._rolled_up = 0
        self._looked_at = self._look_at = clock()
        self._duties = [
            Duty(self._roll_up_one, ROLLUP_SECONDS),
            Duty(self._check_stuck, _STUCK_CHECK_SECONDS),
            Duty(front.tidy, _TIDY_SECONDS),
            Duty(self._brake.take_census, CENSUS_SECONDS),
            Duty(refresh_limit, _LIMIT_SECONDS, clock() + _LIMIT_SECONDS),
        ]
        if source is not None:
            self._duties.append(Duty(partial(self._reload_if_changed, source), RELOAD_SECONDS))
        if alerter is not None:
            self._duties.append(Duty(partial(self._tend, alerter), _TIDY_SECONDS))
        if log_seconds:
            self._duties.append(Duty(self._log_memory, log_seconds, clock() + log_seconds))

    def run(self) -> int:
        """Run until told to stop; return the exit status.

        Raises:
            TargetError: the workers, which import the application themselves, have not found it.
        """
        signals = Signals(
            (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGHUP)
        )
        self._reactor.register(signals, lambda: self._on_signals(signals))
        try:
            while not self._is_over():
                self._reactor.wait(self._pause_seconds())
                self._fill_crew()
                now = self._clock()
                if now >= self._look_at:
                    self._act_on(self._watch.look())
                    self._looked_at = self._clock()
                    self._look_at = self._looked_at + self._next_look_seconds()
                self._do_duties(now)
        finally:
            self._end(signals)
        if self._mistake is not None:
            raise TargetError(self._mistake)
        return self._status

    def look_soon(self) -> None:
        """Look before the regular time: the kernel has told of something."""
        self._look_at = min(self._look_at, self._looked_at + _DENSEST_SECONDS)

    # Waiting and ending.

    def _next_look_seconds(self) -> float:
        return min(self._watch.next_look_seconds(), self._keeper.next_look_seconds())

    def _pause_seconds(self) -> float:
        due = [self._look_at, *(duty.due_seconds for duty in self._duties)]
        spawn = self._crew.next_spawn_seconds()
        if spawn is not None:
            due.append(spawn)
        if self._stop_at is not None:
            due.append(self._stop_at)
        return max(min(due) - self._clock(), 0.0)

    def _is_over(self) -> bool:
        if self._stop_at is None:
            return False
        if self._crew.members and self._clock() >= self._stop_at:
            logger.warning("the time to stop is up: ending %d worker(s)", len(self._crew.members))
            self._crew.kill()
            self._stop_at = float("inf")
        return not self._crew.members

    def _stop(self, status: int = 0) -> None:
        """Begin to stop; asked a second time, end at once."""
        self._status = self._status or status
        if self._stop_at is not None:
            self._in_haste = True
            self._crew.kill()
            return
        self._stop_at = self._clock() + self._stop_seconds
        self._page.header.stopping = 1
        self._close_door()
        self._crew.stop()

    def _end(self, signals: Signals) -> None:
        self._brake.release()
        if self._crew.members:
            self._crew.kill()
        self._nursery.stop()
        self._front.close()
        if self._alerter is not None:
            self._alerter.close(_LAST_ALERTS_SECONDS)
        self._reactor.unregister(signals)
        signals.close()

    # Signals and processes.

    def _on_signals(self, signals: Signals) -> None:
        for number in signals.take():
            if number in (signal.SIGTERM, signal.SIGINT):
                if self._stop_at is None:
                    logger.info(
                        "stopping: finishing what has begun, %g s at most", self._stop_seconds
                    )
                else:
                    logger.warning("asked to stop a second time: ending at once")
                self._stop()
            elif number == signal.SIGUSR1:
                self._keeper.reclaim(Level.CRITICAL, "SIGUSR1")
            elif number == signal.SIGHUP:
                self._reload()
        # Also without SIGCHLD in the queue: several may have been merged into one.
        self._reap()

    def _reap(self) -> None:
        had_zygote = self._nursery.zygote is not None
        while (ended := _next_ended()) is not None:
            pid, status = ended
            self._hear_out()
            member = self._crew.find(pid)
            if member is not None:
                self._bury(member, status)
            elif not self._nursery.ended(pid) and not self._is_alerter(pid):
                # As PID 1, or as a "subreaper", we inherit what others leave behind.
                logger.debug("reaped orphan %d", pid)
        if had_zygote and self._nursery.is_missing and self._stop_at is None:
            self._renew_nursery()

    def _renew_nursery(self, *, beside: bool = False) -> None:
        """Begin to import the application anew; workers made after that have the new code."""
        if self._nursery.pending is not None:
            self._reactor.unregister(self._nursery.pending.channel)
        zygote = self._nursery.begin(beside=beside)
        if zygote is not None:
            self._reactor.register(zygote.channel, partial(self._on_imported, zygote))

    def _on_imported(self, zygote: Zygote) -> None:
        self._reactor.unregister(zygote.channel)
        try:
            self._nursery.finish()
            if self._recycle_when_imported:
                self._recycle_when_imported = False
                self._keeper.recycler.want_all(Reason.NEW_CODE)
        except TonnageError as error:
            # The reason has been told; what serves goes on, and it is tried again.
            serving = "; the old code goes on serving" if self._recycle_when_imported else ""
            self._recycle_when_imported = False
            logger.error("%s%s", error, serving)
            self._duties.append(
                Duty(self._retry_nursery, RETRY_SECONDS, self._clock() + RETRY_SECONDS)
            )

    def _reload(self) -> None:
        """Import the application anew, then replace every worker in its turn."""
        if self._stop_at is not None:
            return
        if not self._nursery.preload:
            count = self._keeper.recycler.want_all(Reason.NEW_CODE)
            logger.info("SIGHUP: %d worker(s) are replaced, each of which imports anew", count)
            return
        header = self._page.header
        free = header.limit_bytes - header.used_bytes
        beside = free > header.zygote_pss_bytes * _IMPORT_FACTOR
        logger.info(
            "SIGHUP: importing the application anew%s; then every worker is replaced",
            "" if beside else ", after ending the zygote, since both do not fit",
        )
        self._recycle_when_imported = True
        self._renew_nursery(beside=beside)

    def _retry_nursery(self) -> None:
        self._duties = [duty for duty in self._duties if duty.do != self._retry_nursery]
        if self._nursery.is_missing:
            self._renew_nursery()

    def _is_alerter(self, pid: int) -> bool:
        return self._alerter is not None and self._alerter.ended(pid)

    def _tend(self, alerter: Alerter) -> None:
        alerter.tick(self._clock())

    def _bury(self, member: Member, status: int | None) -> None:
        for_memory = False
        if not self._in_haste and (not member.failure or self._crew.has_served):
            for_memory = self._inquest.on_death(member, status)
        self._crew.lost(member, status, for_memory=for_memory)
        self._reactor.unregister(member.channel)
        member.channel.close()
        self._watch.forget(member.index)
        self._keeper.forget(member)
        if member.failure and not self._crew.has_served and self._stop_at is None:
            if member.is_mistaken:
                self._mistake = member.failure
            else:
                logger.error("no worker has ever served: %s; stopping", member.failure)
            self._stop(status=1)

    def _fill_crew(self) -> None:
        for member in self._crew.fill():
            self._reactor.register(member.channel, partial(self._on_message, member))

    def _hear_out(self) -> None:
        """Read all that workers have said: one that has ended has said who it was, and why."""
        for member in list(self._crew.members.values()):
            while self._on_message(member):
                pass

    def _on_message(self, member: Member) -> bool:
        """Act on the next message of *member*; return whether there was one."""
        try:
            received = member.channel.receive()
        except EOFError:
            # The process is ending; how is learned from the kernel.
            self._reactor.unregister(member.channel)
            if member.pid is None:
                self._bury(member, None)
            return False
        if received is None:
            return False
        message, _ = received
        self._crew.heard(member, message)
        kind = message["kind"]
        if kind == "ready":
            self._watch.roll_up(member.pid or 0, self._page.slots[member.index])
            self._keeper.recycler.heard_ready(member)
            self.look_soon()
            if self._crew.is_complete:
                self._announce()
        elif kind == "reclaimed":
            self._keeper.on_reclaimed(member, message)
        elif kind == "memory_error":
            self._inquest.on_memory_error(member, message)
        elif kind == "kept":
            self._keeper.on_kept(member)
        elif kind == "traced":
            self._keeper.leaking.heard_report(member, message["report"])
        return True

    def _act_on(self, look: Look | None) -> None:
        if look is None:
            return
        if look.kills:
            self._inquest.on_kills(look.kills)
        self._keeper.act(look)

    # Regular duties.

    def _do_duties(self, now: float) -> None:
        for duty in self._duties:
            if now >= duty.due_seconds:
                duty.do()
                duty.due_seconds = now + duty.every_seconds

    def _roll_up_one(self) -> None:
        """Measure the PSS of one process, in turn: a roll-up takes 6 to 14 ms for 100 MB."""
        slots = self._page.live_slots()
        turn = self._rolled_up % (len(slots) + 2)
        self._rolled_up += 1
        if turn == 0:
            self._watch.roll_up(os.getpid(), None, "supervisor_pss_bytes")
        elif turn == 1:
            zygote = self._nursery.pid()
            if zygote is not None:
                self._watch.roll_up(zygote, None, "zygote_pss_bytes")
        else:
            self._watch.roll_up(slots[turn - 2].pid, slots[turn - 2])

    def _check_stuck(self) -> None:
        now = int(self._clock() * NANOSECONDS)
        self._crew.end_overdue(self._start_seconds)
        self._nursery.end_overdue(self._clock())
        awake = self._crew.awake(now, int(STUCK_SECONDS * NANOSECONDS))
        started = now - self._page.header.started_nanoseconds > STUCK_SECONDS * NANOSECONDS
        needed = not awake and started and self._stop_at is None
        self._front.stand_in(needed, [member.channel for member in awake])

    def _reload_if_changed(self, source: SourceWatch) -> None:
        changed = source.changed()
        if changed is None or self._stop_at is not None:
            return
        logger.info("%s changed: importing the application anew", changed)
        self._crew.retire()
        self._renew_nursery()

    def _log_memory(self) -> None:
        now = read_statistics(self._page, int(self._clock() * NANOSECONDS))
        logger.info(
            "memory %s of %s (%s), %d worker(s), %d in flight, %d waiting",
            *(format_bytes(now.used_bytes), format_bytes(now.limit_bytes), now.level.name),
            *(now.ready_workers, sum(worker.in_flight for worker in now.workers)),
            sum(worker.waiting for worker in now.workers),
            extra={"fields": self._keeper.figures(now.used_bytes, now.level)},
        )


def _next_ended() -> tuple[int, int] | None:
    """Return process id and status of a child that has ended; None if none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None
