"""Rates, and how much of one a client has left: the generic cell rate algorithm, purely.

A client's whole history is one number: its theoretical arrival time (TAT), at which all that it
has used has grown back. A TAT in the past says nothing, so nobody need remember it.

The formula is the "virtual scheduling" form of ITU-T Recommendation I.371 (and ATM Forum
TM 4.1, section 4.4.2), with increment T and limit τ = (burst - 1) × T:

- a cell that arrives at t conforms if TAT - τ <= t; then TAT becomes max(TAT, t) + T;
- one that does not conform leaves the TAT as it is.

Written with what is left instead: left = burst × T - max(TAT - t, 0) - T, conforming if left >= 0.
That one number, in nanoseconds, answers everything: ``left // T`` requests may still come at once,
``burst × T - left`` is the time until all have grown back, and a negative one is the time to wait.

In any stretch of the period, at most ``count + burst`` requests pass; from a client that has been
quiet, *burst* at once. Where the TATs are kept is for :mod:`tonnage.rates.table`; whose they
are, for :mod:`tonnage.web.path.ratelimit`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tonnage.errors import ConfigError

_NANOSECONDS = 1_000_000_000
# A year: beyond it no process lives to see the limit, and a TAT stays far below 2**63 ns.
_LONGEST_SECONDS = 366 * 86_400.0

WRITE: Final = "write for example 100/15m, 20/1h, or 100 per 15 minutes"

_RATE = re.compile(
    r"\s*(?P<count>\d+)\s*(?:/|per\b)\s*(?P<number>\d+(?:\.\d+)?)?\s*(?P<unit>[a-z]+)?"
    r"(?:\s+burst\s+(?P<burst>\d+))?\s*",
    re.IGNORECASE,
)
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
_SHOWN_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"))


class Decision(NamedTuple):
    """What a client may do, in whole requests and whole seconds, as headers have them."""

    allowed: bool
    #: Requests that would still be allowed at this instant.
    remaining: int
    #: Until the refused request would be allowed; 0 if it was.
    retry_after_seconds: int


class Rate:
    """So many requests in so long, of which *burst* may come at once (by default: all).

    Args:
        count: requests allowed in each period, in the long run.
        period_seconds: how long a period is, up to 366 days.
        burst: how many may come at once, at most *count*.

    Raises:
        ConfigError: a figure makes no sense.
    """

    __slots__ = ("burst", "count", "full_ns", "interval_ns", "period_seconds")

    def __init__(self, count: int, period_seconds: float, *, burst: int | None = None) -> None:
        burst = count if burst is None else burst
        if type(count) is not int or type(burst) is not int:
            raise ConfigError(f"{count!r} requests, a burst of {burst!r}: write whole numbers")
        if not (count >= 1 and 0 < period_seconds <= _LONGEST_SECONDS):
            raise ConfigError(
                f"{count} requests in {period_seconds:g} s is not a rate: {WRITE}, up to a year"
            )
        if not 1 <= burst <= count:
            raise ConfigError(
                f"a burst of {burst} makes no sense with a rate of {count}:"
                f" it is how many of the {count} may come at once"
            )
        self.count: Final = count
        self.period_seconds: Final = period_seconds
        self.burst: Final = burst
        #: T: what one request costs.
        self.interval_ns: Final = int(period_seconds * _NANOSECONDS) // count
        #: burst × T: how far ahead of now a TAT can be.
        self.full_ns: Final = self.interval_ns * burst
        if not self.interval_ns:
            raise ConfigError(f"{count} requests in {period_seconds:g} s are too many to count")

    def left_ns(self, tat_ns: int, now_ns: int, cost: int = 1) -> int:
        """Return what is left after a request of *cost* units; below 0, it is not allowed.

        Where it is allowed, the new TAT is ``now_ns + full_ns - left``. Where not, ``-left`` is how
        long the same request has to wait. A cost above the burst is never allowed.
        """
        used_ns = tat_ns - now_ns
        return self.full_ns - self.interval_ns * cost - (used_ns if used_ns > 0 else 0)

    def decision(self, left_ns: int, cost: int = 1) -> Decision:
        """Return *left_ns*, of a request of *cost* units, in the words of headers."""
        if left_ns >= 0:
            return Decision(True, left_ns // self.interval_ns, 0)
        before_ns = left_ns + self.interval_ns * cost
        remaining = max(before_ns, 0) // self.interval_ns
        return Decision(False, remaining, max(_up(-left_ns), 1))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rate) and self._figures() == other._figures()

    def __hash__(self) -> int:
        return hash(self._figures())

    def __str__(self) -> str:
        burst = "" if self.burst == self.count else f" burst {self.burst}"
        return f"{self.count}/{_format_period(self.period_seconds)}{burst}"

    def __repr__(self) -> str:
        return f"<Rate {self}>"

    def _figures(self) -> tuple[int, float, int]:
        return self.count, self.period_seconds, self.burst


def parse_rate(text: str | Rate) -> Rate:
    """Return the rate that *text* means: ``100/15m``, ``20 per hour``, ``100/15m burst 10``.

    Raises:
        ConfigError: if it is not a rate.
    """
    if isinstance(text, Rate):
        return text
    match = _RATE.fullmatch(str(text))
    if not match or not (match["number"] or match["unit"]):
        raise ConfigError(f"{text!r} is not a rate: {WRITE}")
    # A bare number is seconds, as it is for every other duration here.
    unit = _UNITS.get((match["unit"] or "s").lower())
    if unit is None:
        raise ConfigError(f"{text!r} has no unit of time that is known: {WRITE}")
    burst = int(match["burst"]) if match["burst"] else None
    return Rate(int(match["count"]), float(match["number"] or 1) * unit, burst=burst)


def _up(nanoseconds: int) -> int:
    """Return whole seconds, rounded up: who comes then does not come too early."""
    return -(-nanoseconds // _NANOSECONDS)


def _format_period(seconds: float) -> str:
    for unit, name in _SHOWN_UNITS:
        if seconds % unit == 0:
            return f"{seconds / unit:g}{name}"
    return f"{seconds:g}s"
