"""The supervisor: one small loop that watches, decides and acts; it never imports the application.

    wait for a descriptor or a deadline → look (sample, decide, publish) → act

What it acts with is elsewhere: the workers (:mod:`tonnage.server.crew`), memory
(:mod:`tonnage.server.watch`), answers to people (:mod:`tonnage.server.frontdesk`). Nothing in the
loop waits for anything but the reactor.
"""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import TargetError, TonnageError
from tonnage.governor.levels import Level
from tonnage.governor.reclaim import Effort, after_reclaim, after_recovery, should_reclaim
from tonnage.governor.statistics import NANOSECONDS, STUCK_SECONDS, read_statistics
from tonnage.server.nursery import RETRY_SECONDS
from tonnage.server.reactor import Signals
from tonnage.server.reload import EVERY_SECONDS as RELOAD_SECONDS
from tonnage.server.watch import ROLLUP_SECONDS
from tonnage.units import format_bytes, in_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.server.crew import Crew, Member
    from tonnage.server.frontdesk import FrontDesk
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
_STUCK_CHECK_SECONDS: Final = 0.25


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
        self._front = front
        self._announce = announce
        self._close_door = close_door
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._clock = clock
        self._effort = Effort()
        self._awaited_reclaims = 0
        self._stop_at: float | None = None
        self._status = 0
        self._mistake: str | None = None
        self._rolled_up = 0
        self._looked_at = self._look_at = clock()
        self._duties = [
            Duty(self._roll_up_one, ROLLUP_SECONDS),
            Duty(self._check_stuck, _STUCK_CHECK_SECONDS),
            Duty(front.tidy, _TIDY_SECONDS),
            Duty(refresh_limit, _LIMIT_SECONDS, clock() + _LIMIT_SECONDS),
        ]
        if source is not None:
            self._duties.append(Duty(partial(self._reload_if_changed, source), RELOAD_SECONDS))
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
                    self._look_at = self._looked_at + self._watch.next_look_seconds()
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
            self._crew.kill()
            return
        self._stop_at = self._clock() + self._stop_seconds
        self._page.header.stopping = 1
        self._close_door()
        self._crew.stop()

    def _end(self, signals: Signals) -> None:
        self._crew.kill()
        self._nursery.stop()
        self._front.close()
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
                self._reclaim()
            elif number == signal.SIGHUP:
                logger.warning("SIGHUP: nothing is reloaded; stop and start to load new code")
        # Also without SIGCHLD in the queue: several may have been merged into one.
        self._reap()

    def _reap(self) -> None:
        had_zygote = self._nursery.zygote is not None
        while (ended := _next_ended()) is not None:
            pid, status = ended
            self._hear_out()
            member = self._crew.ended(pid, status)
            if member is not None:
                self._bury(member)
            elif not self._nursery.ended(pid):
                # As PID 1, or as a "subreaper", we inherit what others leave behind.
                logger.debug("reaped orphan %d", pid)
        if had_zygote and self._nursery.is_missing and self._stop_at is None:
            self._renew_nursery()

    def _renew_nursery(self) -> None:
        """Begin to import the application anew; workers made after that have the new code."""
        if self._nursery.pending is not None:
            self._reactor.unregister(self._nursery.pending.channel)
        zygote = self._nursery.begin()
        if zygote is not None:
            self._reactor.register(zygote.channel, partial(self._on_imported, zygote))

    def _on_imported(self, zygote: Zygote) -> None:
        self._reactor.unregister(zygote.channel)
        try:
            self._nursery.finish()
        except TonnageError as error:
            # The reason has been told; what serves goes on, and it is tried again.
            logger.error("%s", error)
            self._duties.append(
                Duty(self._retry_nursery, RETRY_SECONDS, self._clock() + RETRY_SECONDS)
            )

    def _retry_nursery(self) -> None:
        self._duties = [duty for duty in self._duties if duty.do != self._retry_nursery]
        if self._nursery.is_missing:
            self._renew_nursery()

    def _bury(self, member: Member) -> None:
        self._reactor.unregister(member.channel)
        member.channel.close()
        self._watch.forget(member.index)
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
                self._crew.lost(member, "ended before it began")
                self._bury(member)
            return False
        if received is None:
            return False
        message, _ = received
        self._crew.heard(member, message)
        if message["kind"] == "ready":
            self._watch.roll_up(member.pid or 0, self._page.slots[member.index])
            if self._crew.is_complete:
                self._announce()
        elif message["kind"] == "reclaimed":
            self._on_reclaimed(message)
        return True

    # Memory.

    def _act_on(self, look: Look | None) -> None:
        if look is None:
            return
        if look.kills:
            logger.error(
                "the kernel killed %d process(es) in our cgroup for want of memory", look.kills
            )
        if look.level is not look.previous:
            self._log_level(look)
            self._effort = after_recovery(self._effort, look.level)
        if not self._awaited_reclaims and should_reclaim(look.level, self._clock(), self._effort):
            self._reclaim()

    def _reclaim(self) -> None:
        self._awaited_reclaims = self._crew.tell("reclaim")

    def _on_reclaimed(self, message: dict[str, Any]) -> None:
        header = self._page.header
        header.reclaims += 1
        header.reclaimed_bytes += max(0, message["freed_bytes"])
        self._awaited_reclaims = max(0, self._awaited_reclaims - 1)
        self._effort = after_reclaim(
            self._effort,
            used_bytes=header.used_bytes,
            freed_bytes=message["freed_bytes"],
            cost_seconds=message["cost_seconds"],
            now_seconds=self._clock(),
        )

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
            extra={"fields": self._figures(now.used_bytes, now.level)},
        )

    def _log_level(self, look: Look) -> None:
        write = logger.warning if look.level > Level.WARNING else logger.info
        write(
            "memory %s -> %s: %s of %s",
            *(look.previous.name, look.level.name, format_bytes(look.used_bytes)),
            format_bytes(self._watch.marks.limit_bytes),
            extra={"fields": self._figures(look.used_bytes, look.level)},
        )

    def _figures(self, used_bytes: int, level: Level) -> dict[str, Any]:
        header = self._page.header
        return {
            "used_mb": in_mb(used_bytes),
            "limit_mb": in_mb(self._watch.marks.limit_bytes),
            "cache_mb": in_mb(header.cache_bytes),
            "memory_level": level.name,
        }


def _next_ended() -> tuple[int, int] | None:
    """Return process id and status of a child that has ended; None if none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None
