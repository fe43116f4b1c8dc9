"""Instances that share a real Redis tell each other what to forget."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from tests.support.redis import RedisServer
from tests.support.waiting import await_true

from tonnage import Cache
from tonnage.stores.background import background
from tonnage.stores.redis.news import CHANNEL, News

pytestmark = pytest.mark.real

_CODE = """
import sys, time
from tonnage import Cache
from tonnage.stores.redis.link import link
cache = Cache("events", ttl="1h", redis=True)
other = Cache("others", ttl="1h", redis=True)
def load(key, value, *tags):
    return cache.get_or_make(key, lambda: value, tags=tags)
print("'ready'", flush=True)
for line in sys.stdin:
    answer = repr(eval(line))
    # What was only sent is there for the others, or given up.
    while link().statistics().waiting and not link().is_away:
        time.sleep(0.001)
    print(answer, flush=True)
"""


_RESIDENT_KB = "int(open('/proc/self/statm').read().split()[1]) * 4"


class Instance:
    """A process with caches that knows the others through Redis alone; a context manager."""

    def __init__(self, server: RedisServer) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE],
            env=os.environ | {"REDIS_URL": server.url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def __call__(self, expression: str) -> Any:
        """What *expression* comes to there."""
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return eval(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.wait(10) == 0
        self._process.stdout.close()


@pytest.fixture
def pair(server: RedisServer) -> Iterator[tuple[Instance, Instance]]:
    """Two instances that have both asked for something, and hear each other."""
    with Instance(server) as one, Instance(server) as two:
        for each in (one, two):
            each("load('first', 1), other.get_or_make('o', lambda: 7)")
        await_true(_heard_by(server, 2), "both listen")
        yield one, two


def _forgotten_by(instance: Instance, key: str) -> Callable[[], bool]:
    return lambda: instance(f"cache.get({key})") is None


def _heard_by(server: RedisServer, instances: int) -> Callable[[], bool]:
    def is_so() -> bool:
        return server.command("PUBSUB", "NUMSUB", CHANNEL).endswith(b":%d\r\n" % instances)

    return is_so


def test_what_one_makes_the_other_finds_and_what_one_forgets_the_other_forgets(
    pair: tuple[Instance, Instance],
) -> None:
    """What one makes the other finds; what one forgets the other forgets, in its memory too."""
    one, two = pair
    for number, forget in enumerate(["invalidate('event:0')", "delete(('event', 1))", "clear()"]):
        key, tag = f"('event', {number})", f"'event:{number}'"
        assert one(f"load({key}, 'old', {tag})") == "old"
        assert two(f"load({key}, 'other', {tag})") == "old"
        assert two(f"cache.get({key})") == "old"
        one(f"cache.{forget}")
        await_true(_forgotten_by(two, key), "the other has forgotten it")
        assert two(f"load({key}, 'new', {tag})") == "new"
        assert one(f"load({key}, 'newer', {tag})") != "old"
        assert two("other.get('o')") == 7


def test_what_may_have_been_missed_is_forgotten(
    pair: tuple[Instance, Instance], server: RedisServer
) -> None:
    """What may have been missed, while the connection was lost, is forgotten."""
    one, two = pair
    two("load('a', 'old', 't'), load('b', 1)")
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    await_true(lambda: two("cache.get('a')") is None, "all is forgotten")
    await_true(_heard_by(server, 2), "both listen again")
    two("load('a', 'old', 't')")
    one("cache.invalidate('t')")
    await_true(lambda: two("cache.get('a')") is None, "it hears again")


def test_after_redis_was_killed_they_hear_each_other_again(
    pair: tuple[Instance, Instance], server: RedisServer
) -> None:
    """After Redis was killed they go on by themselves, and hear each other when it is back."""
    one, two = pair
    server.kill()
    for each in pair:
        assert each("load('a', 'own', 't')") == "own"
        assert each("cache.get('a')") == "own"
    one("cache.invalidate('t')")
    assert one("load('a', 'new', 't')") == "new"
    server.start()
    await_true(_heard_by(server, 2), "both listen again")
    await_true(lambda: two("cache.get('a')") is None, "the other has forgotten it")
    numbers = itertools.count()

    def do_share() -> bool:
        number = next(numbers)
        made = two(f"load({number}, 'by two')")
        return bool(one(f"load({number}, 'by one')") == made)

    await_true(do_share, "they share again")


def test_a_flood_while_redis_is_away_takes_no_memory(server: RedisServer) -> None:
    """A flood while Redis is away takes no memory, and requests go on."""
    with Instance(server) as one:
        one("load('a', 1), [cache.invalidate(f'warm:{i}') for i in range(5000)] and None")
        server.stop()
        before_kb = one(_RESIDENT_KB)
        one("[cache.invalidate(f'event:{i}') for i in range(30_000)] and None")
        assert one("sum(load(i, 'own') == 'own' for i in range(1000))") == 1000
        assert one("link().is_away")
        assert one(_RESIDENT_KB) - before_kb < 4096
        server.go_on()
        await_true(lambda: not one("link().is_away"), "it is back")
        assert one("link().statistics().waiting") == 0


async def test_a_subscription_that_is_dead_is_made_anew(server: RedisServer) -> None:
    """A subscription that is dead is made anew, and what may have been missed is forgotten."""
    cache = Cache[int]("deaf", ttl=60)
    news = News(server.url, keep_alive_seconds=0.2)
    news.concern("deaf")
    await asyncio.to_thread(await_true, _heard_by(server, 1), "it listens")
    pings = server.calls("ping")
    cache.set("a", 1)
    await asyncio.to_thread(await_true, lambda: server.calls("ping") > pings + 2, "it is asked")
    assert cache.get("a") == 1
    before = server.connections()
    server.stop()
    await asyncio.to_thread(await_true, lambda: server.connections() > before, "another one")
    server.go_on()
    await asyncio.to_thread(await_true, lambda: cache.get("a") is None, "all is forgotten")
    await asyncio.to_thread(await_true, _heard_by(server, 1), "it listens again")
    await asyncio.wrap_future(background().start(news.aclose()))


async def test_that_caches_are_emptied_is_told_once_a_minute(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """That caches are emptied is told once a minute, however often the connection is lost."""
    caplog.set_level(logging.INFO, "tonnage.redis")
    cache = Cache[int]("deaf", ttl=60, redis=False)
    now_seconds = [0.0]
    news = News(server.url, clock=lambda: now_seconds[0])
    news.concern("deaf")
    for now_seconds[0] in (0.0, 1.0, 59.0, 60.0, 61.0):
        await asyncio.to_thread(await_true, _heard_by(server, 1), "it listens")
        cache.set("a", 1)
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.to_thread(await_true, lambda: "a" not in cache, "all is forgotten")
    assert caplog.text.count("caches are emptied") == 2
    await asyncio.wrap_future(background().start(news.aclose()))


async def test_who_may_not_listen_is_told_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Who may not listen is told once, and tries on."""
    server.command("ACL", "SETUSER", "app", "on", ">word", "+@all", "resetchannels", "~*")
    news = News(server.url.replace("unix://", "unix://app:word@"))
    await asyncio.to_thread(await_true, lambda: caplog.text, "it is told")
    await asyncio.sleep(0.3)
    assert caplog.text.count("does not let this process hear other instances") == 1
    server.command("ACL", "SETUSER", "app", "allchannels")
    await asyncio.to_thread(await_true, _heard_by(server, 1), "it listens")
    await asyncio.wrap_future(background().start(news.aclose()))


_RUBBISH = [
    "",
    "nonsense",
    "[]",
    "{}",
    "7",
    json.dumps([1, "x", "events", 3, ""]),
    json.dumps([1, 2, "events", 99, ""]),
    json.dumps([1, -2, "events", 3, ""]),
    json.dumps([1, 2.5, "events", 3, ""]),
    json.dumps([1, 2, "events", 3.0, ""]),
    json.dumps([1, 2, None, 3, ""]),
    json.dumps([1, 2, "events", 3, None]),
    json.dumps([1, 2, "events", 1, "__import__('os').abort()"]),
    json.dumps([1, 2, "nobody's", 3, ""]),
    "[" * 10_000,
]


def test_rubbish_does_nothing(server: RedisServer) -> None:
    """Rubbish does nothing, and what comes after it is heard."""
    with Instance(server) as one:
        one("load('a', 1)")
        one("other.set('b', 1)")
        await_true(_heard_by(server, 1), "it listens")
        for message in _RUBBISH:
            server.command("PUBLISH", CHANNEL, message)
        server.command("PUBLISH", CHANNEL, json.dumps([1, 77, "others", 3, ""]))
        await_true(lambda: one("other.get('b')") is None, "it hears what comes after")
        assert one("cache.get('a')") == 1
