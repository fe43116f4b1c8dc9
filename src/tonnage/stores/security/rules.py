"""From how many events on something is done about who causes them. Pure.

    Rule("login_failed", failures=5, within="15m", block="15m")     # a client is blocked
    Rule("login_failed", failures=20, within="1h", by="user")       # people are told

**What counts as too many.** So many at once, or in the long run more than that in each such time:
one is forgiven every ``within / failures`` (the generic cell rate algorithm,
:mod:`tonnage.rates.gcra`). Who fails twice as often as is forgiven is found within that time.

**Who is blocked.** Clients only. A rule by user tells people, and cannot block: otherwise anybody
could lock a user out by failing under his name.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from tonnage.checks import read, whole
from tonnage.errors import ConfigError
from tonnage.rates.gcra import Rate
from tonnage.units import parse_seconds

FAILED: Final = "_failed"
SUCCEEDED: Final = "_succeeded"
SUSPICIOUS: Final = "suspicious"

#: Rules of a monitor: each is looked at for its events, and has cells of its own.
MOST_RULES: Final = 16
MOST_FAILURES: Final = 1_000_000
LONGEST_SECONDS: Final = 366 * 86_400.0


class Rule:
    """So many events of a kind within a time, and what follows.

    Args:
        kind: the events' kind, such as ``login_failed``; ``suspicious`` for whatever was told by
            :meth:`~tonnage.stores.security.monitor.SecurityMonitor.suspicious`.
        failures: how many are too many.
        within: in how long, such as ``"15m"``.
        block: for how long the client is blocked then; None: people are told, and that is all.
        by: whether they are counted for each client, or for each user whoever tries.

    Raises:
        ConfigError: a figure makes no sense, or a rule by user is to block.
    """

    __slots__ = ("block_seconds", "by", "kind", "rate", "within_seconds")

    def __init__(
        self,
        kind: str,
        *,
        failures: int,
        within: str | float,
        block: str | float | None = None,
        by: Literal["client", "user"] = "client",
    ) -> None:
        if by not in ("client", "user"):
            raise ConfigError(f"by={by!r} makes no sense: write client or user")
        if by == "user" and block is not None:
            raise ConfigError(
                f"a rule for {kind!r} by user cannot block: anybody could lock a user out by"
                " failing under his name; leave block away, and people are told"
            )
        self.kind: Final = kind
        self.within_seconds: Final = _time("within", within)
        self.block_seconds: Final = 0.0 if block is None else _time("block", block)
        self.by: Final = by
        self.rate: Final = Rate(whole("failures", failures, 1, MOST_FAILURES), self.within_seconds)

    def __str__(self) -> str:
        return f"{self.kind} {self.rate} by {self.by}"

    def __repr__(self) -> str:
        block = f", blocks for {self.block_seconds:g} s" if self.block_seconds else ""
        return f"<Rule {self}{block}>"


def _time(name: str, given: str | float) -> float:
    seconds = read(name, given, parse_seconds)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ConfigError(f"{name}={given!r} makes no sense: write for example 15m, up to 366d")
    return seconds


def checked(rules: Any) -> tuple[Rule, ...]:
    """Return *rules* as a monitor is given them.

    Raises:
        ConfigError: that is no list of rules.
    """
    try:
        given = tuple(rules)
    except TypeError:
        raise ConfigError(f"rules={rules!r} is no list: write a list of SecurityRule") from None
    for each in given:
        if not isinstance(each, Rule):
            raise ConfigError(f"rules has {each!r} in it: write for example {_EXAMPLE}")
    return given


_EXAMPLE: Final = "SecurityRule('login_failed', failures=5, within='15m', block='15m')"


#: Where a monitor is given none.
DEFAULT_RULES: Final = (
    Rule("login_failed", failures=5, within="15m", block="15m"),
    Rule("login_failed", failures=20, within="1h", by="user"),
    Rule(SUSPICIOUS, failures=10, within="15m", block="15m"),
)
