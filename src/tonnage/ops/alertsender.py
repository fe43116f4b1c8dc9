"""The process that sends alerts: takes them from the supervisor, delivers them in order.

A process of its own, so that a receiver that hangs holds nobody up, and so that what sending needs
(sockets, TLS, certificates) is in memory before memory is short. It ends when the supervisor does,
tells it what became of each alert, and logs what is lost.

There is one receiver, so there is one pause: while it fails, the first alert is tried again and the
others wait behind it, none overtaking. The end of a state cannot arrive before its beginning.

:class:`~tonnage.ops.alerts.Alerter` is the supervisor's handle.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tonnage.host.channel import Channel, Dialogue
from tonnage.host.prctl import end_with_parent, name_process
from tonnage.ops.alertpolicy import (
    Alert,
    Outbox,
    Patience,
    Verdict,
    judge,
    pause_seconds,
    retry_after_seconds,
)
from tonnage.ops.webhook import Poster, Reply, Webhook

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tonnage.alerts")


@dataclass(frozen=True, slots=True)
class Finish:
    """Send what waits, and end within so many seconds."""

    within_seconds: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the alert *id*: it is delivered, or lost."""

    id: str
    delivered: bool


ToSender = Alert | Finish
FromSender = Settled

#: Between the supervisor and the process that sends alerts.
SENDERS: Final[Dialogue[ToSender, FromSender]] = Dialogue(ToSender, FromSender)

SenderChannel = Channel[FromSender, ToSender]


def sender_main(channel: SenderChannel, webhook: Webhook, server: str, patience: Patience) -> int:
    """Send what comes through *channel* until it is closed or says to finish; return 0."""
    name_process("tonnage-alerts")
    signal.set_wakeup_fd(-1)
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # These reach the whole process group; when to end is for the supervisor to say.
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    end_with_parent(signal.SIGKILL)
    # What was inherited stays shared with the supervisor: the collector would write to it.
    gc.freeze()
    poster = Poster(webhook)
    _look_up(webhook)
    # Nothing is given back here, as other processes do after their start: it would be missed when
    # memory is short, which is when the first alert comes.
    channel.setblocking(False)
    sender = Sender(
        channel,
        lambda alert, seconds: poster.post(webhook.body(alert, server), seconds),
        where=str(webhook),
        patience=patience,
    )
    sender.run()
    return 0


def _look_up(webhook: Webhook) -> None:
    """Resolve the name once: it loads the resolver, and finds a mistake before it matters."""
    try:
        webhook.look_up()
    except OSError as error:
        logger.warning("alerts: the host of %s cannot be found now: %s", webhook, _why(error))


class Sender:
    """The loop: listen → deliver the first → wait. What posts is handed in."""

    def __init__(
        self,
        channel: SenderChannel,
        post: Callable[[Alert, float], Reply],
        *,
        where: str,
        patience: Patience,
    ) -> None:
        self._channel = channel
        self._post = post
        self._where = where
        self._patience = patience
        self._outbox = Outbox()
        self._failures = 0
        self._not_before = 0.0
        self._stop_at = float("inf")

    def run(self) -> None:
        """Send until told to stop, and until nothing is left or the time for that is up."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        while self._listen():
            now = time.monotonic()
            if now >= self._stop_at or (not len(self._outbox) and self._stop_at < float("inf")):
                return
            alert = self._outbox.first()
            if alert is not None and now >= self._not_before:
                self._try(alert, now)
                continue
            poll.poll(self._pause_milliseconds(now))

    def _listen(self) -> bool:
        """Take what the supervisor has said; return whether it is still there."""
        try:
            for message in self._channel.messages():
                if isinstance(message, Finish):
                    self._stop_at = time.monotonic() + message.within_seconds
                else:
                    dropped = self._outbox.add(message)
                    if dropped is not None:
                        self._lose(dropped, "too many others wait")
        except EOFError:
            return False
        return True

    def _pause_milliseconds(self, now: float) -> float | None:
        wanted = self._not_before if len(self._outbox) else float("inf")
        until = min(wanted, self._stop_at)
        return None if until == float("inf") else max(until - now, 0.0) * 1000 + 1

    def _try(self, alert: Alert, now: float) -> None:
        timeout = min(self._patience.timeout_seconds, max(self._stop_at - now, 0.1))
        asked_seconds = 0.0
        try:
            reply = self._post(alert, timeout)
        except OSError as error:
            verdict, why = Verdict.RETRY, _why(error)
        else:
            verdict, why = judge(reply.status), f"it answered {reply.status}"
            asked_seconds = retry_after_seconds(reply.retry_after, datetime.now(UTC))
        if verdict is Verdict.RETRY:
            self._retry(alert, why, asked_seconds)
            return
        self._failures = 0
        if verdict is Verdict.DELIVERED:
            self._settle(alert, delivered=True)
        else:
            self._lose(alert, why)

    def _retry(self, alert: Alert, why: str, asked_seconds: float) -> None:
        now, patience = time.monotonic(), self._patience
        lost_at = alert.since_seconds + patience.give_up_seconds
        self._failures += 1
        jitter = os.urandom(1)[0] / 256
        pause = max(pause_seconds(self._failures, patience, jitter), asked_seconds)
        self._not_before = now + min(pause, patience.give_up_seconds)
        if self._not_before >= lost_at:
            self._lose(alert, f"{why}, for {now - alert.since_seconds:.0f} s")
        elif self._failures == 1:
            logger.warning(
                "an alert (%s) could not be sent to %s: %s; it is tried again for %.0f s",
                alert.event,
                self._where,
                why,
                lost_at - now,
            )

    def _lose(self, alert: Alert, why: str) -> None:
        logger.error(
            "an alert is lost, it could not be sent to %s: %s; %s: %s",
            self._where,
            why,
            alert.event,
            alert.text,
        )
        self._settle(alert, delivered=False)

    def _settle(self, alert: Alert, *, delivered: bool) -> None:
        self._outbox.settle(alert.id)
        # Should the kernel have no memory for it, the supervisor forgets the alert by its age.
        with suppress(OSError):
            self._channel.send(Settled(alert.id, delivered))


def _why(error: OSError) -> str:
    """Return what went wrong, in a few words."""
    return error.strerror or str(error) or type(error).__name__
