"""Clearing caches reaches what they keep in Redis, and what other instances have of it."""

from __future__ import annotations

import itertools
import json
from contextlib import ExitStack

import pytest
from tests.support.redis import RedisServer
from tests.support.server import Running, connection_to, exchange
from tests.support.waiting import await_true

from tonnage.ops.caches import answer_clear
from tonnage.stores.cache import Cache
from tonnage.stores.redis.link import link

pytestmark = pytest.mark.real


async def test_what_is_kept_in_redis_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be back with the next lookup."""
    with RedisServer() as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        made = itertools.count()
        cache: Cache[int] = Cache("cleared in redis", redis=True, ttl="1h")

        async def make() -> int:
            return next(made)

        assert await cache.get_or_await("answer", make) == 0
        assert answer_clear("POST", "name=others", trusted=True).status == 404
        assert await cache.get_or_await("answer", make) == 0
        answer = answer_clear("POST", "name=cleared%20in%20redis", trusted=True)
        assert (answer.status, json.loads(answer.body)["cleared"]) == (200, "cleared in redis")
        assert await cache.get_or_await("answer", make) == 1
        await link().aclose()


def test_other_instances_clear_what_they_have() -> None:
    """Told through Redis, from the control socket of one."""
    app = "tests.stores.redis.app:app"
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        one, other = (
            stack.enter_context(Running(app, "--workers", "1", env={"REDIS_URL": redis.url}))
            for _ in range(2)
        )

        def making(instance: Running, number: int) -> str:
            return instance.get(f"/event/{number}").body.decode().split()[0]

        def shared() -> int:
            # Not what somebody has asked for before it was connected.
            number = next(numbers)
            return number if making(one, number) == making(other, number) else 0

        def clear() -> int:
            with connection_to(f"http+unix://{one.control}", 5.0) as connection:
                return exchange(connection, "POST", "/cache/clear?name=events").status

        numbers = itertools.count(1)
        number = await_true(shared, "they share what one has made")
        before = making(one, number)
        assert clear() == 202
        await_true(lambda: making(one, number) != before, "it is made anew")
        # It hears of that from the first moment on in which it is connected.
        await_true(lambda: clear() and making(other, number) != before, "by the other as well")
