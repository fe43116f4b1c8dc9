"""What a user writes to limit rates: a rate, for whom it is, and several of them at once.

Read into :class:`Limit` records, with no work done for a request here: that is for
:mod:`tonnage.web.path.ratelimit`.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Final

from tonnage.errors import ConfigError
from tonnage.rates.gcra import WRITE, Rate, parse_rate

#: Returns who a request counts for; None: the limit is not for this request.
KeyOf = Callable[[MutableMapping[str, Any]], str | None]

BY_ADDRESS: Final = "ip"
_HEADER = "header"
BY_HEADER: Final = f"{_HEADER}:"


class Limit:
    """A rate, and for whom it is.

    Args:
        rate: such as ``"100/15m"``.
        key: ``"ip"``: each address. ``"header:NAME"``: each value of that header; where it is
            missing, each address, so that leaving it out gains nothing. Or a function of the
            scope that returns a text; where it returns None, this limit does not apply.
        burst: how many requests may come at once, if not all of the rate.
        name: what clients are told as the limit's name, instead of that of its rule. Limits of the
            same name, rate and key count together, also those of several routes.

    Raises:
        ConfigError: the rate or the key makes no sense.
    """

    __slots__ = ("key", "name", "rate")

    def __init__(
        self,
        rate: str | Rate,
        *,
        key: str | KeyOf = BY_ADDRESS,
        burst: int | None = None,
        name: str = "",
    ) -> None:
        parsed = parse_rate(rate)
        if burst is not None:
            parsed = Rate(parsed.count, parsed.period_seconds, burst=burst)
        self.rate: Final = parsed
        self.key: Final = key if callable(key) else _parse_key(key)
        self.name: Final = name

    def __str__(self) -> str:
        if self.key == BY_ADDRESS:
            return str(self.rate)
        by = self.key if isinstance(self.key, str) else getattr(self.key, "__name__", "function")
        return f"{self.rate} by {by}"

    def __repr__(self) -> str:
        return f"<Limit {self}>"


LimitsLike = str | Rate | Limit | Sequence[str | Rate | Limit]


def parse_limits(given: LimitsLike) -> tuple[Limit, ...]:
    """Return the limits that *given* means: one, or several in a list or with commas between.

    A text is a rate, and where not each address is meant, for whom it is:
    ``100/15m, 1000/1h burst 50 by header:x-api-key``.

    Raises:
        ConfigError: one of them makes no sense.
    """
    if isinstance(given, Limit):
        return (given,)
    if isinstance(given, Rate):
        return (Limit(given),)
    if isinstance(given, str):
        return tuple(_parse_limit(text) for text in given.split(","))
    if not isinstance(given, Sequence):
        raise ConfigError(f"{given!r} is not a rate: {WRITE}")
    return tuple(limit for each in given for limit in parse_limits(each))


def _parse_limit(text: str) -> Limit:
    rate, _, key = text.partition(" by ")
    return Limit(rate, key=key or BY_ADDRESS)


def _parse_key(text: str) -> str:
    kind, _, name = str(text).strip().lower().partition(":")
    if kind == BY_ADDRESS and not name:
        return BY_ADDRESS
    if kind != _HEADER or len(name.split()) != 1 or not name.isascii():
        raise ConfigError(
            f"{text!r} is not what a rate can be limited by: write ip, or for example"
            " header:x-api-key"
        )
    return BY_HEADER + name.strip()
