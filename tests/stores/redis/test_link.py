"""Commands to a real Redis: there, not there, killed, stopped, slow, with a wrong password."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.support.redis import LongWay, RedisServer
from tests.support.waiting import await_true

from tonnage.errors import ConfigError, RedisAwayError, StoreError
from tonnage.logs.masking import Mask
from tonnage.stores.redis.connecting import check, connection, redis_client
from tonnage.stores.redis.link import Link, link
from tonnage.stores.redis.wire import Request

pytestmark = pytest.mark.real


@asynccontextmanager
async def linked(server: RedisServer, **options: Any) -> AsyncIterator[Link]:
    """A link to *server*, closed in the end."""
    made = Link(server.url, **options)
    try:
        yield made
    finally:
        await made.aclose()


async def until(is_so: Any, what: str) -> None:
    """Wait until *is_so*, with the event loop going on."""
    await asyncio.to_thread(await_true, is_so, what)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the link has logged."""
    return [each.getMessage() for each in caplog.records if each.name == "tonnage.redis"]


async def test_commands_and_their_answers(server: RedisServer) -> None:
    """Commands and their answers, in coroutines and in threads."""
    async with linked(server) as redis:
        assert redis.statistics().state == "new"
        assert await redis.execute("SET", "a", b"\x00\r\n\xff") == b"OK"
        assert await redis.execute("GET", "a") == b"\x00\r\n\xff"
        assert await redis.execute("GET", "none") is None
        assert await redis.execute("INCRBY", "n", 5) == 5
        assert await asyncio.to_thread(redis.ask, "MGET", "n", "none") == [b"5", None]
        statistics = redis.statistics()
        assert statistics.connected
        assert (statistics.answered, statistics.waiting, statistics.waiting_bytes) == (5, 0, 0)


def test_a_silent_redis_under_uvloop_fails_by_its_time_alone(server: RedisServer) -> None:
    """Its handle of what is due now is of another kind than that of a timer."""

    async def ask(redis: Link) -> object:
        try:
            return await redis.execute("GET", "a")
        except RedisAwayError as error:
            return error

    async def keep_asking() -> list[object]:
        async with linked(server, timeout_seconds=0.02, most_waiting=100_000) as redis:
            await redis.execute("SET", "a", "text")
            server.stop()
            try:
                asked = [asyncio.create_task(ask(redis))]
                # In each turn of the loop, also in that in which the first one's time is up.
                while not asked[0].done():
                    asked.append(asyncio.create_task(ask(redis)))
                    await asyncio.sleep(0)
                answers = await asyncio.gather(*asked)
            finally:
                server.go_on()
            return answers

    first, *later = uvloop.run(keep_asking())
    assert isinstance(first, RedisAwayError)
    # Who asked last may have met the connection that came after it.
    assert all(isinstance(each, RedisAwayError) or each == b"text" for each in later)


async def test_what_redis_refuses_is_an_error_and_no_outage(server: RedisServer) -> None:
    """What Redis refuses is an error and no outage."""
    async with linked(server) as redis:
        await redis.execute("SET", "a", "text")
        with pytest.raises(StoreError, match="Redis refuses 'INCR': value is not an integer"):
            await redis.execute("INCR", "a")
        with pytest.raises(StoreError, match="unknown command"):
            await asyncio.to_thread(redis.ask, "NONSENSE")
        assert await redis.execute("GET", "a") == b"text"
        assert redis.statistics().failures == 0


async def test_commands_of_one_thread_arrive_in_order(server: RedisServer) -> None:
    """Commands of one thread arrive in order, whether it waits for them or not."""
    async with linked(server) as redis:
        for number in range(300):
            redis.post("RPUSH", "list", number)
        found = await redis.execute("LRANGE", "list", 0, -1)
        assert found == [b"%d" % number for number in range(300)]


async def test_who_stops_waiting_does_not_disturb_the_others(server: RedisServer) -> None:
    """Who stops waiting does not disturb the others."""
    async with linked(server) as redis:
        await redis.execute("MSET", "a", "1", "b", "2")
        first = asyncio.create_task(redis.execute("GET", "a"))
        second = asyncio.create_task(redis.execute("GET", "b"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == b"2"
        assert redis.statistics().waiting == 0


async def test_not_there_at_the_start_and_then_it_comes(
    absent: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Not there at the start and then it comes."""
    async with linked(absent) as redis:
        for _ in range(3):
            with pytest.raises(RedisAwayError):
                await redis.execute("GET", "a")
        begun = time.monotonic()
        for _ in range(1000):
            with pytest.raises(RedisAwayError, match="away"):
                await redis.execute("GET", "a")
        assert time.monotonic() - begun < 1
        await until(lambda: redis.statistics().failures > 2, "it is tried again")
        assert redis.statistics().refused >= 1000
        absent.start()
        await until(lambda: redis.statistics().connected, "it is back")
        assert await redis.execute("GET", "a") is None
        told = lines(caplog)
        assert len(told) == 2
        assert "Redis connection failed" in told[0]
        assert "Redis is back" in told[1]


async def test_killed_and_back(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Killed and back: who is in flight hears so, and the connection comes back by itself."""
    async with linked(server) as redis:
        await redis.execute("SET", "a", "1")
        server.kill()
        with pytest.raises(RedisAwayError):
            await redis.execute("GET", "a")
        assert redis.is_away
        server.start()
        await until(lambda: not redis.is_away, "it is back")
        assert await redis.execute("GET", "a") is None
        assert await asyncio.to_thread(redis.ask, "PING") == b"PONG"
        assert [each.split(":")[0] for each in lines(caplog)] == [
            "Redis connection failed",
            "Redis is back",
        ]


async def test_stopped_in_its_tracks_it_keeps_nobody_waiting(server: RedisServer) -> None:
    """Stopped in its tracks it keeps nobody waiting, and is back when it goes on."""
    async with linked(server) as redis:
        await redis.execute("SET", "a", "1")
        server.stop()
        begun = time.monotonic()
        answers = await asyncio.gather(
            *(redis.execute("GET", "a") for _ in range(50)), return_exceptions=True
        )
        took_seconds = time.monotonic() - begun
        assert all(isinstance(each, RedisAwayError) for each in answers)
        assert 0.2 < took_seconds < 0.6
        begun = time.monotonic()
        with pytest.raises(RedisAwayError):
            await redis.execute("GET", "a")
        assert time.monotonic() - begun < 0.1
        await asyncio.sleep(0.3)
        assert redis.is_away
        server.go_on()
        await until(lambda: not redis.is_away, "it is back")
        assert await redis.execute("GET", "a") == b"1"


async def test_one_that_is_too_slow_stays_away(server: RedisServer) -> None:
    """One that is too slow stays away, so that nobody waits for it again and again."""
    async with LongWay(server, delay_seconds=0.1) as way:
        redis = Link(way.url, timeout_seconds=0.05)
        with pytest.raises(RedisAwayError):
            await redis.execute("PING")
        # By now it has been connected more than once, and answered late.
        await until(lambda: redis.statistics().failures > 2, "it is tried again")
        assert redis.statistics().reconnects == 0
        assert redis.is_away
        way.delay_seconds = 0
        await until(lambda: not redis.is_away, "it is back")
        assert await redis.execute("PING") == b"PONG"
        await redis.aclose()


async def test_it_may_take_its_time_to_connect(server: RedisServer) -> None:
    """It may take its time to connect, as over TLS: requests go on without it until then."""
    async with LongWay(server, delay_seconds=0.1) as way:
        redis = Link(way.url, timeout_seconds=0.15)
        with pytest.raises(RedisAwayError):
            await redis.execute("PING")
        await until(lambda: not redis.is_away, "it is connected")
        await until(lambda: redis.statistics().connected, "it is connected")
        answer = None
        while answer is None:
            try:
                answer = await redis.execute("PING")
            except RedisAwayError:
                await asyncio.sleep(0.05)
        assert answer == b"PONG"
        await redis.aclose()


async def test_the_next_after_so_many_is_refused_at_once(server: RedisServer) -> None:
    """The next after so many is refused at once."""
    async with linked(server) as redis:
        await redis.execute("PING")
        server.stop()
        waiting = [redis.post("PING") for _ in range(1000)]
        assert redis.statistics().waiting == 1000
        with pytest.raises(RedisAwayError, match="1000 commands wait for Redis already"):
            await redis.execute("PING")
        assert redis.statistics().refused == 1
        server.go_on()
        await asyncio.gather(*map(asyncio.wrap_future, waiting))
        assert await redis.execute("PING") == b"PONG"
        assert redis.statistics().waiting_bytes == 0


async def test_what_a_silent_redis_has_not_read_is_not_kept(server: RedisServer) -> None:
    """A connection that is given up goes at once, though Redis may never read the rest."""
    async with linked(server) as before:
        await before.execute("PING")  # the stores' thread has sockets of its own
    others = sockets()
    async with linked(server, timeout_seconds=0.1) as redis:
        await redis.execute("PING")
        connection = sockets() - others
        assert connection
        server.stop()
        with pytest.raises(RedisAwayError):
            await redis.execute("SET", "a", b"x" * 4_000_000)
        await until(lambda: not connection & sockets(), "it is closed")


def sockets() -> set[str]:
    """Return which this process has, each by its inode."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found.add(os.readlink(descriptor))
    return {each for each in found if each.startswith("socket:")}


async def test_so_many_bytes_may_wait(server: RedisServer) -> None:
    """So many bytes may wait."""
    async with linked(server) as redis:
        await redis.execute("PING")
        server.stop()
        large = b"x" * 6_000_000
        waiting = [redis.post("SET", "a", large) for _ in range(4)]
        refused = [each for each in waiting if each.done()]
        assert len(refused) == 2
        server.go_on()
        with pytest.raises(RedisAwayError, match="bytes wait for Redis already"):
            refused[0].result()
        await asyncio.gather(*map(asyncio.wrap_future, waiting), return_exceptions=True)


async def test_a_wrong_password_is_told_and_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A wrong password is told and not shown."""
    with RedisServer(password="right-1234") as server:
        async with linked(server) as redis:
            assert await redis.execute("PING") == b"PONG"
        wrong = Link(server.url.replace("right-1234", "wrong-5678"))
        with pytest.raises(RedisAwayError) as raised:
            await wrong.execute("PING")
        assert "Redis connection failed" in caplog.text
        assert "password" in caplog.text
        for said in (caplog.text, str(raised.value), str(wrong)):
            assert "5678" not in said
        await wrong.aclose()


async def test_on_a_port(caplog: pytest.LogCaptureFixture) -> None:
    """On a port: the log names host and port."""
    with RedisServer(port=True, password="secret-1") as server:
        async with linked(server) as redis:
            assert await redis.execute("PING") == b"PONG"
            assert str(redis) in server.url
            server.kill()
            with pytest.raises(RedisAwayError):
                await redis.execute("PING")
            assert str(redis) in caplog.text
            assert "secret" not in caplog.text


async def test_a_connection_that_redis_closes_when_idle_is_made_anew(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that Redis closes when it is idle is made anew, and nobody is told."""
    async with linked(server) as redis:
        await redis.execute("PING")
        server.command("CLIENT", "KILL", "TYPE", "normal")
        await asyncio.sleep(0.05)
        assert await redis.execute("PING") == b"PONG"
        assert lines(caplog) == []
        assert redis.statistics().failures == 0


async def test_it_can_be_used_again_after_it_was_closed(server: RedisServer) -> None:
    """It can be used again after it was closed."""
    async with linked(server) as redis:
        await redis.execute("SET", "a", "1")
        redis.post("SET", "a", "2")
        await redis.aclose()
        assert b"a" not in server.command("CLIENT", "LIST", "TYPE", "pubsub")
        assert await redis.execute("GET", "a") == b"2"


def test_event_loops_that_come_and_go_leave_nothing_behind(server: RedisServer) -> None:
    """Event loops that come and go leave nothing behind."""
    redis = Link(server.url)
    for _ in range(3):
        assert asyncio.run(redis.execute("PING")) == b"PONG"
    assert redis.ask("PING") == b"PONG"
    assert server.command("CLIENT", "LIST").count(b"id=") == 2
    redis.close()
    assert server.command("CLIENT", "LIST").count(b"id=") == 1


def test_one_for_each_process(server: RedisServer) -> None:
    """One for each process, made when it is asked for."""
    assert link(server.url) is link(server.url)
    link(server.url).close()


@pytest.mark.parametrize("url", ["nonsense", "http://user:secret@host/", "redis://host/?db=x"])
def test_a_url_without_sense_is_an_error_that_keeps_the_secret(url: str) -> None:
    """A URL without sense is an error that keeps the secret."""
    with pytest.raises(ConfigError, match="REDIS_URL makes no sense") as raised:
        Link(url)
    assert "secret" not in str(raised.value)


def test_what_a_url_should_be_is_said_so_that_it_stays_when_secrets_are_hidden() -> None:
    """What a URL should be is said in words that stay when secrets are hidden."""
    with pytest.raises(ConfigError) as raised:
        Link("nonsense")
    assert Mask().text(str(raised.value)) == str(raised.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("foo=bar", "foo"),
        ("client_name=me&max_conections=3", "max_conections"),
        ("db=x&foo=1", "db, foo"),
        ("max_connections=many", "max_connections"),
        ("ssl_ca_certs=ca.pem", "ssl_ca_certs"),
        ("retry=5", "retry"),
    ],
)
@pytest.mark.parametrize("make", [Link, redis_client, check])
def test_an_option_without_sense_is_refused_by_name_at_once(
    make: Callable[[str], object], options: str, named: str
) -> None:
    """An option in the URL that redis-py does not take is refused at once, and by its name."""
    with pytest.raises(
        ConfigError, match=f"REDIS_URL makes no sense in its options: {named} "
    ) as r:
        make(f"redis://:secret@host/0?{options}")
    assert "secret" not in str(r.value)


async def test_options_of_a_pool_are_understood(server: RedisServer) -> None:
    """Options of redis-py's pools are its client's; a link has its own connections."""
    url = f"{server.url}?max_connections=3&timeout=2&client_name=me"
    made = Link(url)
    assert await made.execute("CLIENT", "GETNAME") == b"me"
    await made.aclose()
    client = redis_client(url)
    assert client.connection_pool.max_connections == 3
    assert await client.ping()
    await client.aclose()


_LINK_AT_IMPORT = """
import os, sys, threading
from tonnage.stores.redis.link import link
redis = link()
print(threading.active_count(), len(os.listdir("/proc/self/fd")) - int(sys.argv[1]))
"""


def test_making_one_starts_nothing(server: RedisServer) -> None:
    """A link that a module makes when it is imported starts no thread, and opens nothing."""
    code = 'import os, redis.asyncio; print(len(os.listdir("/proc/self/fd")))'
    assert _run(code, server) == _run(code, server)
    assert _run(_LINK_AT_IMPORT, server, *_run(code, server)) == ["1", "0"]


async def test_one_that_was_never_used_can_be_closed() -> None:
    """There is nothing to close, and nothing is begun for it."""
    made = Link("redis://127.0.0.1:1/0")
    await made.aclose()
    made.close()
    assert made.statistics().state == "new"


async def test_an_event_loop_of_another_thread_is_answered_too(server: RedisServer) -> None:
    """Over the connection that threads have together."""
    async with linked(server) as redis:
        assert await redis.execute("INCR", "n") == 1

        async def ask() -> list[Any]:
            return [await redis.execute("INCR", "n") for _ in range(3)]

        assert await asyncio.to_thread(asyncio.run, ask()) == [2, 3, 4]


def test_who_has_stopped_waiting_is_not_told_of_an_error() -> None:
    """Nor of an answer: it would disturb those who wait still."""
    future: Future[Any] = Future()
    request = Request(("PING",), future)
    future.cancel()
    request.reject(RedisAwayError("it is gone"))
    request.resolve(b"PONG")
    assert future.cancelled()


_FORKING = """
import asyncio, os
from tonnage.stores.redis.link import link
redis = link()
assert redis.ask("INCR", "n") == 1
assert asyncio.run(redis.execute("INCR", "n")) == 2
pid = os.fork()
if not pid:
    assert redis.ask("INCR", "n") == 3
    assert asyncio.run(redis.execute("INCR", "n")) == 4
    assert link() is redis
    assert redis.statistics().answered == 2
    redis.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert redis.ask("INCR", "n") == 5
print("done")
"""


def test_one_that_was_used_before_a_fork_works_in_the_child(server: RedisServer) -> None:
    """A link that was used before a fork works in the child, which begins anew."""
    assert _run(_FORKING, server) == ["done"]


def _run(code: str, server: RedisServer, *given: str) -> list[str]:
    """Return the words that *code* prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *given],
        env=os.environ | {"REDIS_URL": server.url},
        stdout=subprocess.PIPE,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.split()


_request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


async def test_an_outage_is_told_in_the_name_of_no_request(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage is told in the name of no request: nor of the very first."""
    seen: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        seen.append(_request.get())
        return True

    async def ask() -> None:
        _request.set("first")
        await redis.execute("PING")
        await asyncio.to_thread(redis.ask, "PING")

    async with linked(server) as redis:
        await asyncio.create_task(ask())
        caplog.handler.addFilter(note)
        server.kill()
        await until(lambda: redis.is_away, "it is away")
        server.start()
        await until(lambda: not redis.is_away, "it is back")
        caplog.handler.removeFilter(note)
    assert seen == ["none", "none"]


@pytest.mark.parametrize(
    "command", [(), ("SET", "a", {}), ("SET", "a", None), ("SET", "a", True), ("SET", "a", [1])]
)
async def test_what_is_no_command_is_refused_at_once(
    server: RedisServer, command: tuple[Any, ...]
) -> None:
    """What is no command is refused at once, and nothing is sent or waits."""
    async with linked(server) as redis:
        for call in (redis.ask, redis.post):
            with pytest.raises(TypeError, match="a command"):
                call(*command)
        with pytest.raises(TypeError, match="a command"):
            await redis.execute(*command)
        assert redis.statistics().waiting == 0
        assert redis.statistics().state == "new"


def test_without_a_url_there_is_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL, or where it is not to be used, there is no link."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(ConfigError, match="set REDIS_URL"):
        link()
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("USE_REDIS", "false")
    with pytest.raises(ConfigError, match="USE_REDIS"):
        link()


async def test_the_client_for_applications(server: RedisServer) -> None:
    """The client for applications is redis-py's own, with bounds."""
    client = redis_client(server.url)
    await client.set("greeting", "hello", ex=60)
    assert await client.get("greeting") == b"hello"
    assert client.connection_pool.max_connections == 10
    await client.aclose()


async def test_an_idle_connection_is_looked_after(server: RedisServer) -> None:
    """An idle connection is looked after: an outage is noticed although nobody asks anything."""
    async with linked(server, keep_alive_seconds=0.05) as redis:
        await redis.execute("PING")
        await until(lambda: redis.statistics().answered > 2, "it is looked after")
        assert redis.statistics().waiting <= 1
        server.stop()
        await until(lambda: redis.is_away, "it is away")
        server.go_on()
        await until(lambda: not redis.is_away, "it is back")


async def test_an_idle_connection_that_is_lost_is_noticed(server: RedisServer) -> None:
    """An idle connection that is lost because Redis is gone is noticed at once."""
    async with linked(server) as redis:
        await redis.execute("PING")
        server.kill()
        await until(lambda: redis.is_away, "it is away")


def test_how_connections_are_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections have 10 s to be made, and TCP looks after them after 30 s."""
    made: Any = connection("rediss://user:word@cache:6380/3?socket_timeout=7")
    assert (made.socket_connect_timeout, made.socket_timeout) == (10, None)
    assert made.socket_keepalive
    assert list(made.socket_keepalive_options.values()) == [30]
    assert (made.host, made.port, made.db, type(made).__name__) == (
        "cache",
        6380,
        3,
        "SSLConnection",
    )
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigError, match=r"pip install 'tonnage\[redis\]'"):
        connection("redis://cache")
