"""Two instances of a server with two workers each share a real Redis, and go on without it."""

from __future__ import annotations

import itertools
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from tests.support.redis import RedisServer
from tests.support.server import Running
from tests.support.waiting import await_true

pytestmark = pytest.mark.real


class Said(NamedTuple):
    """What a worker says: which making of the event it has, and how it stands with Redis."""

    making: str
    state: str
    threads_at_import: str


def ask(instance: Running, path: str) -> Said:
    """Ask for *path*; it has to be answered well within a second."""
    begun = time.monotonic()
    answer = instance.get(path)
    assert answer.status == 200
    assert time.monotonic() - begun < 1
    return Said(*answer.body.decode().split())


@pytest.fixture
def instances(absent: RedisServer) -> Iterator[list[Running]]:
    """Two instances that were started without Redis."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                Running(
                    "tests.stores.redis.app:app",
                    "--workers",
                    "2",
                    env={"REDIS_URL": absent.url},
                )
            )
            for _ in range(2)
        ]


def test_a_day_with_redis(instances: list[Running], absent: RedisServer) -> None:
    """Started without it, shared with it, killed, stopped, and back: every request is answered."""
    one, two = instances

    def makings(number: int) -> set[str]:
        """What the workers of both instances have for an event."""
        return {ask(each, f"/event/{number}").making for each in instances for _ in range(4)}

    def is_used() -> bool:
        return {ask(each, "/event/0").state for each in instances for _ in range(4)} == {
            "connected"
        }

    def is_shared() -> bool:
        # Who asks at the very same time may make it too.
        return len(makings(next(numbers))) == 1

    numbers = itertools.count(100)
    assert ask(one, "/event/1").threads_at_import == "1"
    assert ask(one, "/event/1").making != ask(two, "/event/1").making

    absent.start()
    await_true(is_used, "Redis is used")
    await_true(is_shared, "what one has made the others find")
    before = makings(2)
    ask(one, "/change/2")
    await_true(lambda: not makings(2) & before, "all four workers have a new one")

    absent.kill()
    for _ in range(8):
        ask(one, "/event/3")
        ask(two, "/change/3")
    absent.start()
    await_true(is_used, "Redis is used again")
    await_true(is_shared, "they share again")

    absent.stop()
    for _ in range(8):
        ask(one, "/change/4")
        ask(two, "/event/4")
    absent.go_on()
    await_true(is_used, "Redis is used again")
    before = makings(4)
    ask(two, "/change/4")
    await_true(lambda: not makings(4) & before, "all four workers have a new one")

    for instance in instances:
        # Two outages, by one line of each worker at most.
        assert 1 <= instance.log.count("Redis connection failed") <= 4
        assert instance.stop(signal.SIGTERM) == 0
        assert "Traceback" not in instance.log
        # The link that the application makes when it is imported leaves it fit to be forked.
        assert re.search(r"preload +imported once", instance.log)
        assert "opened a socket" not in instance.log
