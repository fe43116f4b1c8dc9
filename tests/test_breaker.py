"""Whether to ask another server at all."""

from __future__ import annotations

import pytest

from tonnage.breaker import QUIET_SECONDS, STEADY_SECONDS, Breaker, State
from tonnage.breaker import backoff_seconds as backoff


@pytest.mark.parametrize(
    ("retries", "seconds"), [(0, 0), (1, 0.05), (9, 0.45), (10, 0.5), (99, 0.5)]
)
def test_the_pause_grows_to_half_a_second(retries: int, seconds: float) -> None:
    """The pause grows to half a second."""
    assert backoff(retries) == pytest.approx(seconds)


def test_an_outage_is_told_once_and_its_end_once() -> None:
    """An outage is told once and its end once."""
    breaker = Breaker()
    assert not breaker.come(0)
    assert [breaker.lose(1), breaker.lose(1.1), breaker.lose(1.2)] == [True, False, False]
    assert breaker.state is State.AWAY
    assert [breaker.come(2), breaker.come(3)] == [True, False]
    assert (breaker.failures, breaker.reconnects) == (3, 2)


def test_one_that_comes_and_goes_does_not_fill_the_log() -> None:
    """One that comes and goes does not fill the log."""
    breaker = Breaker()
    assert breaker.lose(0)
    assert breaker.come(1)
    assert not breaker.lose(2)
    assert not breaker.come(3)
    assert breaker.lose(QUIET_SECONDS)


def test_only_a_connection_that_lasted_begins_the_pauses_anew() -> None:
    """Only a connection that lasted begins the pauses anew."""
    breaker = Breaker()
    for second in (1, 2, 3):
        breaker.come(second)
        breaker.lose(second + 0.1)
    assert breaker.retries == 3
    breaker.come(4)
    breaker.lose(4 + STEADY_SECONDS)
    assert breaker.retries == 1
