"""A moment without memory costs whoever asked just then, and nobody who asks Redis afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from tests.support.collector import hangs_at
from tests.support.redis import RedisServer
from tests.support.waiting import await_true

from tonnage import Cache
from tonnage.errors import RedisAwayError
from tonnage.stores.background import background
from tonnage.stores.bulletin import KEY
from tonnage.stores.redis.connecting import connection
from tonnage.stores.redis.debts import Debts
from tonnage.stores.redis.link import Link
from tonnage.stores.redis.news import CHANNEL, News
from tonnage.stores.redis.wire import Request, Wire

pytestmark = pytest.mark.real

SECONDS = 5.0


class FailsOnce:
    """Calls a function, but for the first time, when there is no memory."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.has_failed = False

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Fail, or call it."""
        if not self.has_failed:
            self.has_failed = True
            for each in given:
                if asyncio.iscoroutine(each):
                    each.close()
            raise MemoryError
        return self._function(*given, **named)


@pytest.fixture
def link(server: RedisServer) -> Iterator[Link]:
    """A link to a server that runs, closed in the end."""
    made = Link(server.url)
    yield made
    made.close()


class Books:
    """What an owner of a wire is told: how many wait."""

    def __init__(self) -> None:
        self.waiting = 0

    def asked(self, packed_bytes: int) -> None:
        """One more."""
        self.waiting += 1

    def answered(self, packed_bytes: int) -> None:
        """One less."""
        self.waiting -= 1

    def unanswered(self, requests: int, packed_bytes: int) -> None:
        """So many less."""
        self.waiting -= requests

    def lost(self, error: Exception) -> None:
        """The connection is lost."""


class Asking:
    """A wire, and commands that are given to it."""

    def __init__(self, server: RedisServer, loop: asyncio.AbstractEventLoop) -> None:
        self.books = Books()
        self.connection = connection(server.url)
        self.wire = Wire(loop, self.connection, SECONDS, self.books)

    def ask(self, *command: str) -> asyncio.Future[Any]:
        """Give a command."""
        answer: Future[Any] = Future()
        self.books.asked(0)
        self.wire.give(Request(command, answer))
        return asyncio.wrap_future(answer)


async def test_no_memory_to_connect_with_is_no_obstacle_to_those_who_come_later(
    server: RedisServer,
) -> None:
    """In the loop itself the first gets the error; it would have kept all others waiting."""
    loop = asyncio.get_running_loop()
    asking = Asking(server, loop)
    loop.create_task = FailsOnce(loop.create_task)  # type: ignore[method-assign]
    try:
        with pytest.raises(MemoryError):
            asking.ask("SET", "a", "1")
    finally:
        del loop.create_task
    assert await asyncio.wait_for(asking.ask("GET", "a"), SECONDS) == b"1"
    assert asking.books.waiting == 0
    await asking.wire.close(SECONDS)


def test_who_asks_from_another_thread_is_answered_all_the_same(link: Link) -> None:
    """The loop of the stores has no memory for a moment, and nobody there to tell."""
    loop = background().loop
    failing = loop.create_task = FailsOnce(loop.create_task)  # type: ignore[method-assign]
    try:
        assert link.post("PING").result(SECONDS) == b"PONG"
    finally:
        del loop.create_task
    assert failing.has_failed


async def test_each_gets_its_own_answer_or_an_error(server: RedisServer) -> None:
    """What could not be sent has no answer: that of the next would go to who asked before."""
    asking = Asking(server, asyncio.get_running_loop())
    for name in "abc":
        assert await asking.ask("SET", name, f"the value of {name}") == b"OK"
    send = asking.connection.send_packed_command
    asking.connection.send_packed_command = FailsOnce(send)  # type: ignore[method-assign]
    unsent = asking.ask("GET", "a")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = asking.ask("GET", "b")
    answers = await asyncio.wait_for(asyncio.gather(unsent, later, return_exceptions=True), SECONDS)
    assert [type(each) for each in answers] == [RedisAwayError, RedisAwayError], answers
    assert await asyncio.wait_for(asking.ask("GET", "c"), SECONDS) == b"the value of c"
    assert asking.books.waiting == 0
    await asking.wire.close(SECONDS)


class Hook:
    """Is called before others, when Redis comes back."""

    def __init__(self) -> None:
        self.call = FailsOnce(lambda post: None)

    def before(self, post: Callable[..., Future[Any]]) -> None:
        """Fail for the first time."""
        self.call(post)


def test_redis_comes_back_although_there_was_no_memory_for_it(
    server: RedisServer, link: Link
) -> None:
    """It would have stayed away for as long as the process lives."""
    assert link.ask("PING") == b"PONG"
    hook = Hook()
    link.before_others(hook.before)
    server.kill()
    await_true(lambda: link.is_away, "it is away")
    server.start()
    await_true(lambda: not link.is_away, "it is back")
    assert hook.call.has_failed


def test_what_is_to_be_forgotten_is_owed_until_it_is_said(link: Link) -> None:
    """Whoever asks meanwhile does not go by what Redis has."""
    link.ask("SET", "a", "old")
    command = FailsOnce(lambda kind, what: ("DEL", what))
    debts = Debts(link, command, lambda error: None, lambda kind, what: None)
    with pytest.raises(MemoryError):
        debts.owe([(KEY, "a")])
    assert debts.elsewhere(link.way) == {(KEY, "a")}
    await_true(lambda: not debts, "it is said")
    assert link.ask("GET", "a") is None


class Full(logging.Handler):
    """A handler of the log that has no memory, once."""

    def __init__(self) -> None:
        super().__init__()
        self.call = FailsOnce(lambda record: None)

    def emit(self, record: logging.LogRecord) -> None:
        """Fail for the first time."""
        self.call(record)


def test_other_instances_are_heard_again(server: RedisServer) -> None:
    """Of a missing right nothing could be logged; then there is the right."""
    server.command("ACL", "SETUSER", "app", "on", ">word", "+@all", "resetchannels", "~*")
    handler = Full()
    logging.getLogger("tonnage.redis").addHandler(handler)
    try:
        news = News(server.url.replace("unix://", "unix://app:word@"))
        await_true(lambda: handler.call.has_failed, "it was to be logged")
    finally:
        logging.getLogger("tonnage.redis").removeHandler(handler)
    server.command("ACL", "SETUSER", "app", "allchannels")
    await_true(lambda: server.command("PUBLISH", CHANNEL, "[]") == b":1\r\n", "it listens")
    background().start(news.aclose()).result(SECONDS)


class Session:
    """Something in a cycle that is forgotten when it is collected."""

    def __init__(self, cache: Cache[int]) -> None:
        self.itself = self
        self._cache = cache

    def __del__(self) -> None:
        self._cache.delete("session")


@pytest.mark.parametrize("module", ["redis/debts.py", "redis/link.py", "redis/wire.py"])
def test_a_finalizer_forgets_something_while_something_is_forgotten(
    module: str, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector may come at any line, in the thread that is there."""
    monkeypatch.setenv("REDIS_URL", server.url)
    cache: Cache[int] = Cache("sessions", ttl="1h", redis=True)
    assert hangs_at(module, lambda: Session(cache), lambda: cache.delete("made")) == []
