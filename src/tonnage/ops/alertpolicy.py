"""What is decided about alerts: which are sent, which wait, which are tried again, which are lost.

Covers the record of an alert, the rate limit of each kind, the bounded queue, and what an answer
of the webhook means. Everything here is pure: the time is handed in.

Does not cover how an alert is sent (:mod:`tonnage.ops.webhook`) nor by whom
(:mod:`tonnage.ops.alerts` in the supervisor, :mod:`tonnage.ops.alertsender` in its own process).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The kinds of alerts, as receivers see them under ``event``.
CRITICAL: Final = "memory.critical"
RESOLVED: Final = "memory.ok"
WORKER_DIED: Final = "worker.died"
PROGRAM_BRAKED: Final = "program.braked"
LEAK_FOUND: Final = "leak.found"
RECYCLING_GAVE_UP: Final = "recycling.gave_up"
SECURITY: Final = "security.alert"

# A kind of this sort ends what another began: it is sent if, and only if, the other one was.
_ENDS: Final = {RESOLVED: CRITICAL}

#: Alerts that wait to be delivered; of more, the oldest of the most frequent kind is dropped.
MOST_WAITING: Final = 64
#: Kinds whose pace is remembered; there are seven, so the bound is met by mistake only.
MOST_KINDS: Final = 32
#: What the text and the fields of an alert may take; longer texts are cut, further fields left out.
LONGEST_TEXT_CHARS: Final = 1000
LONGEST_FIELDS_BYTES: Final = 3072

_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that people are told.

    Attributes:
        id: Unique, so that a receiver can tell a repetition: an alert may be delivered twice.
        event: Its kind.
        level: The level of memory at that time, where it was said.
        text: One or two sentences.
        time: When, as RFC 3339 has it, in UTC.
        since_seconds: Since when it is to be delivered, on the monotonic clock, which all processes
            of a machine share; for one that was held back this is later than ``time``.
        more: How many others of this kind were held back since the last that was sent.
        fields: Figures and names that belong to it.
    """

    id: str
    event: str
    level: str | None
    text: str
    time: str
    since_seconds: float
    more: int
    fields: dict[str, Any]


def make_alert(
    kind: str, text: str, fields: Mapping[str, Any], *, id: str, now_seconds: float
) -> Alert:
    """Return an alert of now, cut to what can be sent; ``level`` is taken out of *fields*."""
    level = fields.get("level")
    return Alert(
        id=id,
        event=kind,
        level=None if level is None else str(level)[:16],
        text=text if len(text) <= LONGEST_TEXT_CHARS else text[:LONGEST_TEXT_CHARS] + " [...]",
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        since_seconds=now_seconds,
        more=0,
        fields=_fitting({str(key): value for key, value in fields.items() if key != "level"}),
    )


def _fitting(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of *fields* that fit, as what JSON can hold."""
    kept: dict[str, Any] = {}
    room = LONGEST_FIELDS_BYTES
    for key, value in fields.items():
        try:
            encoded = json.dumps(value, default=str, allow_nan=False)
        except (ValueError, TypeError, RecursionError):
            encoded = json.dumps(repr(value))
        cost = len(key) * 12 + len(encoded)  # escaped, a character is at most 12 bytes
        if cost <= room:
            room -= cost
            kept[key] = json.loads(encoded)
    return kept


@dataclass(slots=True)
class _Pace:
    """How alerts of one kind go out: when the last did, and what has been held back since."""

    sent_seconds: float
    held: Alert | None = None
    held_count: int = 0
    is_open: bool = False


class RateLimit:
    """At most one alert of a kind in *every_seconds*; what comes between is counted.

    Of those held back the newest is sent when its time has come, so that a state which lasts is
    told of even where it began too soon after the last one. The end of a state passes at once if
    its beginning was sent, and takes back a beginning that was not.
    """

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._paces: dict[str, _Pace] = {}

    def admit(self, alert: Alert, now_seconds: float) -> Alert | None:
        """Return *alert* as it is to be sent now; None if it is held back."""
        begun_by = _ENDS.get(alert.event)
        if begun_by is not None:
            return alert if self._end(begun_by) else None
        pace = self._paces.get(alert.event)
        if pace is None:
            pace = self._remember(alert.event)
        elif now_seconds - pace.sent_seconds < self._every_seconds:
            pace.held = alert
            pace.held_count += 1
            return None
        return self._send(pace, alert, pace.held_count, now_seconds)

    def due(self, now_seconds: float) -> list[Alert]:
        """Return the alerts that were held back and are to be sent now."""
        return [
            self._send(pace, pace.held, pace.held_count - 1, now_seconds)
            for pace in self._paces.values()
            if pace.held is not None and now_seconds - pace.sent_seconds >= self._every_seconds
        ]

    def held(self) -> list[Alert]:
        """Return the alerts that are held back: of each kind the newest."""
        return [pace.held for pace in self._paces.values() if pace.held is not None]

    def _send(self, pace: _Pace, alert: Alert, more: int, now_seconds: float) -> Alert:
        pace.sent_seconds, pace.held, pace.held_count, pace.is_open = now_seconds, None, 0, True
        return replace(alert, more=more, since_seconds=now_seconds)

    def _end(self, kind: str) -> bool:
        """Note that the state is over which *kind* tells of; return whether anybody was told."""
        pace = self._paces.get(kind)
        if pace is None:
            return False
        pace.held = None
        was_open, pace.is_open = pace.is_open, False
        return was_open

    def _remember(self, kind: str) -> _Pace:
        if len(self._paces) >= MOST_KINDS:
            del self._paces[next(iter(self._paces))]
        pace = self._paces[kind] = _Pace(0.0)
        return pace


class Outbox:
    """Alerts that have not been delivered yet, oldest first; at most :data:`MOST_WAITING`."""

    def __init__(self) -> None:
        self._alerts: dict[str, Alert] = {}

    def __len__(self) -> int:
        return len(self._alerts)

    def __iter__(self) -> Iterator[Alert]:
        return iter(list(self._alerts.values()))

    def add(self, alert: Alert) -> Alert | None:
        """Take *alert* in; return the one that had to go for it: the oldest of the commonest kind.

        So a flood of one kind does not push out the single alert of another.
        """
        dropped = None
        if alert.id not in self._alerts and len(self._alerts) >= MOST_WAITING:
            kinds = Counter(each.event for each in self._alerts.values())
            commonest = kinds.most_common(1)[0][0]
            dropped = next(each for each in self if each.event == commonest)
            del self._alerts[dropped.id]
        self._alerts[alert.id] = alert
        return dropped

    def first(self) -> Alert | None:
        """Return the oldest."""
        return next(iter(self._alerts.values()), None)

    def settle(self, id: str) -> bool:
        """Forget an alert that was delivered or given up; return whether it was there."""
        return self._alerts.pop(id, None) is not None

    def older_than(self, since_seconds: float) -> list[Alert]:
        """Return the alerts that were to be delivered before *since_seconds*."""
        return [alert for alert in self if alert.since_seconds < since_seconds]


class Verdict(Enum):
    """What an answer of the webhook means for the alert."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REFUSED = "refused"


def judge(status: int) -> Verdict:
    """Return what the HTTP *status* means: 408, 429 and 5xx pass, other refusals do not.

    A redirect is a refusal: followed, it could carry the alert to wherever it says.
    """
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status in (408, 429) or status >= 500:
        return Verdict.RETRY
    return Verdict.REFUSED


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what, in seconds.

    Attributes:
        timeout_seconds: One delivery, from the name's look-up to the answer's head.
        first_pause_seconds: Before the second try; doubled after each further one,
        longest_pause_seconds: up to this.
        give_up_seconds: An alert that could not be delivered for so long is lost.
        restart_seconds: The sender is started at most this often.
    """

    timeout_seconds: float = 10.0
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    give_up_seconds: float = 600.0
    restart_seconds: float = 30.0


def pause_seconds(failures: int, patience: Patience, jitter: float) -> float:
    """Return how long to wait after so many *failures* in a row (1 or more).

    Args:
        failures: how many.
        patience: the first and the longest pause.
        jitter: from 0 to 1; it takes away up to half, so that many servers which failed at the
            same moment do not come back at the same moment.
    """
    doubled = patience.first_pause_seconds * 2.0 ** min(failures - 1, 30)
    return min(doubled, patience.longest_pause_seconds) * (1.0 - jitter / 2)


def retry_after_seconds(value: str, now: datetime) -> float:
    """Return what a Retry-After header asks for: seconds, or a date; 0 if it makes no sense."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    # Not with email.utils or time.strptime, which cost memory for this one form:
    # Sun, 06 Nov 1994 08:49:37 GMT (RFC 9110, 5.6.7).
    parts = text.replace(":", " ").split()
    try:
        _, day, month, year, hour, minute, second, _ = parts
        number = _MONTHS.index(month.lower()) + 1
        then = datetime(
            int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=UTC
        )
    except (ValueError, OverflowError):
        return 0.0
    return max((then - now).total_seconds(), 0.0)
