"""Whether to try for a connection: with a clock of the test's own."""

from __future__ import annotations

import ast
import logging

import pytest
from tests.support.clock import Clock

from tonnage.breaker import QUIET_SECONDS
from tonnage.db.pooling.away import (
    FORGOTTEN_SECONDS,
    MOST_BACKOFF_SECONDS,
    STALE_SECONDS,
    WELCOME_SECONDS,
    Door,
    busy,
    is_away,
    is_full,
    lost,
)
from tonnage.errors import DatabaseAwayError, PoolBusyError, RequestRefusedError


@pytest.fixture
def clock() -> Clock:
    """Return a clock of the test's own."""
    return Clock()


@pytest.fixture
def door(clock: Clock) -> Door:
    """Return a door with that clock."""
    return Door("shop", "postgresql://app:***@db/shop", clock)


def test_everybody_may_try_while_nothing_is_known_to_be_wrong(door: Door) -> None:
    """Everybody may try while nothing is known to be wrong."""
    for _ in range(3):
        door.check()
    door.came()
    door.check()
    assert not door.is_away


def test_one_tries_and_the_others_hear_at_once(door: Door, clock: Clock) -> None:
    """One tries and the others hear at once."""
    door.failed(OSError("refused"))
    with pytest.raises(DatabaseAwayError, match="shop does not answer"):
        door.check()
    clock.seconds += MOST_BACKOFF_SECONDS
    door.check()
    with pytest.raises(DatabaseAwayError):
        door.check()
    door.came()
    door.check()
    door.check()


def test_whoever_comes_long_after_the_last_failure_is_not_refused_for_it(
    door: Door, clock: Clock
) -> None:
    """Nobody has asked meanwhile: all who come at once may find out that it is back."""
    door.failed(OSError("refused"))
    clock.seconds += STALE_SECONDS + 0.1
    for _ in range(5):
        door.check()
    clock.seconds += WELCOME_SECONDS
    with pytest.raises(DatabaseAwayError):
        door.check()


def test_the_first_who_fails_ends_the_welcome(door: Door, clock: Clock) -> None:
    """It is away still: one tries, and the others hear at once."""
    door.failed(OSError("refused"))
    clock.seconds += STALE_SECONDS + 0.1
    door.check()
    door.check()
    door.failed(OSError("refused"))
    with pytest.raises(DatabaseAwayError):
        door.check()
    clock.seconds += MOST_BACKOFF_SECONDS
    door.check()
    with pytest.raises(DatabaseAwayError):
        door.check()


def test_an_attempt_that_is_cancelled_lets_another_try(door: Door, clock: Clock) -> None:
    """An attempt that is cancelled lets another try."""
    door.failed(OSError("refused"))
    clock.seconds += MOST_BACKOFF_SECONDS
    door.check()
    door.gave_up()
    door.check()


def test_an_attempt_that_says_nothing_is_forgotten(door: Door, clock: Clock) -> None:
    """An attempt that says nothing is forgotten."""
    door.failed(OSError("refused"))
    clock.seconds += MOST_BACKOFF_SECONDS
    door.check()
    clock.seconds += FORGOTTEN_SECONDS + 1
    door.check()


def test_waits_longer_after_each_failure_and_not_long(door: Door, clock: Clock) -> None:
    """Waits longer after each failure and not long."""
    for _ in range(100):
        door.failed(OSError("refused"))
    clock.seconds += MOST_BACKOFF_SECONDS
    door.check()


def test_tells_of_an_outage_once_and_of_its_end(
    door: Door, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Tells of an outage once and of its end."""
    with caplog.at_level(logging.WARNING, "tonnage.db"):
        door.came()
        for _ in range(5):
            door.failed(ConnectionRefusedError("refused\nand more"))
        door.came()
        clock.seconds += QUIET_SECONDS / 2
        door.failed(OSError("again"))
        door.came()
    assert caplog.messages == [
        "database connection failed: shop (postgresql://app:***@db/shop):"
        " ConnectionRefusedError: refused",
        "database is back: shop (postgresql://app:***@db/shop)",
    ]


class OperationalError(Exception):
    """As drivers call theirs."""


class ConfigurationError(OperationalError, ValueError):
    """As asyncpg has one."""


class TargetServerAttributeNotMatched(Exception):  # noqa: N818  (asyncpg's)
    """As asyncpg has one."""


def _with_state(state: str) -> Exception:
    error = OperationalError("no")
    error.sqlstate = state  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (OperationalError("could not connect"), True),
        (_with_state("57P03"), True),  # it is starting
        (_with_state("53300"), True),  # too many connections
        (_with_state("08006"), True),
        (_with_state("28P01"), False),  # the password
        (_with_state("3D000"), False),  # no such database
        (_with_state("57014"), False),  # a statement was cancelled
        (ValueError("no"), False),
        (FileNotFoundError(2, "No such file or directory"), True),  # a socket
        (FileNotFoundError(2, "No such file or directory", "/root.crt"), False),
        (ConfigurationError("sslmode is one of"), False),
        (TargetServerAttributeNotMatched("none is"), True),  # until another takes over
    ],
)
def test_tells_an_outage_from_what_stays_wrong(error: Exception, *, expected: bool) -> None:
    """Tells an outage from what stays wrong."""
    assert is_away(error, "postgresql") is expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('invalid sslmode value: "bogus"', False),
        ('failed: FATAL:  role "nobody" does not exist', False),
        ('failed: FATAL:  password authentication failed for user "a"', False),
        ("failed: FATAL:  unrecognized configuration parameter", False),
        ("failed: FATAL:  no pg_hba.conf entry for host", False),
        ("(1045, \"Access denied for user 'a'@'b'\")", False),
        ('at "db.invalid" failed: Connection refused', True),
        ("failed to resolve host 'does not exist': no", True),
        ("failed: FATAL:  the database system is starting up", True),
        ("failed: FATAL:  sorry, too many clients already", True),
        ("consuming input failed: server closed the connection unexpectedly", True),
    ],
)
def test_where_there_is_no_code_words_are_read(said: str, *, expected: bool) -> None:
    """Not those in quotes, which are names."""
    error = OperationalError(said)
    if said.startswith("("):
        error = OperationalError(*ast.literal_eval(said))
    assert is_away(error, "postgresql") is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError("failed: FATAL:  sorry, too many clients already"), True),
        (OperationalError("FATAL:  remaining connection slots are reserved for roles"), True),
        (OperationalError(1040, "Too many connections"), True),
        (OperationalError("failed: Connection refused"), False),
    ],
)
def test_tells_a_full_server(error: Exception, *, expected: bool) -> None:
    """In whatever words."""
    assert is_full(error) is expected


def test_a_full_server_is_what_is_said(door: Door) -> None:
    """And not that it does not answer."""
    door.failed(_with_state("53300"))
    with pytest.raises(DatabaseAwayError, match="too many connections"):
        door.check()
    door.failed(OSError("refused"))
    with pytest.raises(DatabaseAwayError, match="does not answer"):
        door.check()


def test_whoever_does_not_try_hears_what_the_driver_said(door: Door) -> None:
    """As the cause; as text, since the error itself would hold the memory of its request."""
    door.failed(ConnectionRefusedError("refused"))
    with pytest.raises(DatabaseAwayError) as caught:
        door.check()
    assert str(caught.value.__cause__) == "ConnectionRefusedError: refused"
    assert getattr(caught.value.__cause__, "__traceback__", "none at all") is None


def test_a_file_is_never_away() -> None:
    """A file is never away."""
    assert not is_away(OperationalError("unable to open database file"), "sqlite")


def test_refusals_are_answered_with_503_and_say_what_to_do() -> None:
    """Refusals are answered with 503 and say what to do."""
    refusals: list[RequestRefusedError] = [
        busy("shop", 5, 12, 20.0),
        busy("shop", 5, 500, None),
        lost("shop"),
    ]
    for each in refusals:
        assert each.problem.status == 503
        assert dict(each.problem.headers) == {b"retry-after": b"1"}
    assert isinstance(refusals[0], PoolBusyError)
    assert str(refusals[0]) == (
        "all 5 connections of shop are in use, 12 wait, and none came free in 20 s: hold"
        " connections for less time, or raise connection_limit in its URL"
    )
    assert "500 wait, and too many wait for one" in str(refusals[1])
