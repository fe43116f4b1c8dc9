"""Rate limits that instances share, with a real Redis: there, killed, stopped, empty, refusing."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from tests.support.redis import RedisServer
from tests.support.server import Running, clean_environment
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true, until
from tests.web.path.talk import Reply, hello, request, talk
from tests.web.path.wsgiapps import replying
from tests.web.path.wsgiserver import ask as ask_wsgi

from tonnage.problem import Problem
from tonnage.rates.clients import Clients
from tonnage.rates.limits import Limit, LimitsLike
from tonnage.rates.table import RateTable
from tonnage.stores.redis.link import link
from tonnage.web.path.middleware import Tonnage
from tonnage.web.path.ratelimit import RateLimiter
from tonnage.web.path.redisrates import RedisRates, SharedRateLimiter, secret_of
from tonnage.web.path.wsgi import TonnageWSGI

pytestmark = pytest.mark.real

CLIENT = "203.0.113.7"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Yield a Redis, and close the link to it."""
    with RedisServer() as server:
        yield server
        link(server.url).close()


def instance(server: RedisServer, limits: LimitsLike, **options: Any) -> SharedRateLimiter:
    """Return the limiter of an instance of the application, with a table of its own."""
    there = RedisRates(server.url)
    here = RateLimiter(limits, store=RateTable(1024), clients=Clients(there.secret), **options)
    return there.limiter(here)


async def ask(limiter: SharedRateLimiter, client: str = CLIENT) -> Problem | dict[str, str]:
    """Return the 429, or the headers of the response."""
    said = await limiter.check({"type": "http", "client": (client, 4711), "headers": []})
    if isinstance(said, Problem):
        return said
    return {name.decode(): value.decode() for name, value in said}


async def allows(limiter: SharedRateLimiter, client: str = CLIENT) -> bool:
    """Return whether a request is let in."""
    return not isinstance(await ask(limiter, client), Problem)


async def passed(limiters: list[SharedRateLimiter], requests: int) -> int:
    """Return how many of so many requests are let in, sent to the instances in turn."""
    asked = [allows(limiters[number % len(limiters)]) for number in range(requests)]
    return sum(await asyncio.gather(*asked))


async def until_back(server: RedisServer) -> None:
    """Wait until commands go out again."""
    await asyncio.to_thread(await_true, lambda: not link(server.url).is_away, "Redis is back")


async def test_instances_share_a_limit(server: RedisServer) -> None:
    """Whichever the load balancer takes."""
    instances = [instance(server, "10/1h") for _ in range(3)]

    assert await passed(instances, 30) == 10
    assert await allows(instances[0], "198.51.100.9")


async def test_headers_say_what_is_left_for_all(server: RedisServer) -> None:
    """And the 429 when to come again."""
    one, other = instance(server, "3/30s"), instance(server, "3/30s")
    await ask(one)

    assert await ask(other) == {
        "ratelimit-policy": '"default";q=3;w=30',
        "ratelimit": '"default";r=1;t=20',
    }
    await ask(one)
    refused = await ask(other)
    assert isinstance(refused, Problem)
    assert (refused.status, refused.extra["retryAfter"]) == (429, 10)


def _clock(server: RedisServer) -> float:
    """Return the server's time."""
    seconds, microseconds = server.command("TIME").split()[2::2]
    return int(seconds) + int(microseconds) / 1e6


async def test_what_was_used_grows_back(server: RedisServer) -> None:
    """At the clock of the server."""
    one, other = instance(server, "2/1s"), instance(server, "2/1s")
    begun_seconds = _clock(server)
    assert await passed([one, other], 10) == 2
    for more in (1, 2, 3):
        await until(partial(allows, one if more % 2 else other))
        assert _clock(server) - begun_seconds >= more / 2


async def test_a_request_that_one_limit_refuses_counts_nowhere(server: RedisServer) -> None:
    """Neither in Redis nor here, whichever of them refuses."""
    limits: LimitsLike = ["4/1h", Limit("2/1h", key=lambda scope: "everybody", name="all")]
    one, other = instance(server, limits), instance(server, limits)
    assert await passed([one, other], 20) == 2

    third = instance(server, ["4/1h"], name="default 4/1h")
    # Two of four are left: eighteen refused requests have not used them up.
    assert await passed([third], 20) == 2


async def test_a_limit_that_is_for_nobody_asks_nobody(server: RedisServer) -> None:
    """There is nothing to count."""
    limiter = instance(server, Limit("1/1h", key=lambda scope: None))
    assert [await ask(limiter) for _ in range(3)] == [{}] * 3
    assert link(server.url).statistics().state == "new"


async def test_who_is_refused_here_is_not_asked_about_there(server: RedisServer) -> None:
    """A flood of one client costs Redis nothing."""
    limiter = instance(server, "5/1h")
    assert await passed([limiter], 100) == 5
    assert link(server.url).statistics().answered <= 10


async def test_a_limit_goes_on_without_redis_and_is_shared_again(server: RedisServer) -> None:
    """Killed: each instance counts what it knows, and requests are answered at once. Then back."""
    one, other = instance(server, "6/1h"), instance(server, "6/1h")
    assert await passed([one, other], 4) == 4
    server.kill()
    begun = time.monotonic()
    # Two of the six were counted in each.
    assert await passed([one], 20) == 4
    assert await passed([other], 20) == 4
    assert time.monotonic() - begun < 1
    server.start()
    await until_back(server)
    # It has forgotten all, and the instances have not.
    assert await passed([one, other], 20) == 0
    assert await allows(one, "198.51.100.1")
    assert [await allows(each, "198.51.100.1") for each in (other, one) * 3].count(True) == 5


async def test_a_stopped_redis_holds_requests_up_once(server: RedisServer) -> None:
    """For a quarter of a second; then it counts as away."""
    limiter = instance(server, "100/1h")
    await ask(limiter)
    server.stop()
    try:
        begun = time.monotonic()
        assert await passed([limiter], 50) == 50
        assert time.monotonic() - begun < 1
        begun = time.monotonic()
        assert await passed([limiter], 20) == 20
        assert time.monotonic() - begun < 0.1
    finally:
        server.go_on()
    await until_back(server)


async def test_a_redis_that_was_never_there_is_not_waited_for() -> None:
    """The service starts without it."""
    with RedisServer(running=False) as server:
        limiter = instance(server, "3/1h")
        assert await passed([limiter], 10) == 3
        await link(server.url).aclose()


async def test_scripts_that_were_thrown_away_are_sent_again(server: RedisServer) -> None:
    """And the request counts all the same."""
    one, other = instance(server, "4/1h"), instance(server, "4/1h")
    assert await passed([one, other], 2) == 2
    assert server.command("SCRIPT", "FLUSH") == b"+OK\r\n"
    assert await passed([one, other], 20) == 2


async def test_a_redis_that_refuses_is_said_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """As one whose memory is full."""
    limiter = instance(server, "3/1h")
    server.command("CONFIG", "SET", "maxmemory", "1")
    with caplog.at_level(logging.WARNING, "tonnage.requests"):
        assert await passed([limiter], 10) == 3

    said = [record.message for record in caplog.records if record.name == "tonnage.requests"]
    assert len(said) == 1
    assert said[0].startswith("rate limits count in each instance by itself: Redis refuses")


async def test_each_time_that_redis_refuses_is_said_and_each_end(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Not the first alone; but what comes within a minute of the last that was said is not."""
    caplog.set_level(logging.WARNING, "tonnage.requests")
    now_seconds = [0.0]
    there = RedisRates(server.url, clock=lambda: now_seconds[0])
    here = RateLimiter("1000/1h", store=RateTable(1024), clients=Clients(there.secret))
    limiter = there.limiter(here)
    for now_seconds[0] in (0.0, 1.0, 61.0):
        server.command("CONFIG", "SET", "maxmemory", "1")
        await passed([limiter], 3)
        server.command("CONFIG", "SET", "maxmemory", "0")
        await passed([limiter], 3)

    said = [each.message for each in caplog.records if each.name == "tonnage.requests"]
    assert [each.split(":")[0] for each in said] == [
        "rate limits count in each instance by itself",
        "rate limits count in Redis again",
    ] * 2


async def test_nothing_is_kept_there_for_longer_than_it_says_anything(server: RedisServer) -> None:
    """Each key ends when all has grown back."""
    limiter = instance(server, "2/0.2s")
    await passed([limiter], 2)
    assert server.command("DBSIZE") == b":1\r\n"
    await asyncio.to_thread(await_true, lambda: server.command("DBSIZE") == b":0\r\n", "it ends")


def test_threads_count_there_as_well(server: RedisServer) -> None:
    """Where nothing can be awaited."""
    one, other = instance(server, "3/1h"), instance(server, "3/1h")
    scope = {"type": "http", "client": (CLIENT, 4711), "headers": []}
    said = [each.check_in_thread(scope) for each in (one, other) * 3]
    assert [isinstance(each, Problem) for each in said] == [False] * 3 + [True] * 3
    server.kill()
    assert isinstance(one.check_in_thread(scope), tuple)


def test_instances_agree_in_their_keys_by_the_password_alone() -> None:
    """What else differs in a URL may mean the same server."""
    one = secret_of("redis://:opensesame@cache:6379/0")
    assert one == secret_of("rediss://ann:opensesame@10.0.0.5")
    assert one == secret_of("unix:///run/redis.sock?password=opensesame")
    assert one != secret_of("redis://cache")
    assert secret_of("redis://cache") == secret_of("redis://elsewhere:6380/3")


# Around an application.


@pytest.fixture
def configured(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """Have Redis be what REDIS_URL names."""
    monkeypatch.setenv("REDIS_URL", server.url)
    return server


async def get(app: Tonnage, client: str = CLIENT, target: str = "GET /", **more: Any) -> Reply:
    """Return the answer to a request."""
    headers = more.pop("headers", None)
    return await talk(app, request(target, headers, client=(client, 4711)), **more)


@pytest.mark.usefixtures("configured")
async def test_the_middleware_counts_there_where_it_is_configured() -> None:
    """And all else on a request's way is as without."""
    app = Tonnage(hello, rate_limit="2/1h", max_body="10", request_ids=True, timeout="10s")
    first = await get(app, "192.0.2.50")
    large = await get(app, "192.0.2.50", "POST /", parts=[b"x" * 11])
    third = await get(app, "192.0.2.50")

    assert (first.status, large.status, third.status) == (200, 413, 429)
    assert first.headers["ratelimit"] == '"default";r=1;t=1800'
    assert {"x-request-id", "ratelimit"} <= set(large.headers)
    announced = await get(app, "192.0.2.51", "POST /", headers={"content-length": "11"})
    assert (announced.status, announced.asked) == (413, 0)
    assert "EVALSHA" not in str(await link().execute("INFO", "errorstats"))
    assert int(await link().execute("DBSIZE")) == 2


@pytest.mark.usefixtures("configured")
async def test_a_websocket_counts_there_too() -> None:
    """When it is opened."""
    app = Tonnage(hello, rate_limit="1/1h")
    scope = {**request(client=("192.0.2.60", 1)), "type": "websocket", "path": "/ws"}
    opened = [await talk(app, dict(scope)) for _ in range(2)]
    assert [reply.types[0] for reply in opened] == ["start", "websocket.close"]


async def test_it_can_be_left_out(configured: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the variable is there for something else."""
    monkeypatch.setenv("USE_REDIS", "false")
    app = Tonnage(hello, rate_limit="1/1h")
    assert [(await get(app, "192.0.2.70")).status for _ in range(2)] == [200, 429]
    assert link(configured.url).statistics().state == "new"


@pytest.mark.usefixtures("configured")
def test_a_wsgi_application_counts_there_too() -> None:
    """In its thread."""
    app = TonnageWSGI(replying(b"hello"), rate_limit="1/1h")
    server = {"REMOTE_ADDR": "192.0.2.80"}
    assert [ask_wsgi(app, server=server).status for _ in range(2)] == [200, 429]
    assert link().ask("DBSIZE") == 1


def test_two_servers_share_a_limit_and_go_on_without(server: RedisServer) -> None:
    """As instances behind a load balancer do: `tonnage run` with REDIS_URL."""
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(
                Running("benchmarks.app:app", "--rate-limit", "6/1h", env={"REDIS_URL": server.url})
            )
            for _ in range(2)
        )
        statuses = [each.get("/").status for each in (one, other) * 6]
        assert (statuses.count(200), statuses.count(429)) == (6, 6)
        server.kill()
        statuses = [each.get("/").status for each in (one, other) * 6]
        # Each had counted three.
        assert (statuses.count(200), statuses.count(429)) == (6, 6)
        assert one.get("/health").status == 200
        begun = time.monotonic()
        assert one.stop() == 0
        # Nothing is waited for at the end either.
        assert time.monotonic() - begun < 1.5 * SLOWNESS


async def test_a_url_without_sense_is_said_and_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The variable may be there for the application's own sake."""
    monkeypatch.setenv("REDIS_URL", "cache:6379")
    app = Tonnage(hello, rate_limit="1/1h")

    assert [(await get(app, "192.0.2.90")).status for _ in range(2)] == [200, 429]
    assert (
        "rate limits are not shared with other instances: REDIS_URL makes no sense" in caplog.text
    )


async def test_an_option_without_sense_is_said_and_fails_no_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said when the middleware is made, with the option's name."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0?foo=bar")
    app = Tonnage(hello, rate_limit="1/1h")

    assert [(await get(app, "192.0.2.91")).status for _ in range(2)] == [200, 429]
    assert "REDIS_URL makes no sense in its options: foo " in caplog.text


def test_without_redis_nothing_of_it_is_imported() -> None:
    """Nor the settings, which take more than the limits do."""
    program = """
import sys
from tonnage import Tonnage
Tonnage(None, rate_limit="1/1s")
unwanted = {"redis", "tonnage.config", "tonnage.stores.redis.link", "tonnage.web.path.redisrates"}
assert not unwanted & set(sys.modules), unwanted & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=clean_environment())
