"""Rates: how they are written, and what they let pass."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tonnage.errors import ConfigError
from tonnage.rates.gcra import Decision, Rate, parse_rate

SECOND = 1_000_000_000


class Client:
    """A client's TAT, and the time."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.now_ns = 1_000 * SECOND
        self.tat_ns = 0

    def asks(self, cost: int = 1) -> Decision:
        """Ask to be let in now."""
        left_ns = self.rate.left_ns(self.tat_ns, self.now_ns, cost)
        if left_ns >= 0:
            self.tat_ns = self.now_ns + self.rate.full_ns - left_ns
        return self.rate.decision(left_ns, cost)

    def waits(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * SECOND)


@pytest.mark.parametrize(
    ("text", "count", "seconds", "burst"),
    [
        ("100/15m", 100, 900, 100),
        ("20/1h", 20, 3600, 20),
        ("20/h", 20, 3600, 20),
        ("100 per 15 minutes", 100, 900, 100),
        ("5 per second", 5, 1, 5),
        ("10 / 1.5 s", 10, 1.5, 10),
        ("10/30", 10, 30, 10),
        ("1000/1d", 1000, 86_400, 1000),
        ("100/15m burst 10", 100, 900, 10),
        ("100/15M Burst 10", 100, 900, 10),
    ],
)
def test_rates_are_written_as_people_write_them(
    text: str, count: int, seconds: float, burst: int
) -> None:
    """Without a burst of its own, the whole rate may come at once."""
    rate = parse_rate(text)

    assert (rate.count, rate.period_seconds, rate.burst) == (count, seconds, burst)
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(
    "text",
    [
        *("", "100", "100/", "/15m", "100/15 fortnights", "-1/1m", "1.5/1m", "0/1m", "10/0s"),
        *("10/1m burst 0", "10/1m burst 11", "10/1m burst", "1/400d", "9999999999/1s"),
    ],
)
def test_what_is_no_rate_is_refused_with_a_message(text: str) -> None:
    """The message says how to write one, or what is wrong with the figure."""
    with pytest.raises(ConfigError, match=r"for example|burst|too many"):
        parse_rate(text)


@pytest.mark.parametrize(("count", "burst"), [(1.5, None), ("5", None), (True, None), (5, 2.0)])
def test_a_rate_of_what_cannot_be_counted_is_refused(count: Any, burst: Any) -> None:
    """Where it is made in code, before a first request is counted with it."""
    with pytest.raises(ConfigError, match="write whole numbers"):
        Rate(count, 60, burst=burst)


def test_a_quiet_client_may_use_all_at_once() -> None:
    """And then one after each interval."""
    client = Client(parse_rate("3/30s"))

    assert [client.asks() for _ in range(4)] == [
        Decision(True, 2, 0),
        Decision(True, 1, 0),
        Decision(True, 0, 0),
        Decision(False, 0, 10),
    ]
    client.waits(10)
    assert client.asks().allowed
    assert not client.asks().allowed


def test_who_waits_as_told_is_let_in() -> None:
    """Not a nanosecond earlier is needed, nor is a refused request held against anybody."""
    client = Client(parse_rate("7/60s"))
    while client.asks().allowed:
        client.waits(0.1)

    client.waits(client.asks().retry_after_seconds)

    assert client.asks().allowed


def test_a_burst_limits_what_comes_at_once() -> None:
    """The rate in the long run stays."""
    client = Client(parse_rate("60/1m burst 2"))

    assert [client.asks().allowed for _ in range(3)] == [True, True, False]
    allowed = 0
    for _ in range(600):
        client.waits(0.1)
        allowed += client.asks().allowed
    assert allowed == 60


def test_a_request_may_count_for_several() -> None:
    """And for more than the burst it is never let in."""
    client = Client(parse_rate("10/10s"))

    assert client.asks(cost=8) == Decision(True, 2, 0)
    assert client.asks(cost=4) == Decision(False, 2, 2)
    assert not Client(parse_rate("10/10s")).asks(cost=11).allowed


def test_no_period_sees_more_than_the_rate_and_a_burst() -> None:
    """However requests are spread, in any window of the period's length."""
    chance = random.Random(4)
    client = Client(parse_rate("20/10s burst 5"))
    passed: list[int] = []
    for _ in range(1_500):
        client.waits(chance.choice((0.0, 0.01, 0.3, 2.0)) * chance.random())
        if client.asks().allowed:
            passed.append(client.now_ns)

    in_windows = [sum(start <= each < start + 10 * SECOND for each in passed) for start in passed]
    assert 20 < max(in_windows) <= 25


def test_rates_with_the_same_figures_are_the_same() -> None:
    """Whatever they were written as."""
    assert parse_rate("60/1m") == parse_rate("60 per 60 s")
    assert hash(parse_rate("60/1m")) == hash(parse_rate("60 per 60 s"))
    assert parse_rate("60/1m") != parse_rate("60/1m burst 5")
    assert str(parse_rate("5/90s")) == "5/90s"
    assert str(parse_rate("5 per 2 hours")) == "5/2h"
