"""The supervisor: one small loop that watches, decides and acts; it never imports the application.

    wait for a descriptor or a deadline → look (sample, decide, publish) → act

What it acts with is elsewhere: the workers (:mod:`tonnage.server.foreman`), what is done about
memory (:mod:`tonnage.server.safeguards`), new code (:mod:`tonnage.server.renewal`), answers to
people (:mod:`tonnage.server.frontdesk`). Here are the order of things, and the stop. Nothing in the
loop waits for anything but the reactor.
"""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from tonnage.errors import TargetError
from tonnage.governor.levels import Level
from tonnage.ops.page.history import EVERY_SECONDS as HISTORY_SECONDS
from tonnage.ops.sizing.observer import EVERY_SECONDS as OBSERVE_SECONDS
from tonnage.server.braking import CENSUS_SECONDS
from tonnage.server.reactor import Signals
from tonnage.server.reload import EVERY_SECONDS as RELOAD_SECONDS
from tonnage.server.watch import ROLLUP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.ops.alerts import Alerter
    from tonnage.ops.sizing.observer import Observer
    from tonnage.server.crew import Crew
    from tonnage.server.foreman import Foreman
    from tonnage.server.frontdesk import FrontDesk
    from tonnage.server.jobs.owner import Jobs
    from tonnage.server.nursery import Nursery
    from tonnage.server.reactor import Reactor
    from tonnage.server.reload import SourceWatch
    from tonnage.server.renewal import Renewal
    from tonnage.server.safeguards import Safeguards

logger = logging.getLogger("tonnage.supervisor")

# However many events the kernel tells of, looks are no denser than this; one costs some 0.3 ms.
_DENSEST_SECONDS: Final = 0.005
_LIMIT_SECONDS: Final = 10.0
_TIDY_SECONDS: Final = 1.0
_CHECK_SECONDS: Final = 0.25
# Platforms, and programs that signal a process and its group, send the same SIGTERM twice.
_SAME_SIGNAL_SECONDS: Final = 1.0
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
        foreman: Foreman,
        renewal: Renewal,
        safeguards: Safeguards,
        alerter: Alerter | None,
        front: FrontDesk,
        jobs: Jobs,
        refresh_limit: Callable[[], None],
        close_door: Callable[[], object],
        note_history: Callable[[], None],
        observer: Observer | None,
        source: SourceWatch | None,
        log_seconds: float,
        stop_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._page = page
        self._reactor = reactor
        self._crew = crew
        self._nursery = nursery
        self._foreman = foreman
        self._renewal = renewal
        self._safeguards = safeguards
        self._alerter = alerter
        self._front = front
        self._jobs = jobs
        self._observer = observer
        self._close_door = close_door
        self._stop_seconds = stop_seconds
        self._clock = clock
        self._stop_at: float | None = None
        # A SIGTERM before is the one that was heard.
        self._haste_from = 0.0
        self._status = 0
        self._looked_at = self._look_at = clock()
        hold, keeper = safeguards.hold, safeguards.keeper
        self._duties = [
            Duty(lambda: hold.watch.roll_up_next(nursery.pid()), ROLLUP_SECONDS),
            Duty(foreman.check, _CHECK_SECONDS),
            Duty(renewal.tend, _CHECK_SECONDS),
            Duty(front.tidy, _TIDY_SECONDS),
            Duty(hold.brake.take_census, CENSUS_SECONDS),
            Duty(refresh_limit, _LIMIT_SECONDS, clock() + _LIMIT_SECONDS),
            # By then every process has been measured.
            Duty(note_history, HISTORY_SECONDS, clock() + HISTORY_SECONDS),
        ]
        if source is not None:
            self._duties.append(Duty(partial(renewal.reload_if_changed, source), RELOAD_SECONDS))
        if alerter is not None:
            self._duties.append(Duty(lambda: alerter.tick(clock()), _TIDY_SECONDS))
        if observer is not None:
            self._duties.append(Duty(observer.tick, OBSERVE_SECONDS))
        if log_seconds:
            self._duties.append(Duty(keeper.log_memory, log_seconds, clock() + log_seconds))

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
                self._stop_if_none_starts()
                self._foreman.fill()
                now = self._clock()
                if now >= self._look_at:
                    look = self._safeguards.look()
                    if look is not None and self._observer is not None:
                        self._observer.note(look.used_bytes)
                    self._looked_at = self._clock()
                    self._look_at = self._looked_at + self._safeguards.next_look_seconds()
                self._jobs.tend()
                self._do_duties(now)
        finally:
            self._end(signals)
        failed = self._foreman.failed_start
        if failed is not None and failed.is_mistaken:
            raise TargetError(failed.failure)
        return self._status

    def look_soon(self) -> None:
        """Look before the regular time: something has happened."""
        self._look_at = min(self._look_at, self._looked_at + _DENSEST_SECONDS)

    def _pause_seconds(self) -> float:
        due = [self._stop_at, self._crew.next_spawn_seconds(), self._jobs.next_seconds()]
        due += [self._look_at, *(duty.due_seconds for duty in self._duties)]
        return max(min(each for each in due if each is not None) - self._clock(), 0.0)

    def _do_duties(self, now: float) -> None:
        for duty in self._duties:
            if now >= duty.due_seconds:
                duty.do()
                duty.due_seconds = now + duty.every_seconds

    def _on_signals(self, signals: Signals) -> None:
        for number in signals.take():
            if number in (signal.SIGTERM, signal.SIGINT):
                if self._stop_at is None:
                    logger.info(
                        "stopping: finishing what has begun, %g s at most", self._stop_seconds
                    )
                elif number == signal.SIGTERM and self._clock() < self._haste_from:
                    continue
                else:
                    logger.warning("asked to stop a second time: ending at once")
                self._stop()
            elif number == signal.SIGUSR1:
                self._safeguards.keeper.rounds.begin(Level.CRITICAL, "SIGUSR1", is_asked=True)
            elif number == signal.SIGHUP:
                self._jobs.renew()
                self._renewal.on_hangup()
        # Also without SIGCHLD in the queue: several may have been merged into one.
        self._foreman.reap()

    # Stopping.

    def _is_over(self) -> bool:
        if self._stop_at is None:
            return False
        if self._crew.members and self._clock() >= self._stop_at:
            logger.warning("the time to stop is up: ending %d worker(s)", len(self._crew.members))
            self._crew.kill()
            self._stop_at = float("inf")
        return not self._crew.members

    def _stop_if_none_starts(self) -> None:
        failed = self._foreman.failed_start
        if failed is None or self._status:
            return
        if not failed.is_mistaken:
            logger.error("no worker has ever served: %s; stopping", failed.failure)
        self._stop(status=1)

    def _stop(self, status: int = 0) -> None:
        """Begin to stop; asked a second time, end at once."""
        self._status = self._status or status
        if self._stop_at is not None:
            self._foreman.is_in_haste = True
            self._crew.kill()
            return
        now = self._clock()
        self._stop_at, self._haste_from = now + self._stop_seconds, now + _SAME_SIGNAL_SECONDS
        self._page.header.stopping = 1
        self._close_door()
        # Before they are told to stop: who is stuck reads both later, and in this order.
        self._front.hand_back([member.channel for member in self._crew.serving()])
        self._crew.stop()

    def _end(self, signals: Signals) -> None:
        self._safeguards.hold.brake.release()
        if self._crew.members:
            self._crew.kill()
        self._jobs.stop()
        self._nursery.stop()
        self._front.close()
        if self._alerter is not None:
            self._alerter.close(_LAST_ALERTS_SECONDS)
        self._reactor.unregister(signals)
        signals.close()
