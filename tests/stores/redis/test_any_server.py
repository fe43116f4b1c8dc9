"""What holds with every Redis and Valkey: ``TEST_REDIS_URL`` names another than the package's."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from tests.support.redis import any_redis
from tests.support.waiting import await_true

from tonnage.stores.redis.level import RedisLevel
from tonnage.stores.redis.link import link

pytestmark = pytest.mark.real


@pytest.fixture
def url() -> Iterator[str]:
    """Where it is."""
    with any_redis() as found:
        yield found


async def test_commands_and_values(url: str) -> None:
    """Commands are answered, values are found, and what is forgotten is not."""
    redis, name = link(url), uuid.uuid4().hex
    assert await redis.execute("SET", f"tonnage:{name}", b"\x00\xff", "PX", 1000) == b"OK"
    assert await asyncio.to_thread(redis.ask, "GET", f"tonnage:{name}") == b"\x00\xff"

    level = RedisLevel(name, url)
    forgetting: list[Callable[[], None]] = [
        partial(level.forget_key, "'a'"),
        partial(level.forget_tags, ["t"]),
        level.clear,
    ]
    for forget in forgetting:
        look = await level.look_async("'a'", ("t",))
        assert look.found is None
        assert level.keep("'a'", {"b": [1.5]}, as_of=look.as_of, lasts_seconds=1, tags=("t",))
        found = (await level.look_async("'a'")).found
        assert found is not None
        assert found.value == {"b": [1.5]}
        forget()
        assert (await level.look_async("'a'")).found is None
    await asyncio.to_thread(await_true, lambda: not level.owed, "all is said")
    await redis.aclose()
