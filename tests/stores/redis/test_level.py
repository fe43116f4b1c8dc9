"""A cache's level in a real Redis."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.stores.beside import settled
from tests.support.redis import RedisServer
from tests.support.waiting import await_true

from tonnage import Cache
from tonnage.errors import RedisAwayError
from tonnage.stores.redis.debts import LATE_SECONDS, MOST_OWED
from tonnage.stores.redis.level import RedisLevel
from tonnage.stores.redis.link import link
from tonnage.stores.redis.news import CHANNEL

pytestmark = pytest.mark.real


@pytest.fixture
async def level(server: RedisServer) -> AsyncIterator[RedisLevel]:
    """A level at a server of its own."""
    yield RedisLevel("events", server.url)
    await link(server.url).aclose()


async def made(level: RedisLevel, key: str, value: Any, tags: tuple[str, ...] = ()) -> None:
    """Look, miss, make, keep: as a cache does."""
    look = await level.look_async(key, tags)
    assert look.found is None
    assert level.keep(key, value, as_of=look.as_of, lasts_seconds=60, tags=tags)


async def value_of(level: RedisLevel, key: str, *tags: str) -> Any:
    """The value of *key*; "nothing" where there is none."""
    found = (await level.look_async(key, tags)).found
    return "nothing" if found is None else found.value


@pytest.mark.parametrize("value", [None, 7, "text", b"\x00\xff", {"a": [1.5, True]}, "x" * 100_000])
async def test_what_one_keeps_another_finds(
    level: RedisLevel, server: RedisServer, value: object
) -> None:
    """What one keeps another finds, with its tags and the time that is left."""
    await made(level, "'a'", value, ("t", "ü"))
    found = (await RedisLevel("events", server.url).look_async("'a'", ("t", "ü"))).found
    assert found is not None
    assert found.value == value
    assert type(found.value) is type(value)
    assert found.tags == ("t", "ü")
    assert 59 < found.left_seconds <= 60


async def test_in_a_thread_it_is_the_same(level: RedisLevel) -> None:
    """In a thread it is the same."""

    def work() -> Any:
        look = level.look("'a'", ("t",))
        assert level.keep("'a'", 1, as_of=look.as_of, lasts_seconds=60, tags=("t",))
        found = level.look("'a'").found
        return found and found.value

    assert await asyncio.to_thread(work) == 1


async def test_names_and_formats_keep_caches_apart(level: RedisLevel, server: RedisServer) -> None:
    """Names keep caches apart, and long keys are short in Redis."""
    await made(level, "'a'", 1)
    await made(level, "k" * 4000, 2)
    assert await value_of(RedisLevel("others", server.url), "'a'") == "nothing"
    assert await value_of(level, "k" * 4000) == 2
    keys = server.command("KEYS", "*")
    assert b"tonnage:1:{events}:entry:'a'" in keys
    assert b"kkkk" not in keys


@pytest.mark.parametrize("forget", ["key", "tag", "all"])
async def test_what_is_forgotten_is_not_found(level: RedisLevel, forget: str) -> None:
    """What is forgotten is not found, whatever the caller knows of its tags."""
    await made(level, "'a'", 1, ("t", "u"))
    await made(level, "'b'", 2, ("v",))
    if forget == "key":
        level.forget_key("'a'")
    elif forget == "tag":
        level.forget_tags(["u"])
    else:
        level.clear()
    assert await value_of(level, "'a'") == "nothing"
    assert await value_of(level, "'a'", "t", "u") == "nothing"
    assert await value_of(level, "'b'") == ("nothing" if forget == "all" else 2)
    await made(level, "'a'", 3, ("t", "u"))
    assert await value_of(level, "'a'") == 3


@pytest.mark.parametrize("forget", ["key", "tag", "all"])
async def test_what_was_being_made_meanwhile_is_not_kept(
    level: RedisLevel, server: RedisServer, forget: str
) -> None:
    """What was being made when it was forgotten, here or elsewhere, is not kept."""
    look = await level.look_async("'a'", ("t",))
    other = RedisLevel("events", server.url)
    if forget == "key":
        other.forget_key("'a'")
    elif forget == "tag":
        other.forget_tags(["t"])
    else:
        other.clear()
    level.keep("'a'", "old", as_of=look.as_of, lasts_seconds=60, tags=("t",))
    assert await value_of(level, "'a'", "t") == "nothing"


async def test_what_is_set_now_counts_from_now_on(level: RedisLevel) -> None:
    """What is set now counts from now on: not what was sent before, but what is sent after."""
    level.forget_key("'a'")
    level.forget_tags(["t"])
    assert level.keep("'a'", 1, as_of=None, lasts_seconds=60, tags=("t",))
    assert await value_of(level, "'a'") == 1
    level.keep("'a'", 2, as_of=None, lasts_seconds=60, tags=("t",))
    level.forget_tags(["t"])
    assert await value_of(level, "'a'") == "nothing"


async def test_what_is_made_anew_after_it_was_forgotten_is_kept(level: RedisLevel) -> None:
    """What is made anew right after it was forgotten is kept."""
    for number in range(20):
        level.forget_tags(["t"])
        await made(level, "'a'", number, ("t",))
        assert await value_of(level, "'a'") == number


async def test_lifetimes_end_and_are_a_day_at_most(level: RedisLevel) -> None:
    """Lifetimes end, and are a day at most."""
    level.keep("'a'", 1, as_of=None, lasts_seconds=0.05)
    level.keep("'b'", 1, as_of=None, lasts_seconds=float("inf"))
    found = (await level.look_async("'b'")).found
    assert found is not None
    assert 86_300 < found.left_seconds <= 86_400
    await asyncio.sleep(0.1)
    assert await value_of(level, "'a'") == "nothing"


async def test_what_redis_evicts_of_versions_voids_more_and_never_less(
    level: RedisLevel, server: RedisServer
) -> None:
    """What Redis evicts of versions voids more, and never less."""
    await made(level, "'a'", 1, ("t",))
    level.forget_tags(["t"])
    await made(level, "'a'", 2, ("t",))
    server.command("DEL", "tonnage:1:{events}:tag:t")
    assert await value_of(level, "'a'", "t") == "nothing"


async def test_what_cannot_be_written_or_is_too_large_stays_in_memory(
    level: RedisLevel, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written or is too large stays in memory; the log says so once for each."""
    level.keep("'a'", "old", as_of=None, lasts_seconds=60)
    for _ in range(3):
        assert not level.keep("'a'", {1, 2}, as_of=None, lasts_seconds=60)
        assert not level.keep("'b'", "x" * 600_000, as_of=None, lasts_seconds=60)
    assert await value_of(level, "'a'") == "nothing"
    assert (level.not_written, level.too_large) == (3, 3)
    told = [each.getMessage() for each in caplog.records]
    assert len(told) == 2
    assert "codec=" in told[0]
    assert "a value of 600003 bytes" in told[1]


async def test_with_a_codec(server: RedisServer, level: RedisLevel) -> None:
    """With a codec; and who has none, or another, does not read what it wrote."""
    pickled = RedisLevel("events", server.url, codec=pickle)
    await made(pickled, "'a'", {1, 2})
    assert await value_of(pickled, "'a'") == {1, 2}
    assert await value_of(level, "'a'") == "nothing"


@pytest.mark.parametrize("entry", ["", "E", "Exyz", "nonsense", "D", "E" + "\x7f" * 40])
async def test_rubbish_in_redis_is_a_miss(
    level: RedisLevel, server: RedisServer, entry: str
) -> None:
    """Rubbish in Redis is a miss, and is written over."""
    server.command("SET", "tonnage:1:{events}:entry:'a'", entry)
    assert await value_of(level, "'a'") == "nothing"
    level.keep("'a'", 1, as_of=None, lasts_seconds=60)
    assert await value_of(level, "'a'") == 1


async def test_what_is_too_large_is_not_even_read(level: RedisLevel, server: RedisServer) -> None:
    """What is too large is not even read, wherever it comes from."""
    large = RedisLevel("events", server.url, most_bytes=1_000_000)
    await made(large, "'a'", os.urandom(900_000))
    assert len(await value_of(large, "'a'")) == 900_000
    assert await value_of(level, "'a'") == "nothing"


@pytest.mark.parametrize("tags", [("x" * 70_000,), tuple(map(str, range(7000)))])
async def test_too_many_tags_are_not_kept(level: RedisLevel, tags: tuple[str, ...]) -> None:
    """What has too many tags, or too long ones, is not kept."""
    assert not level.keep("'a'", 1, as_of=None, lasts_seconds=60, tags=tags)
    level.forget_tags(tags)
    assert await value_of(level, "'a'", *tags) == "nothing"


async def test_without_redis_it_is_a_miss_and_nothing_is_kept(absent: RedisServer) -> None:
    """Without Redis everything is a miss, and nothing is kept."""
    level = RedisLevel("events", absent.url)
    look = await level.look_async("'a'")
    assert look.found is None
    absent.start()
    await asyncio.to_thread(await_true, lambda: not link(absent.url).is_away, "it is back")
    assert not level.keep("'a'", 1, as_of=look.as_of, lasts_seconds=60)
    assert await value_of(level, "'a'") == "nothing"
    await link(absent.url).aclose()


@pytest.mark.parametrize("forget", ["key", "tag", "all", "set"])
async def test_what_is_forgotten_while_redis_is_away_is_not_found_after(
    level: RedisLevel, server: RedisServer, forget: str
) -> None:
    """What is forgotten while Redis is away is not found after."""
    await made(level, "'a'", "old", ("t",))
    assert await value_of(level, "'a'") == "old"
    server.stop()
    await level.look_async("'a'")
    assert link(server.url).is_away
    if forget == "key":
        level.forget_key("'a'")
    elif forget == "tag":
        level.forget_tags(["t"])
    elif forget == "all":
        level.clear()
    else:
        assert not level.keep("'a'", "new", as_of=None, lasts_seconds=60)
    server.go_on()
    await asyncio.to_thread(await_true, lambda: not link(server.url).is_away, "it is back")
    assert await value_of(level, "'a'") == "nothing"
    assert await value_of(RedisLevel("events", server.url), "'a'") == "nothing"


async def test_a_flood_of_things_to_forget_is_bounded(
    level: RedisLevel, server: RedisServer
) -> None:
    """A flood of things to forget is bounded, and forgets everything instead."""
    await made(level, "'a'", 1, ("other",))
    server.stop()
    await level.look_async("'a'")
    for number in range(100_000):
        level.forget_tags([f"tag:{number}"])
    assert level.owed <= MOST_OWED
    server.go_on()
    await asyncio.to_thread(await_true, lambda: not link(server.url).is_away, "it is back")
    assert level.owed == 0
    assert await value_of(level, "'a'") == "nothing"


async def test_a_flood_that_redis_does_not_keep_up_with_is_forgotten_in_the_end(
    level: RedisLevel, server: RedisServer
) -> None:
    """A flood that Redis does not keep up with is forgotten in the end, by others too."""
    await made(level, "'a'", 1, ("tag:9999",))
    assert await value_of(level, "'a'") == 1
    for number in range(10_000):
        level.forget_tags([f"tag:{number}"])
    assert await value_of(level, "'a'") == "nothing"
    await asyncio.to_thread(await_true, lambda: not level.owed, "all is said")
    assert await value_of(RedisLevel("events", server.url), "'a'") == "nothing"
    assert not link(server.url).is_away


async def test_who_forgets_in_a_thread_is_obeyed_at_once(level: RedisLevel) -> None:
    """Who forgets in a thread is obeyed at once, although the loop has its own connection."""
    for number in range(50):
        await made(level, f"'{number}'", 1, ("t",))
        await asyncio.to_thread(level.forget_tags, ["t"])
        assert await value_of(level, f"'{number}'") == "nothing"


async def test_a_plain_function_that_looks_in_the_event_loop_is_answered(level: RedisLevel) -> None:
    """A plain function that looks in the event loop's thread is answered, and obeys as well."""
    await made(level, "'a'", 1, ("t",))
    assert await value_of(level, "'a'") == 1
    found = level.look("'a'").found
    assert found is not None
    assert found.value == 1
    level.forget_tags(["t"])
    assert level.look("'a'").found is None


async def test_one_look_is_one_round_trip(level: RedisLevel, server: RedisServer) -> None:
    """One look is one round trip, whether it finds something or not."""
    await made(level, "'a'", 1, ("t", "u"))
    await value_of(level, "'none'")
    before = link(server.url).statistics().answered
    await value_of(level, "'a'")
    await value_of(level, "'a'", "t", "u")
    await value_of(level, "'none'", "t")
    assert link(server.url).statistics().answered == before + 3


async def test_redis_without_room_keeps_nothing_new_and_forgets_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A Redis without room keeps nothing new, which is told once, and forgets all the same."""
    with RedisServer(maxmemory="2mb", maxmemory_policy="noeviction") as server:
        level = RedisLevel("events", server.url)
        await made(level, "'a'", 1, ("t",))
        await made(level, "'b'", 1)
        for number in range(50):
            level.keep(f"'{number}'", os.urandom(100_000), as_of=None, lasts_seconds=60)
        assert await value_of(level, "'49'") == "nothing"
        assert await value_of(level, "'a'") == 1
        level.forget_tags(["t"])
        level.forget_key("'b'")
        other = RedisLevel("events", server.url)
        assert await value_of(other, "'a'") == "nothing"
        assert await value_of(other, "'b'") == "nothing"
        assert level.owed == 0
        assert caplog.text.count("cannot keep values in Redis") == 1
        await link(server.url).aclose()


async def test_each_time_that_redis_has_no_room_is_told_and_each_end(
    level: RedisLevel, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time that Redis has no room is told, and each end; not twice within a minute."""
    now_seconds = [0.0]
    level = RedisLevel("events", server.url, clock=lambda: now_seconds[0])

    async def keep(number: int) -> None:
        level.keep(f"'{number}'", number, as_of=None, lasts_seconds=60)
        await value_of(level, f"'{number}'")

    for now_seconds[0] in (0.0, 1.0, 61.0):
        server.command("CONFIG", "SET", "maxmemory", "1")
        await keep(1)
        await keep(2)
        server.command("CONFIG", "SET", "maxmemory", "0")
        await keep(3)
        await keep(4)
    told = [each.getMessage() for each in caplog.records]
    assert [" ".join(each.split()[:7]) for each in told if "read" not in each] == [
        "cache 'events' cannot keep values in Redis:",
        "cache 'events' keeps values in Redis again",
    ] * 2


async def test_what_redis_heard_late_the_machine_hears_once_more(
    level: RedisLevel, server: RedisServer
) -> None:
    """Another worker may have come back to Redis sooner, and found what was to be forgotten."""
    workers: Cache[int] = Cache("events", redis=False)
    await made(level, "'a'", 1, ("t",))
    # Whose subscription is not lost does not forget all when Redis is back.
    server.stop()
    while not link(server.url).is_away:
        await level.look_async("'a'")
    level.forget_tags(["t"])
    level.forget_key("'b'")
    # Only what is heard later than so was late.
    await asyncio.sleep(LATE_SECONDS)
    workers.set("a", 1, tags=("t",))
    workers.set("b", 2)
    workers.set("c", 3, tags=("u",))
    server.go_on()
    await asyncio.to_thread(await_true, lambda: "a" not in workers, "the tag is forgotten")
    await asyncio.to_thread(await_true, lambda: "b" not in workers, "the key is forgotten")
    assert "c" in workers


async def test_what_redis_hears_at_once_is_not_said_twice(level: RedisLevel) -> None:
    """What Redis hears at once is not said twice: a value made since then stays."""
    workers: Cache[int] = Cache("events", redis=False)
    level.forget_tags(["t"])
    workers.set("a", 1, tags=("t",))
    await value_of(level, "'a'")
    assert level.owed == 0
    await settled()
    assert "a" in workers


async def test_a_user_with_no_more_rights_than_it_needs(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A user with no more rights than the documentation names is enough."""
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "redis.md").read_text()
    rights = re.findall(r"`([^`]*)`", page[page.index("- A user of its own needs") :])[:3]
    words = [word for each in rights for word in each.split()]
    assert {"+eval", "~tonnage:*", "&tonnage:*"} <= set(words)
    server.command("ACL", "SETUSER", "app", "on", ">word", "-@all", "resetchannels", *words)
    url = server.url.replace("unix://", "unix://app:word@") + "?db=1"
    level = RedisLevel("events", url)
    await made(level, "'a'", 1, ("t",))
    assert await value_of(level, "'a'") == 1
    level.forget_tags(["t"])
    level.forget_key("'a'")
    assert await value_of(level, "'a'") == "nothing"
    assert level.owed == 0
    await asyncio.to_thread(
        await_true, lambda: b":1\r\n" in server.command("PUBSUB", "NUMSUB", CHANNEL), "it listens"
    )
    assert caplog.text == ""
    await link(url).aclose()


async def test_it_connects_with_its_first_use_only(server: RedisServer) -> None:
    """It connects with its first use only, not where it is made."""
    RedisLevel("events", server.url)
    assert server.command("CLIENT", "LIST").count(b"id=") == 1


async def test_the_commands_that_fail_are_errors_to_nobody(absent: RedisServer) -> None:
    """Where Redis is away nothing is raised, whatever is told."""
    level = RedisLevel("events", absent.url)
    level.forget_key("'a'")
    level.forget_tags(["t"])
    level.clear()
    assert (await level.look_async("'a'")).found is None
    with pytest.raises(RedisAwayError):
        await link(absent.url).execute("PING")
    await link(absent.url).aclose()


def test_what_was_told_last_is_said_although_the_loop_ends(server: RedisServer) -> None:
    """What was told last is said although the event loop ends right then."""
    level = RedisLevel("events", server.url)

    async def end() -> None:
        await made(level, "'a'", 1, ("t",))
        assert await value_of(level, "'a'") == 1
        level.forget_tags(["t"])

    asyncio.run(end())
    link(server.url).close()
    assert asyncio.run(value_of(level, "'a'")) == "nothing"
    link(server.url).close()
