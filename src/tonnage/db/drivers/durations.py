"""Durations of a URL, of the options where it is silent, and as drivers want them. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tonnage.db.parameters import PoolOptions
    from tonnage.settings import DatabaseSettings

#: What stands for ever where a number is wanted: 24 days, since servers count milliseconds in 31
#: bits.
FOR_EVER_SECONDS: Final = (2**31 - 1) / 1000
#: How much longer than the server's own limit a driver waits for an answer, so that the server
#: says first what was wrong; of a short ``socket_timeout`` no more than this part.
ANSWER_SECONDS: Final = 5.0
_ANSWER_SHARE: Final = 0.2


def lifetime_seconds(pool: PoolOptions, settings: DatabaseSettings) -> float:
    """Return how long a connection is used; infinite is for ever."""
    if pool.lifetime_seconds is not None:
        return pool.lifetime_seconds
    return settings.connection_lifetime_seconds


def idle_seconds(pool: PoolOptions, settings: DatabaseSettings) -> float:
    """Return how long a connection is kept that nobody uses; infinite is for ever."""
    return settings.connection_idle_seconds if pool.idle_seconds is None else pool.idle_seconds


def statement_seconds(pool: PoolOptions, settings: DatabaseSettings) -> float:
    """Return how long the server lets a statement run: less than a driver waits for the answer."""
    given = math.inf if pool.socket_timeout_seconds is None else pool.socket_timeout_seconds
    return min(
        max(given - ANSWER_SECONDS, given * (1 - _ANSWER_SHARE)), settings.statement_timeout_seconds
    )


def answer_seconds(pool: PoolOptions, settings: DatabaseSettings) -> float:
    """Return how long to wait for an answer, of a server that may be gone without a word."""
    if pool.socket_timeout_seconds is not None:
        return finite(pool.socket_timeout_seconds)
    return finite(settings.statement_timeout_seconds + ANSWER_SECONDS)


def finite(seconds: float) -> float:
    """Return *seconds*, or what stands for ever."""
    return min(seconds, FOR_EVER_SECONDS)


def milliseconds(seconds: float) -> int:
    """Return *seconds* in whole milliseconds, 1 at least: 0 is no limit to most servers."""
    return max(1, round(finite(seconds) * 1000))
