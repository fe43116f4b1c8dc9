"""Alerts: the supervisor's side. Nothing here waits, raises or needs memory that is not there.

The supervisor says what happened; the rate limit (:mod:`tonnage.ops.alertpolicy`) decides whether
people are told now; a small process (:mod:`tonnage.ops.alertsender`), forked at the start, delivers
it. An alert is kept here until the sender has said what became of it, so that one which is killed
takes nothing along: its successor gets what was left, and a receiver may see an alert twice.

Kept are :data:`~tonnage.ops.alertpolicy.MOST_WAITING` alerts of some 8 KB at most.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tonnage.host.forking import fork_into
from tonnage.ops.alertpolicy import Outbox, Patience, RateLimit, make_alert
from tonnage.ops.alertsender import SENDERS, Finish, sender_main
from tonnage.ops.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.host.channel import Channel
    from tonnage.ops.alertpolicy import Alert
    from tonnage.ops.alertsender import FromSender, ToSender
    from tonnage.settings import ReportSettings

logger = logging.getLogger("tonnage.alerts")


@dataclass(frozen=True, slots=True)
class AlertStatistics:
    """What became of the alerts so far.

    Attributes:
        made: Alerts that the supervisor wanted sent.
        held_back: Of these, not passed on at once: too soon after one of their kind.
        delivered: Accepted by the receiver.
        lost: Refused by the receiver, given up, or dropped because too many waited.
        waiting: Passed on, and not known to be delivered or lost.
        restarts: How often a sender that had ended was started again.
    """

    made: int
    held_back: int
    delivered: int
    lost: int
    waiting: int
    restarts: int


class Alerter:
    """The supervisor's handle on the process that sends alerts."""

    def __init__(
        self,
        webhook: Webhook,
        server: str,
        kept: frozenset[int],
        every_seconds: float,
        patience: Patience,
        clock: Callable[[], float],
    ) -> None:
        self.pid: int | None = None
        self._webhook = webhook
        self._server = server
        self._kept = kept
        self._patience = patience
        self._clock = clock
        self._limit = RateLimit(every_seconds)
        self._outbox = Outbox()
        # The ids of those in the outbox that the present sender has.
        self._given: set[str] = set()
        self._channel: Channel[ToSender, FromSender] | None = None
        self._launched_seconds = 0.0
        self._is_closed = False
        self._was_full = False
        self._run = os.urandom(4).hex()
        self._made = self._held_back = self._delivered = self._lost = self._launches = 0

    @classmethod
    def start(
        cls,
        reports: ReportSettings,
        name: str,
        kept: frozenset[int],
        *,
        origin: str = "TONNAGE_ALERT_URL",
        patience: Patience = Patience(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.monotonic,
    ) -> Alerter:
        """Fork the sender; called only where ``reports.alert_url`` is set.

        Args:
            reports: the settings.
            name: the server's name, for people.
            kept: descriptors that the process may keep: standard streams and what was inherited.
            origin: how a message should call the option.
            patience: how long is waited for what.
            clock: the monotonic clock, in seconds.

        Raises:
            ConfigError: the address makes no sense.
        """
        webhook = Webhook.from_settings(reports, origin)
        alerter = cls(webhook, name, kept, reports.alert_seconds, patience, clock)
        alerter._launch()
        return alerter

    def alert(self, kind: str, text: str, fields: dict[str, Any]) -> None:
        """Tell people, unless they have just been told of another of this *kind*.

        Args:
            kind: one of the kinds in :mod:`tonnage.ops.alertpolicy`.
            text: a sentence or two.
            fields: figures and names; ``level`` is the level of memory.
        """
        if self._is_closed:
            return
        self._made += 1
        now, id = self._clock(), f"{self._run}-{self._made}"
        admitted = self._limit.admit(make_alert(kind, text, fields, id=id, now_seconds=now), now)
        if admitted is None:
            self._held_back += 1
        else:
            self._enqueue(admitted)
            self._pass_on()

    def tick(self, now_seconds: float) -> None:
        """Do what is due: hear the sender, pass on what was held back, start one that has ended."""
        if self._is_closed:
            return
        self._hear()
        for alert in self._limit.due(now_seconds):
            self._enqueue(alert)
        self._forget_old(now_seconds)
        is_due = now_seconds - self._launched_seconds >= self._patience.restart_seconds
        if self._channel is None and is_due:
            self._launch()
        self._pass_on()

    def ended(self, pid: int) -> bool:
        """Note that *pid* has ended and was reaped; return whether it was the sender."""
        if self.pid is None or pid != self.pid:
            return False
        self._hear()
        logger.error("the process that sends alerts (pid %d) ended; it is started again", pid)
        self.pid = None
        self._hang_up()
        return True

    def statistics(self) -> AlertStatistics:
        """Return what became of the alerts so far."""
        return AlertStatistics(
            made=self._made,
            held_back=self._held_back,
            delivered=self._delivered,
            lost=self._lost,
            waiting=len(self._outbox),
            restarts=max(self._launches - 1, 0),
        )

    def close(self, within_seconds: float) -> None:
        """Let the sender deliver what waits, *within_seconds*, and end it. Waits no longer."""
        if self._is_closed:
            return
        self._is_closed = True
        deadline = self._clock() + within_seconds
        self._pass_on()
        if self._say(Finish(within_seconds)) and self._channel is not None:
            poll = select.poll()
            poll.register(self._channel, select.POLLIN)
            while self._hear() and (left := deadline - self._clock()) > 0:
                poll.poll(left * 1000)
        self._end()
        for alert in self._outbox:
            self._lose(alert, "it could not be sent before the end")
        for alert in self._limit.held():
            # No loss: people were told of one of its kind, and would have been of how many more.
            logger.info("an alert was held back until the end; %s: %s", alert.event, alert.text)

    # The sender.

    def _launch(self) -> None:
        self._launched_seconds = self._clock()
        try:
            ours, theirs = SENDERS.pair()
        except OSError as error:
            logger.error("the process that sends alerts cannot be started: %s", error)
            return
        kept = self._kept | {theirs.fileno()}
        try:
            self.pid = fork_into(
                lambda: sender_main(theirs, self._webhook, self._server, self._patience), kept
            )
        except OSError as error:
            logger.error("the process that sends alerts cannot be started: %s", error)
            ours.close()
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._channel = ours
        self._launches += 1

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        self._given.clear()

    def _end(self) -> None:
        self._hang_up()
        if self.pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.pid = None

    # Alerts.

    def _enqueue(self, alert: Alert) -> None:
        dropped = self._outbox.add(alert)
        if dropped is not None:
            self._lose(dropped, "too many others wait")

    def _forget_old(self, now_seconds: float) -> None:
        """Drop what no sender could take, or told of, in all the time that there was."""
        patience = self._patience
        longest_seconds = patience.give_up_seconds + 2 * patience.timeout_seconds
        for alert in self._outbox.older_than(now_seconds - longest_seconds):
            self._lose(alert, "nobody could send it")

    def _lose(self, alert: Alert, why: str) -> None:
        """Give *alert* up, and log it with its text: there it is told at least."""
        logger.error("an alert is lost, %s; %s: %s", why, alert.event, alert.text)
        self._outbox.settle(alert.id)
        self._given.discard(alert.id)
        self._lost += 1

    def _pass_on(self) -> None:
        """Give the sender what it does not have; what it cannot take now is kept."""
        for alert in self._outbox:
            if alert.id in self._given:
                continue
            if not self._say(alert):
                break
            self._given.add(alert.id)
            self._was_full = False

    def _say(self, message: ToSender) -> bool:
        if self._channel is None:
            return False
        try:
            sent = self._channel.send(message)
        except OSError:
            # The kernel has no memory for it now.
            sent = False
        if not sent and not self._was_full:
            self._was_full = True
            logger.warning("the process that sends alerts takes none now; they are kept")
        return sent

    def _hear(self) -> bool:
        """Take what the sender has said; return whether it is still there."""
        if self._channel is None:
            return False
        try:
            for message in self._channel.messages():
                self._given.discard(message.id)
                if not self._outbox.settle(message.id):
                    continue  # it had to go for others, and counts as lost
                if message.delivered:
                    self._delivered += 1
                else:
                    self._lost += 1
        except EOFError:
            return False
        return True
