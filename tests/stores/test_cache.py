"""The cache: its bounds, its lifetimes, its tags, and one making for all who miss."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from functools import partial
from typing import Any

import pytest
from tests.support.clock import Clock
from tests.support.waiting import await_true

from tonnage import Cache
from tonnage.errors import ConfigError, StoreError
from tonnage.governor.consumers import registry
from tonnage.stores.shelf import ENTRY_BYTES, LARGE_BYTES, LARGE_HOLES, SMALL_HOLES, TAG_BYTES
from tonnage.stores.sizes import size_bytes
from tonnage.units import KIB, MIB


@pytest.fixture
def clock() -> Clock:
    """Yield a clock that stands."""
    return Clock()


def cache(clock: Clock | None = None, **options: Any) -> Cache[Any]:
    """Return a cache whose time is *clock*'s."""
    return Cache("test", clock=clock or Clock(), **options)


def test_what_was_set_is_found() -> None:
    """Until it is deleted, or something else is set."""
    found = cache()
    assert found.get("a") is None
    assert found.get("a", "none") == "none"
    assert found.set("a", 1)
    assert found.set("a", 2)
    assert (found.get("a"), len(found), "a" in found) == (2, 1, True)
    assert found.delete("a")
    assert not found.delete("a")
    assert (found.get("a"), len(found), found.used_bytes) == (None, 0, 0)


@pytest.mark.parametrize(
    "ask",
    [lambda found, key: found.get(key), lambda found, key: found.get_or_make(key, str)],
    ids=["get", "get_or_make"],
)
@pytest.mark.parametrize(("times", "staying"), [(1, 0), (2, 50)])
def test_entries_are_bounded(
    ask: Callable[[Cache[Any], int], object], times: int, staying: int
) -> None:
    """What was asked for again stays."""
    found = cache(max_entries=100)
    for key in range(50):
        found.set(key, "x")
        for _ in range(times):
            ask(found, key)
    for key in range(1000, 2000):
        found.set(key, "x")

    assert len(found) == 100
    assert sum(key in found for key in range(50)) == staying
    assert found.statistics().gone == {"evicted": 950}


def test_bytes_are_bounded() -> None:
    """With what the cache itself takes for each entry."""
    found = cache(max_bytes="64K")
    for key in range(1000):
        found.set(key, b"x" * 1000)
        assert found.used_bytes <= 64 * KIB

    assert found.used_bytes > 60 * KIB
    each_bytes = 1040 + ENTRY_BYTES + 32
    each_bytes += each_bytes // SMALL_HOLES
    assert found.used_bytes == len(found) * each_bytes


@pytest.mark.parametrize("key", ["", "a", "é" * 7, "k" * 100, 7, ("a", 1)])
@pytest.mark.parametrize("value", [b"", b"x" * 100, "text", [1]])
def test_an_entry_weighs_what_it_is_estimated_to_take(key: Hashable, value: object) -> None:
    """Its key, its value, its tags, and what the cache needs for it."""
    found = cache()
    found.set(key, value)
    each_bytes = ENTRY_BYTES + size_bytes(key) + size_bytes(value)
    assert found.used_bytes == each_bytes + each_bytes // SMALL_HOLES

    found.set(key, value, tags=["one", "two"])
    each_bytes += 2 * TAG_BYTES
    assert found.used_bytes == each_bytes + each_bytes // SMALL_HOLES


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    """Nor is what it would have replaced: that is not true any more."""
    found = cache(max_bytes="10K")
    found.set("a", "small")

    assert not found.set("a", b"x" * 20_000)
    assert not found.set("b", b"x" * 20_000)
    assert "a" not in found
    assert (found.statistics().too_large, found.statistics().gone) == (2, {"replaced": 1})


@pytest.mark.parametrize("size", [LARGE_BYTES - 1, LARGE_BYTES])
def test_what_fills_the_cache_exactly_is_kept(size: int) -> None:
    """With what it leaves unused beside it: more where it is large."""
    given_bytes = size - ENTRY_BYTES - size_bytes("a")
    each_bytes = size + size // (SMALL_HOLES if size < LARGE_BYTES else LARGE_HOLES)

    assert cache(max_bytes=each_bytes).set("a", object(), size_bytes=given_bytes)
    assert not cache(max_bytes=each_bytes - 1).set("a", object(), size_bytes=given_bytes)


def test_one_entry_is_enough(clock: Clock) -> None:
    """And nobody has to give it a name, or gets what is too old without having said so."""
    found: Cache[str] = Cache(max_entries=1, ttl=60, clock=clock)
    found.set("a", "old")
    while "a" in found:
        clock.seconds += 0.25

    assert found.get_or_make("a", lambda: "new") == "new"
    assert (found.name, len(found)) == ("cache", 1)


def test_what_has_no_time_is_not_kept() -> None:
    """Nor what was there before."""
    found = cache()
    found.set("a", 1)

    assert not found.set("a", 2, ttl=0)
    assert len(found) == 0


def test_its_size_may_be_said() -> None:
    """Where nobody can see it."""
    found = cache(max_bytes="1M")
    found.set("picture", object(), size_bytes=100_000)

    assert 100_000 < found.used_bytes - (100_000 // LARGE_HOLES) < 101_000


@pytest.mark.parametrize("ttl", [60, "1m", "60s"])
def test_an_entry_expires(clock: Clock, ttl: float | str) -> None:
    """By the cache's time, or by its own."""
    found = cache(clock, ttl=ttl)
    found.set("a", 1)
    found.set("b", 2, ttl="2m")
    clock.seconds += 53.9
    assert (found.get("a"), found.get("b")) == (1, 2)
    clock.seconds += 6.2
    assert (found.get("a"), found.get("b")) == (None, 2)
    assert "a" not in found
    assert found.statistics().gone == {"expired": 1}


async def test_without_a_lifetime_it_stays(clock: Clock) -> None:
    """However it is asked for."""
    found = cache(clock, ttl=None)

    async def make() -> int:
        return 3

    found.set("a", 1)
    clock.seconds += 1e9
    assert found.get("a") == 1
    assert found.get_or_make("a", lambda: 2) == 1
    assert await found.get_or_await("a", make) == 1
    assert (found.statistics().hits, found.statistics().stale_hits) == (3, 0)


def test_lifetimes_differ(clock: Clock) -> None:
    """What was filled at one moment does not expire at one."""
    found: Cache[int] = Cache("test", ttl=100, clock=clock)
    for key in range(100):
        found.set(key, key)
    clock.seconds += 95
    left = sum(key in found for key in range(100))
    clock.seconds += 5.01

    assert 0 < left < 100
    assert not any(key in found for key in range(100))


def test_nothing_is_kept_for_less_long(clock: Clock) -> None:
    """What a function did not find may be there soon."""
    found = cache(clock, ttl=60, none_ttl=5)
    asked: list[int] = []

    @found.cached
    def load(number: int) -> int | None:
        asked.append(number)
        return None if number < 0 else number

    for _ in range(2):
        assert (load(-1), load(1)) == (None, 1)
    clock.seconds += 6
    assert (load(-1), load(1)) == (None, 1)
    assert asked == [-1, 1, -1]


def test_tags_take_out_what_they_touch() -> None:
    """And nothing else."""
    found = cache()
    found.set("list", [1, 2], tags=["events"])
    found.set("event 1", 1, tags=["events", "event:1"])
    found.set("event 2", 2, tags=["events", "event:2"])
    found.set("other", 3)

    assert found.invalidate("event:1", "unknown") == 1
    assert [key in found for key in ("list", "event 1", "event 2", "other")] == [1, 0, 1, 1]
    assert found.invalidate("events") == 2
    assert found.invalidate("events") == 0
    assert len(found) == 1


def test_tags_do_not_outlive_their_entries() -> None:
    """However those have left."""
    found = cache(max_entries=10)
    for number in range(1000):
        found.set(number % 30, number, tags=[f"tag:{number}"])
    assert len(found._tagged) == 10
    found.clear()
    assert not found._tagged


def test_a_function_is_asked_once(clock: Clock) -> None:
    """For each of its arguments."""
    found = cache(clock)
    asked: list[object] = []

    @found.cached(ttl="1m", tags=lambda name, **_: [f"name:{name}"])
    def load(name: str, *, size: int = 1) -> str:
        """Load it."""
        asked.append((name, size))
        return name * size

    assert [load("a"), load("a"), load("b", size=2), load("b", size=2)] == ["a", "a", "bb", "bb"]
    assert asked == [("a", 1), ("b", 2)]
    assert (load.__name__, load.__doc__) == ("load", "Load it.")
    found.invalidate("name:a")
    clock.seconds += 61
    assert [load("a"), load("b", size=2)] == ["a", "bb"]
    assert len(asked) == 4


@pytest.mark.parametrize("awaited", [False, True])
async def test_what_is_given_by_name_counts_too(clock: Clock, awaited: bool) -> None:
    """For the key, for the tags and for the function; as a coroutine as well."""
    found = cache(clock)
    asked: list[tuple[str, int]] = []

    def load(name: str, *, size: int = 1) -> str:
        asked.append((name, size))
        return name * size

    async def load_later(name: str, *, size: int = 1) -> str:
        return load(name, size=size)

    function: Callable[..., Any] = load_later if awaited else load
    kept = found.cached(ttl="1m", tags=lambda name, *, size: f"{name}:{size}")(function)

    async def ask(name: str, size: int) -> Any:
        return await kept(name, size=size) if awaited else kept(name, size=size)

    asking = [("a", 2), ("a", 2), ("a", 3), ("b", 3)]
    assert [await ask(*each) for each in asking] == ["aa", "aa", "aaa", "bbb"]
    assert asked == asking[1:]
    assert kept.__name__ == function.__name__

    assert found.invalidate("a:3") == 1
    assert [await ask(*each) for each in asking] == ["aa", "aa", "aaa", "bbb"]
    assert asked[3:] == [("a", 3)]
    clock.seconds += 61
    await ask("a", 2)
    assert asked[4:] == [("a", 2)]


def test_a_key_may_be_made_of_the_arguments() -> None:
    """For what cannot be a key itself."""
    found = cache()

    @found.cached(key=lambda row: row["id"])
    def name_of(row: dict[str, Any]) -> str:
        return str(row["name"])

    assert name_of({"id": 1, "name": "a"}) == "a"
    assert name_of({"id": 1, "name": "b"}) == "a"


def test_a_thousand_who_miss_have_it_made_once() -> None:
    """In one event loop."""
    found = cache()
    asked: list[int] = []

    @found.cached
    async def load(number: int) -> int:
        asked.append(number)
        await asyncio.sleep(0.01)
        return number

    async def story() -> list[int]:
        return await asyncio.gather(*(load(7) for _ in range(1000)))

    assert asyncio.run(story()) == [7] * 1000
    assert asked == [7]
    assert found.statistics().shared == 999


def test_threads_who_miss_have_it_made_once() -> None:
    """One makes it, the others wait for that one."""
    found = cache()
    may_go_on, asked, got = threading.Event(), [], []

    def make() -> int:
        asked.append(1)
        may_go_on.wait(5.0)
        return 7

    threads = [
        threading.Thread(target=lambda: got.append(found.get_or_make("a", make))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    await_true(lambda: found.statistics().shared == 7, "the others wait")
    may_go_on.set()
    for thread in threads:
        thread.join(5.0)

    assert (got, asked) == ([7] * 8, [1])


def test_threads_who_wait_get_the_error_too() -> None:
    """Each of them, and it is not kept."""
    found = cache()
    may_fail = threading.Event()
    errors: list[str] = []

    def make() -> int:
        may_fail.wait(5.0)
        raise ValueError("no")

    def ask() -> None:
        try:
            found.get_or_make("a", make)
        except ValueError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    await_true(lambda: found.statistics().shared == 2, "the others wait")
    may_fail.set()
    for thread in threads:
        thread.join(5.0)
    assert errors == ["no"] * 3
    assert found.get_or_make("a", lambda: 7) == 7


def test_an_event_loop_that_ends_takes_what_it_makes_with_it() -> None:
    """Whoever asks in another one has it made anew."""
    found = cache()

    async def never() -> int:
        await asyncio.Future[None]()
        return 0

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await found.get_or_await("a", never)

    async def make() -> int:
        return 7

    asyncio.run(give_up())
    assert asyncio.run(found.get_or_await("a", make)) == 7


def test_what_a_thread_and_a_task_make_at_once_is_kept_by_neither_if_it_has_changed() -> None:
    """Each is told of it, for each makes its own."""
    found = cache()
    begun: list[str] = []
    may_go_on = threading.Event()

    def make_in_thread() -> str:
        begun.append("thread")
        may_go_on.wait(5.0)
        return "thread"

    async def make() -> str:
        begun.append("task")
        while not may_go_on.is_set():  # noqa: ASYNC110  (of a thread)
            await asyncio.sleep(0.001)
        return "task"

    async def story() -> list[str]:
        both = asyncio.gather(
            asyncio.to_thread(found.get_or_make, "a", make_in_thread),
            found.get_or_await("a", make),
        )
        await asyncio.to_thread(await_true, lambda: len(begun) == 2, "both have begun")
        found.delete("a")
        may_go_on.set()
        return list(await both)

    assert asyncio.run(story()) == ["thread", "task"]
    assert found.get("a") is None


def test_an_error_reaches_everybody_and_is_not_kept() -> None:
    """Whoever comes later tries again."""
    found = cache()
    answers: list[Any] = [ValueError("no"), 7]

    async def make() -> int:
        await asyncio.sleep(0)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    async def story() -> list[Any]:
        failed = await asyncio.gather(
            *(found.get_or_await("a", make) for _ in range(3)), return_exceptions=True
        )
        return [*map(str, failed), await found.get_or_await("a", make)]

    assert asyncio.run(story()) == ["no", "no", "no", 7]


def test_who_gives_up_does_not_stop_it_for_the_others() -> None:
    """Not even the one who asked first."""
    found = cache()

    async def make() -> int:
        await asyncio.sleep(0.01)
        return 7

    async def story() -> int:
        first = asyncio.ensure_future(found.get_or_await("a", make))
        second = asyncio.ensure_future(found.get_or_await("a", make))
        await asyncio.sleep(0)
        first.cancel()
        return int(await second)

    assert asyncio.run(story()) == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.invalidate("event:1"),
        lambda found: found.delete("a"),
        lambda found: found.clear(),
        lambda found: found.set("a", "new"),
    ],
    ids=["invalidated", "deleted", "cleared", "set"],
)
def test_what_has_changed_meanwhile_is_not_kept(change: Callable[[Cache[Any]], object]) -> None:
    """It was made of what is not true any more; whoever waits for it gets it all the same."""
    found = cache()

    async def make() -> str:
        change(found)
        await asyncio.sleep(0)
        return "old"

    def make_in_thread() -> str:
        change(found)
        return "old"

    assert asyncio.run(found.get_or_await("a", make, tags=["event:1"])) == "old"
    assert found.get("a") in (None, "new")
    found.clear()
    assert found.get_or_make("a", make_in_thread, tags=["event:1"]) == "old"
    assert found.get("a") in (None, "new")


def test_a_stale_value_is_given_out_while_it_is_made_anew(clock: Clock) -> None:
    """So nobody waits, for as long as that is allowed."""
    found = cache(clock, ttl=60, stale=30)
    made = iter("abc")

    async def make() -> str:
        return next(made)

    async def story() -> list[str]:
        got = [await found.get_or_await("k", make)]
        clock.seconds += 61
        got.append(await found.get_or_await("k", make))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        got.append(await found.get_or_await("k", make))
        clock.seconds += 91
        got.append(await found.get_or_await("k", make))
        return got

    assert asyncio.run(story()) == ["a", "a", "b", "c"]
    assert found.statistics().stale_hits == 1


def test_a_stale_value_is_made_anew_in_a_thread(clock: Clock) -> None:
    """Where there is no event loop."""
    found = cache(clock, ttl=60, stale=30)
    made = iter("ab")
    assert found.get_or_make("k", lambda: next(made)) == "a"
    clock.seconds += 61

    assert found.get_or_make("k", lambda: next(made)) == "a"
    await_true(lambda: found.get_or_make("k", lambda: "c") == "b", "it is made anew")


def test_a_stale_value_is_made_anew_once(clock: Clock) -> None:
    """However many get it meanwhile."""
    found = cache(clock, ttl=60, stale=30)
    found.set("k", "a")
    clock.seconds += 61
    asked: list[int] = []
    may_go_on = threading.Event()

    def make() -> str:
        asked.append(1)
        may_go_on.wait(5.0)
        return "b"

    assert found.get_or_make("k", make) == "a"
    await_true(lambda: asked, "it is being made")
    assert [found.get_or_make("k", make) for _ in range(10)] == ["a"] * 10
    may_go_on.set()
    await_true(lambda: found.get("k") == "b", "it is made anew")
    assert asked == [1]


def test_a_lookup_leaves_what_is_stale_to_whoever_may_have_it(clock: Clock) -> None:
    """For get() it is not there; it goes when nobody may have it any more."""
    found = cache(clock, ttl=60, stale=30)
    found.set("k", "old")
    while "k" in found:
        clock.seconds += 0.25
    assert found.get("k") is None
    assert len(found) == 1
    assert found.get_or_make("k", lambda: "new") == "old"
    assert found.statistics().stale_hits == 1
    await_true(lambda: found.get("k") == "new", "it is made anew")

    clock.seconds += 91
    assert found.get("k") is None
    assert len(found) == 0


def test_what_is_replaced_while_it_is_found_to_be_too_old_stays() -> None:
    """The new value, by its own time."""

    class Meddler(Clock):
        """Is asked between finding an entry and taking it out."""

        meddles = False

        def __call__(self) -> float:
            now_seconds = super().__call__()
            if self.meddles:
                self.meddles = False
                self.seconds += 1
                found.set("a", "new")
            return now_seconds

    clock = Meddler()
    found = cache(clock, ttl=60)
    found.set("a", "old")
    clock.seconds += 61
    clock.meddles = True
    assert found.get("a") is None
    assert found.get("a") == "new"


def test_it_gives_memory_back(clock: Clock) -> None:
    """What has expired goes first, then what is worth least."""
    found = cache(clock, ttl=60)
    for key in range(100):
        found.set(("old", key), b"x" * 1000)
    clock.seconds += 61
    for key in range(100):
        found.set(key, b"x" * 1000)
    before = found.used_bytes

    assert found.shrink(before // 2 + 1) == pytest.approx(before / 2, rel=0.05)
    assert all(key in found for key in range(100))
    assert found.shrink(before // 4) > 0
    assert found.used_bytes <= before // 4
    assert found.shrink(0) > 0
    assert (len(found), found.used_bytes) == (0, 0)
    gone = found.statistics().gone
    assert (gone["expired"], gone["pressure"]) == (100, 100)


def test_it_is_registered_as_long_as_it_lives() -> None:
    """Memory is asked back of it by its name."""
    found: Cache[bytes] = Cache("registered-cache", priority=7)
    found.set("a", b"x" * 10_000)
    (use,) = [each for each in registry.uses() if each.name == "registered-cache"]
    assert (use.priority, use.used_bytes) == (7, found.used_bytes)
    assert registry.shrink("registered-cache", 0) > 10_000
    assert len(found) == 0

    del found
    gc.collect()
    assert "registered-cache" not in [each.name for each in registry.uses()]


def test_what_another_thread_takes_out_while_it_is_looked_up_is_a_miss() -> None:
    """Neither half an entry nor an error."""

    class Meddler(Clock):
        """Is asked between finding an entry and reading its value."""

        meddles = False

        def __call__(self) -> float:
            if self.meddles:
                found.delete("a")
            return super().__call__()

    clock = Meddler()
    found = cache(clock, ttl=60)
    found.set("a", "old")
    clock.meddles = True
    assert found.get("a") is None
    clock.meddles = False
    found.set("a", "old")
    clock.meddles = True
    assert found.get_or_make("a", lambda: "new") == "new"
    assert (found.statistics().hits, found.statistics().misses) == (0, 2)


def test_threads_do_not_disturb_each_other() -> None:
    """Whatever eight of them do at once, the books balance, and nobody gets another's value."""
    found = cache(max_bytes="100K")
    begin, wrong = threading.Barrier(8), []

    def work(seed: int) -> None:
        begin.wait()
        for at in range(3000):
            key = (at * seed) % 97
            value = found.get(key)
            if value is not None and value[:2] != b"%02d" % key:
                wrong.append((key, value))
            if at % 50 == 0:
                found.invalidate(f"tag:{key % 5}")
            elif at % 3 == 0:
                found.set(key, b"%02d" % key + b"x" * (at % 900), tags=[f"tag:{key % 5}"])
            elif at % 111 == 0:
                found.delete(key)
            elif at % 333 == 1:
                found.shrink(10_000)
            elif at == 1500:
                found.clear()

    threads = [
        threading.Thread(target=work, args=(seed,)) for seed in (3, 5, 7, 11, 13, 17, 19, 23)
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30.0)
    finally:
        sys.setswitchinterval(before)

    assert not wrong
    entries = found._policy.entries
    assert 0 < found.used_bytes == sum(entry.weight for entry in entries.values())
    assert {key: entry.key for key, entry in entries.items()} == {key: key for key in entries}
    tagged = {key for keys in found._tagged.values() for key in keys}
    assert tagged == {key for key, entry in entries.items() if entry.tags}
    for _ in range(len(entries)):
        found._policy.evict()
    assert found.used_bytes == 0


def test_statistics_say_what_has_become_of_it() -> None:
    """Hits and misses, and who is gone and why."""
    found = cache(max_entries=2)
    for key in "abc":
        found.set(key, key)
    found.get("c")
    found.get("c")
    found.get("a")
    found.get("a")
    said = found.statistics()

    assert (said.name, said.entries, said.max_entries, said.sets) == ("test", 2, 2, 3)
    assert (said.hits, said.misses, said.hit_ratio) == (2, 2, 0.5)
    assert said.gone == {"evicted": 1}
    assert (said.used_bytes, said.max_bytes) == (found.used_bytes, 16 * MIB)
    assert (said.shared_hits, said.redis_hits) == (0, 0)
    assert (said.shared_used_bytes, said.shared_max_bytes) == (0, 0)
    assert cache().statistics().hit_ratio == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_bytes": "many"}, "is not a size"),
        ({"max_bytes": 100}, "holds nothing"),
        ({"max_entries": 0}, "holds nothing"),
        ({"ttl": "soon"}, "is not a duration"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], complaint: str) -> None:
    """With what to write."""
    with pytest.raises(ConfigError, match=complaint):
        Cache("test", **options)


# Functions whose results are kept.


class Doubling:
    """Something that can be called."""

    def __init__(self, factor: int = 2) -> None:
        self.factor = factor

    def __call__(self, number: int) -> int:
        """Return it times the factor."""
        return self.factor * number

    def of(self, number: int) -> int:
        """Return the same."""
        return self.factor * number


def test_functions_of_one_name_have_values_of_their_own() -> None:
    """Functions within functions, lambdas, methods of objects, and what has no name at all."""
    found = cache()

    def times(factor: int) -> Callable[[int], int]:
        @found.cached
        def multiply(number: int) -> int:
            return factor * number

        return multiply

    families: list[Callable[[int], Callable[[int], int]]] = [
        times,
        lambda factor: found.cached(lambda number: factor * number),
        lambda factor: found.cached(Doubling(factor).of),
        lambda factor: found.cached(Doubling(factor)),
        lambda factor: found.cached(partial(int.__mul__, factor)),
    ]
    for family in families:
        both = family(2), family(3)
        assert [each(10) for each in both * 2] == [20, 30, 20, 30]
    assert (found.statistics().misses, found.statistics().hits) == (10, 10)


async def test_an_object_that_is_called_may_be_awaited() -> None:
    """As a coroutine function is."""

    class Asking:
        async def __call__(self, number: int) -> int:
            return number

    found = cache()
    ask = found.cached(Asking())
    assert [await ask(7), await ask(7)] == [7, 7]
    assert found.statistics().hits == 1


def test_what_makes_its_values_one_after_the_other_is_refused() -> None:
    """Who came second would find none left."""

    def numbers() -> Iterator[int]:
        yield 7

    async def later() -> AsyncIterator[int]:
        yield 7

    for function in (numbers, later):
        with pytest.raises(ConfigError, match="have it return a list"):
            cache().cached(function)
    with pytest.raises(ConfigError, match="takes a function, and not 7"):
        cache().cached(7)  # type: ignore[call-overload]


def test_who_asks_for_what_he_makes_is_told() -> None:
    """Instead of waiting for himself; the key can be asked for afterwards."""
    found = cache()

    @found.cached
    def endless(number: int) -> int:
        return endless(number) + 1

    for _ in range(2):
        with pytest.raises(StoreError, match=r"endless>, \(7,\)\), its own value is asked for"):
            endless(7)

    @found.cached
    def factorial(number: int) -> int:
        return number * factorial(number - 1) if number else 1

    assert factorial(5) == 120


async def test_a_task_that_asks_for_what_it_makes_is_told() -> None:
    """Instead of waiting for itself."""
    found = cache()

    @found.cached
    async def endless(number: int) -> int:
        return await endless(number) + 1

    for _ in range(2):
        with pytest.raises(StoreError, match="its own value is asked for"):
            async with asyncio.timeout(5):
                await endless(7)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python has no eager tasks")
async def test_what_is_made_at_once_in_an_eager_task_is_kept() -> None:
    """Such a task is over when it has been begun, and may have another value made meanwhile."""
    found = cache()

    @found.cached
    async def factorial(number: int) -> int:
        return number * await factorial(number - 1) if number else 1

    async def fail() -> int:
        raise LookupError

    loop = asyncio.get_running_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - not in 3.11
    assert [await factorial(5), await factorial(5)] == [120, 120]
    with pytest.raises(LookupError):
        await found.get_or_await("a", fail)
    assert (found.statistics().hits, len(found)) == (1, 6)


def test_one_text_is_one_tag() -> None:
    """And not one for each letter."""
    found = cache()
    found.set("a", 1, tags="event:7")
    found.get_or_make("b", lambda: 1, tags="event:7")
    found.cached(tags=lambda: "event:7")(Doubling.__name__.lower)()
    assert found.invalidate("e", "7") == 0
    assert found.invalidate("event:7") == 3


@pytest.mark.parametrize(
    ("work", "complaint"),
    [
        (lambda: Cache(5), "a cache is called by a text, such as 'events', and not 5"),  # type: ignore[arg-type]
        (lambda: Cache(""), "a cache is called by a text"),
        (lambda: cache(max_entries="100"), "max_entries='100' is no whole number"),
        (lambda: cache(max_entries=1.5), r"max_entries=1\.5 is no whole number"),
        (lambda: cache().set("a", 1, tags=[7]), "a tag is a text, such as 'event:7', and not 7"),  # type: ignore[list-item]
        (lambda: cache().invalidate(["event:7"]), "a tag is a text"),  # type: ignore[arg-type]
        (lambda: cache().set("a", 1, size_bytes=-100_000), "size_bytes is a whole number from 0"),
        (lambda: cache().set("a", 1, size_bytes="1K"), "and not '1K'"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_meant_is_refused(work: Callable[[], object], complaint: str) -> None:
    """By what it is, instead of failing later, or holding no bound."""
    with pytest.raises(ConfigError, match=complaint):
        work()
