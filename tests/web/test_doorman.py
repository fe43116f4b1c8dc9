"""Wrong tokens are counted for each client, and told; a few are enough."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.web.world import http

from tonnage.stores.security.monitor import SecurityMonitor
from tonnage.web.doorman import ATTEMPTS, WITHIN_SECONDS, Doorman
from tonnage.web.respond import Scope

TOKEN = "opensesame"
SECOND = 1_000_000_000


pytestmark = pytest.mark.usefixtures("own_commons")


class Clock:
    """Time that a test lets go by."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000 * SECOND

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns


def asking(token: str | None = None, address: str = "203.0.113.7", **headers: str) -> Scope:
    """Return the scope of a request."""
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return {**http("/metrics", **headers), "client": (address, 4711)}


def guess(doorman: Doorman, times: int = ATTEMPTS, scope: Scope | None = None) -> None:
    """Show a wrong token."""
    for _ in range(times):
        doorman.blocks(scope or asking("guess"))


def test_after_a_few_wrong_tokens_none_opens() -> None:
    """Not even the right one; and for others it does."""
    doorman = Doorman(TOKEN)
    guess(doorman, ATTEMPTS - 1)
    assert not doorman.blocks(asking(TOKEN))

    guess(doorman, 1)

    assert doorman.blocks(asking(TOKEN))
    assert not doorman.blocks(asking(TOKEN, "203.0.113.8"))
    # Who shows none is let in, or not, by something else.
    assert not doorman.blocks(asking())


def test_time_lets_in_again() -> None:
    """One attempt at a time; all of them after the whole time."""
    clock = Clock()
    doorman = Doorman(TOKEN, clock=clock)
    guess(doorman, ATTEMPTS * 3)
    assert 0 < doorman.blocked_seconds(asking()) <= WITHIN_SECONDS / ATTEMPTS

    clock.now_ns += int(doorman.blocked_seconds(asking()) * SECOND) + SECOND
    assert not doorman.blocks(asking(TOKEN))
    guess(doorman, 1)
    assert doorman.blocks(asking(TOKEN))

    clock.now_ns += int(WITHIN_SECONDS * SECOND)
    guess(doorman, ATTEMPTS - 1)
    assert not doorman.blocks(asking(TOKEN))


def test_all_workers_count_together() -> None:
    """In shared memory, which the next worker finds."""
    guess(Doorman(TOKEN))

    assert Doorman(TOKEN).blocks(asking(TOKEN))


@pytest.mark.parametrize(
    "scope",
    [
        asking("eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"),
        asking("guess", "127.0.0.1"),
        asking(),
        asking(authorization="Basic YW5uOnB3"),
        asking(TOKEN),
    ],
    ids=["an application's JWT", "this machine", "none", "another scheme", "the right one"],
)
def test_what_is_no_guess_is_not_counted(scope: Scope, caplog: pytest.LogCaptureFixture) -> None:
    """An application's pages send their own token along, also where ours would be."""
    doorman = Doorman(TOKEN)
    guess(doorman, 50, scope)

    assert doorman.blocked_seconds(scope) == 0
    assert not caplog.records


def test_a_proxy_on_this_machine_is_not_this_machine() -> None:
    """What it forwards says so."""
    doorman = Doorman(TOKEN)
    scope = asking("guess", "127.0.0.1", x_forwarded_for="203.0.113.7")
    guess(doorman, ATTEMPTS, scope)

    assert doorman.blocked_seconds(scope) > 0


def test_people_are_told_without_the_guess(caplog: pytest.LogCaptureFixture) -> None:
    """Once a minute: by the log, and by the application's monitor where there is one."""
    monitor = SecurityMonitor()
    with caplog.at_level(logging.WARNING, "tonnage.security"):
        guess(Doorman(TOKEN), 3, asking("s3cret-gu3ss"))

    assert [record.getMessage() for record in caplog.records] == [
        "security: 203.0.113.7 has shown a wrong token at /metrics"
    ]
    event, *others = monitor.events()
    assert (event.kind, event.client, event.detail) == (
        *("operator_failed", "203.0.113.7"),
        "a wrong token at /metrics",
    )
    assert len(others) == 2
    assert "s3cret" not in repr([event, *others])


def test_wrong_cookies_are_told_of_a_few_times() -> None:
    """And block nothing: a page that was open when the token was changed sends them, too."""
    monitor, doorman = SecurityMonitor(), Doorman(TOKEN)
    for _ in range(ATTEMPTS * 3):
        doorman.forged(asking())

    assert [event.detail for event in monitor.events()] == ["a wrong cookie at /metrics"] * ATTEMPTS
    assert not doorman.blocks(asking(TOKEN))


def test_without_a_monitor_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """The log is all; and what steers terminals does not get there."""
    scope: dict[str, Any] = {**asking("guess"), "path": "/tonnage/\x1b[2J\n" + "a" * 500}
    with caplog.at_level(logging.WARNING, "tonnage.security"):
        guess(Doorman(TOKEN), 1, scope)

    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 200
    assert not SecurityMonitor().events()
