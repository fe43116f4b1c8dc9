"""What the log says of connections, and where they are looked after."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from tests.support.clock import Clock
from tests.support.waiting import await_true

from tonnage.db.engines.asyncpool import InGreenlets
from tonnage.db.pooling.upkeep import LOOK_SECONDS, ConnectionLog, InThreads, look_seconds


def test_a_storm_of_connections_is_a_line_a_second_of_each_kind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A storm of connections is a line a second of each kind."""
    clock = Clock(0.0)
    log = ConnectionLog("shop", "postgresql://app:***@db/shop", clock)
    with caplog.at_level(logging.INFO, "tonnage.db"):
        for number in range(1000):
            log.opened(number + 1)
        for number in range(999):
            log.closed(999 - number)
        clock.seconds = 1.0
        log.closed(0)
        clock.seconds = 5.0
        log.opened(1)
    what = "shop (postgresql://app:***@db/shop)"
    assert caplog.messages == [
        f"database connection opened: {what}: 1 open",
        f"database connection closed: {what}: 999 open",
        f"database connection closed: {what}: 0 open (998 more closed before)",
        f"database connection opened: {what}: 1 open (999 more opened before)",
    ]


def test_looks_more_often_where_connections_may_rest_for_less() -> None:
    """Looks more often where connections may rest for less."""
    assert look_seconds(300.0) == LOOK_SECONDS
    assert look_seconds(float("inf")) == LOOK_SECONDS
    assert look_seconds(2.0) == 0.5


async def test_runs_what_uses_connections_in_the_loop_and_tells_of_errors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Runs what uses connections in the loop and tells of errors."""
    home = InGreenlets()
    begun = asyncio.Event()

    def fail() -> None:
        begun.set()
        raise OSError("the server is gone")

    home.later(0.0, lambda: home.run(fail))
    await begun.wait()
    while not caplog.messages:  # noqa: ASYNC110 - of another task
        await asyncio.sleep(0.001)
    assert caplog.messages == ["connections could not be looked after"]


def test_no_memory_for_a_thread_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """It is looked again in any case; nobody has made a mistake."""

    def run() -> None:
        raise MemoryError("there is no room for another thread")

    InThreads().run(run)
    await_true(lambda: caplog.messages, "the error to be told")
    assert caplog.messages == [
        "connections could not be looked after: there is no memory "
        "(there is no room for another thread)"
    ]
    assert caplog.records[0].exc_info is None


def test_runs_what_uses_connections_beside_the_stores_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Runs what uses connections beside the stores thread."""
    home = InThreads()
    names: list[str] = []
    is_over = threading.Event()

    def run() -> None:
        names.append(threading.current_thread().name)
        is_over.set()
        raise OSError("the server is gone")

    home.later(0.0, lambda: home.run(run))
    assert is_over.wait(5)
    assert names != ["tonnage-stores"]
    await_true(lambda: caplog.messages, "the error to be told")
    assert caplog.messages == ["connections could not be looked after"]
