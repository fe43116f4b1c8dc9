"""A cache beyond its worker: what workers tell each other, and what they share."""

from __future__ import annotations

import asyncio
import enum
import itertools
import multiprocessing
import re
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.support.clock import Clock
from tests.support.redis import RedisServer
from tests.support.waiting import await_true

from tonnage import Cache
from tonnage.errors import ConfigError
from tonnage.stores import bulletin
from tonnage.stores.redis.link import link
from tonnage.stores.shelf import Shelf

_serial = itertools.count()
_forks = multiprocessing.get_context("fork")


@pytest.fixture
def name() -> str:
    """Return a name that no other test has."""
    return f"levels {next(_serial)}"


class Worker:
    """Another process, forked from this one, with a cache of its own."""

    def __init__(self, *given: Any, **options: Any) -> None:
        self._pipe, theirs = _forks.Pipe()
        self._process = _forks.Process(target=_work, args=(theirs, given, options), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, method: str, *given: Any, **named: Any) -> Any:
        """Have it call a method of its cache; what is to make a value is given as the value."""
        self.begin(method, *given, **named)
        return self.end()

    def begin(self, method: str, *given: Any, **named: Any) -> None:
        """Begin with that."""
        self._pipe.send((method, given, named))

    def end(self) -> Any:
        """Return what comes of it."""
        found = self._pipe.recv()
        if isinstance(found, BaseException):
            raise found
        return found

    def stop(self) -> None:
        """End it, with SIGKILL; any number of times."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _work(pipe: Any, given: tuple[Any, ...], options: dict[str, Any]) -> None:
    cache: Cache[Any] = Cache(*given, **options)
    while True:
        method, args, named = pipe.recv()
        try:
            if method == "get_or_make":
                args = (args[0], lambda made=args[1]: made)
            if method == "beat":
                bulletin.catch_up_all()
                pipe.send(None)
            elif method == "used_bytes":
                pipe.send(cache.used_bytes)
            elif method == "contains":
                pipe.send(args[0] in cache)
            else:
                pipe.send(getattr(cache, method)(*args, **named))
        except BaseException as error:  # noqa: BLE001  (it is raised over there)
            pipe.send(error)


Start = Callable[..., Worker]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return what starts workers; they end with the test."""
    workers: list[Worker] = []
    # As the server does: what is made after the fork is not theirs together.
    bulletin.bulletin()

    def begin(*given: Any, **options: Any) -> Worker:
        workers.append(Worker(*given, **options))
        return workers[-1]

    yield begin
    for each in workers:
        each.stop()


class Colour(enum.Enum):
    """A key that has no name."""

    RED = 1


# What workers tell each other.


def test_invalidate_delete_and_clear_reach_every_worker(name: str, start: Start) -> None:
    """Once they have returned, no lookup anywhere finds what is gone."""
    mine: Cache[int] = Cache(name)
    others = [start(name), start(name)]
    key = ("app.load", (7, UUID(int=7)))
    for each in others:
        each("set", "a", 1, tags=["odd"])
        each("set", "b", 2, tags=["even"])
        each("set", key, 3)
    mine.set("a", 1, tags=["odd"])

    assert mine.invalidate("odd", "other") == 1
    assert [each("get", "a") for each in others] == [None, None]
    assert [each("get", "b") for each in others] == [2, 2]
    assert not mine.delete(key)
    assert [each("contains", key) for each in others] == [False, False]
    assert others[0]("clear") == 1
    assert others[1]("get", "b") is None
    assert others[1]("statistics").gone == {"invalidated": 1, "deleted": 1, "cleared": 1}


def test_caches_of_other_names_are_left_alone(name: str, start: Start) -> None:
    """Also those of this process."""
    mine: Cache[int] = Cache(name)
    other: Cache[int] = Cache(f"{name} too")
    worker = start(f"{name} too")
    worker("set", "a", 1, tags=["odd"])
    other.set("a", 1, tags=["odd"])
    mine.invalidate("odd")
    mine.delete("a")
    mine.clear()
    assert worker("get", "a") == other.get("a") == 1


def test_a_key_without_a_name_clears_the_others(name: str, start: Start) -> None:
    """It might be any of theirs. The one who deletes it knows better."""
    mine: Cache[int] = Cache(name)
    worker = start(name)
    for key in ("a", Colour.RED):
        mine.set(key, 1)
        worker("set", key, 1)
    assert mine.delete(Colour.RED)
    assert mine.get("a") == 1
    assert (worker("get", "a"), worker("get", Colour.RED)) == (None, None)


def test_an_idle_worker_gives_its_memory_back_with_its_next_beat(name: str, start: Start) -> None:
    """Without a lookup."""
    worker = start(name)
    worker("set", "a", "x" * 10_000)
    assert worker("used_bytes") > 10_000
    bulletin.clear(name)
    worker("beat")
    assert worker("used_bytes") == 0


async def test_what_is_being_made_when_a_notice_comes_is_not_kept(name: str, start: Start) -> None:
    """Who waits for it gets it; it was made of what was true before."""
    mine: Cache[str] = Cache(name)
    worker = start(name)

    async def slow() -> str:
        await asyncio.to_thread(worker, "invalidate", "event:7")
        return "old"

    assert await mine.get_or_await("a", slow, tags=["event:7"]) == "old"
    assert "a" not in mine

    def slow_too() -> str:
        worker("delete", "b")
        return "old"

    assert mine.get_or_make("b", slow_too) == "old"
    assert mine.get_or_make("c", slow_too) == "old"
    assert "b" not in mine
    assert "c" in mine


def test_what_is_set_after_it_was_invalidated_stays(name: str) -> None:
    """A cache does not obey its own notice twice."""
    mine: Cache[int] = Cache(name)
    for number in range(100):
        mine.invalidate("tag")
        mine.set("a", number, tags=["tag"])
        assert mine.get("a") == number


def test_a_value_whose_end_uses_the_cache_stops_nobody(name: str) -> None:
    """Two threads, each with what the other needs: it takes a second, and no longer."""
    mine: Cache[Any] = Cache(name)
    other: Cache[Any] = Cache(f"{name} too")
    begun, posted = threading.Event(), threading.Event()

    class Last:
        def __del__(self) -> None:
            begun.set()
            posted.wait(5)
            time.sleep(0.05)
            other.get("a")

    mine.set("a", Last())
    clearing = threading.Thread(target=mine.shrink, args=(0,))
    clearing.start()
    begun.wait(5)
    posted.set()
    bulletin.bulletin().post(name, bulletin.CLEAR)
    clearing.join(10)
    assert not clearing.is_alive()


# What workers share.


def test_what_one_worker_has_made_the_others_find(name: str, start: Start) -> None:
    """By hand, by a function; with its tags; and keep it themselves from then on."""
    options: dict[str, Any] = {"shared": "1M", "ttl": 60}
    first, second = start(name, **options), start(name, **options)
    first("set", "a", {"b": [1]}, tags=["odd"])
    assert first("get_or_make", "c", "made") == "made"
    assert second("get", "a") == {"b": [1]}
    assert second("get_or_make", "c", "made again") == "made"
    assert second("get", "a") == {"b": [1]}
    found = second("statistics")
    assert (found.hits, found.misses, found.shared_hits, found.hit_ratio) == (1, 2, 2, 1.0)
    assert 0 < found.shared_used_bytes < found.shared_max_bytes == 1024 * 1024

    # One that comes later, too.
    first.stop()
    third = start(name, **options)
    assert third("get", "c") == "made"
    second("invalidate", "odd")
    assert (third("get", "a"), second("get", "a")) == (None, None)
    assert third("get", "c") == "made"


@pytest.mark.parametrize(
    ("kind", "what"),
    [(bulletin.KEY, "'a'"), (bulletin.TAG, "odd"), (bulletin.CLEAR, "")],
    ids=["key", "tag", "all"],
)
def test_what_another_instance_forgets_no_worker_finds(name: str, kind: int, what: str) -> None:
    """Neither in its memory nor in what this machine shares."""
    first, second = (Cache[int](name, shared="1M", ttl=60) for _ in range(2))
    first.get_or_make("a", lambda: 1, tags=["odd"])
    assert second.get("a") == 1
    bulletin.bulletin().announce(name, kind, what)
    assert (first.get("a"), second.get("a")) == (None, None)
    assert Cache[int](name, shared="1M", ttl=60).get_or_make("a", lambda: 2) == 2


def test_what_is_to_last_no_time_is_not_shared(name: str) -> None:
    """Whoever asked gets it, and the next has it made anew."""
    first, second = (Cache[int](name, shared="1M", ttl=60) for _ in range(2))
    assert first.get_or_make("a", lambda: 1, ttl=0) == 1
    assert (first.get("a"), second.get("a")) == (None, None)


class SettingCodec:
    """A codec that has a new value set just when an old one is read."""

    cache: Cache[str]
    ttl = 60

    def dumps(self, value: str) -> bytes:
        """Write it."""
        return value.encode()

    def loads(self, data: bytes) -> str:
        """Read it, too late."""
        self.cache.set("a", "new", ttl=self.ttl)
        return data.decode()


@pytest.mark.parametrize(("ttl", "left"), [(60, "new"), (0, None)])
def test_what_is_set_while_it_is_looked_up_stays(name: str, ttl: int, left: str | None) -> None:
    """What this machine had of it before is given to who has asked, and not kept."""
    codec = SettingCodec()
    Cache[str](name, shared="1M", ttl=60, codec=codec).set("a", "old")
    codec.cache, codec.ttl = Cache(name, shared="1M", ttl=60, codec=codec), ttl
    assert codec.cache.get("a") == "old"
    assert codec.cache.get("a") == left


async def test_coroutines_find_it_too(name: str) -> None:
    """Two caches of one name, in one process as in two."""
    made = 0

    async def make() -> int:
        nonlocal made
        made += 1
        return made

    first: Cache[int] = Cache(name, shared="1M", ttl=60)
    second: Cache[int] = Cache(name, shared="1M", ttl=60)
    assert await first.get_or_await("a", make) == 1
    assert await second.get_or_await("a", make) == 1
    assert await asyncio.gather(*(second.get_or_await("b", make) for _ in range(100))) == [2] * 100
    assert await first.get_or_await("b", make) == 2
    said = second.statistics()
    assert (said.shared_hits, said.redis_hits) == (1, 0)
    assert 0 < said.shared_used_bytes < said.shared_max_bytes == 1024 * 1024


async def test_what_was_made_is_shared_with_its_tags(name: str) -> None:
    """So nobody finds it after they were invalidated."""

    def fresh() -> Cache[int]:
        return Cache(name, shared="1M", ttl=60)

    async def make() -> int:
        return 2

    first = fresh()
    first.get_or_make("a", lambda: 1, tags=["odd"])
    await first.get_or_await("b", make, tags=["odd"])
    second = fresh()
    assert (second.get("a"), second.get("b")) == (1, 2)

    fresh().invalidate("odd")
    third = fresh()
    assert (third.get("a"), third.get("b")) == (None, None)


def test_it_lasts_no_longer_than_it_was_meant_to(name: str) -> None:
    """What is found keeps the time that it has left."""
    clock = Clock()
    first: Cache[int] = Cache(name, shared="1M", ttl=60, clock=clock)
    second: Cache[int] = Cache(name, shared="1M", ttl=600, clock=clock)
    first.set("a", 1)
    first.get_or_make("made", lambda: 2)
    assert (second.get("a"), second.get("made")) == (1, 2)
    second.delete("b")  # of no concern
    clock.seconds += 48
    # In its memory; the level has a clock of its own.
    assert Shelf.__contains__(second, "a")
    assert Shelf.__contains__(second, "made")
    clock.seconds += 12
    assert not Shelf.__contains__(second, "a")
    assert not Shelf.__contains__(second, "made")


@pytest.mark.parametrize("how", ["delete", "invalidate", "clear"])
def test_what_is_forgotten_is_forgotten_on_both_levels(name: str, start: Start, how: str) -> None:
    """Also what another worker makes of what it looked up before."""
    options: dict[str, Any] = {"shared": "1M", "ttl": 60}
    mine: Cache[str] = Cache(name, **options)
    other = start(name, **options)
    given = {"delete": ("a",), "invalidate": ("tag",), "clear": ()}[how]
    mine.set("a", "old", tags=["tag"])
    assert other("get", "a") == "old"
    getattr(mine, how)(*given)
    assert other("get", "a") is None
    assert mine.get("a") is None

    def slow() -> str:
        other(how, *given)
        assert other("get_or_make", "a", "new", tags=["tag"]) == "new"
        return "old"

    assert mine.get_or_make("a", slow, tags=["tag"]) == "old"
    assert mine.get("a") == "new"


def test_anybody_may_clear_what_workers_share(name: str, start: Start) -> None:
    """The supervisor has no such cache, and says so to those who have."""
    worker = start(name, shared="1M", ttl=60)
    worker("set", "a", b"x" * 100_000)
    worker("set", "a", b"x" * 50_000)
    assert worker("statistics").shared_used_bytes > 50_000
    bulletin.clear()
    worker("beat")
    assert worker("get", "a") is None
    assert worker("statistics").shared_used_bytes < 20_000


def test_what_replaces_a_value_replaces_it_for_all(name: str) -> None:
    """Also where the new one cannot be shared, or is not to be kept."""
    first: Cache[Any] = Cache(name, shared="1M", ttl=60)

    def fresh() -> Cache[Any]:
        return Cache(name, shared="1M", ttl=60)

    first.set("a", 1)
    first.set("a", 2)
    assert fresh().get("a") == 2
    first.set("a", threading.Lock())
    assert fresh().get("a") is None
    first.set("a", 3)
    first.set("a", 4, ttl=0)
    assert fresh().get("a") is None


def test_what_workers_share_is_in_it(name: str, start: Start) -> None:
    """Whatever get() finds."""
    ours, theirs = Cache[Any](name, shared="1M"), start(name, shared="1M")
    theirs("set", "a", 1)
    assert "a" in ours
    assert "b" not in ours
    theirs("delete", "a")
    assert "a" not in ours


def make_one() -> int:
    """Return what a function with a name of its own returns."""
    return 1


def test_functions_of_one_name_share_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Unless their keys are made by hand; it is said."""
    ours, same = Cache[Any](name, shared="1M"), Cache[Any](name, shared="1M")

    def times(
        found: Cache[Any], factor: int, key: Callable[..., Hashable] | None = None
    ) -> Callable[[int], int]:
        def multiply(number: int) -> int:
            return factor * number

        return found.cached(key=key)(multiply)

    assert [times(ours, 2)(10), times(same, 3)(10)] == [20, 30]
    assert len(caplog.messages) == 2
    assert re.fullmatch(
        rf"cache '{name}': <function .*multiply at \w+> cannot be told from others by its name,"
        r" so what it returns stays with each worker; cached\(key=\.\.\.\) makes keys that mean the"
        r" same in all",
        caplog.messages[0],
    )
    key = "double {}".format
    assert [times(ours, 2, key=key)(10), times(same, 3, key=key)(10)] == [20, 20]
    ours.cached(make_one)
    assert len(caplog.messages) == 2


def test_keys_without_names_are_kept_by_each_alone(name: str) -> None:
    """Keys without names are kept by each alone."""
    first: Cache[int] = Cache(name, shared="1M", ttl=60)
    first.set(Colour.RED, 1)
    assert first.get_or_make(Colour.RED, lambda: 2) == 1
    second: Cache[int] = Cache(name, shared="1M", ttl=60)
    assert second.get_or_make(Colour.RED, lambda: 2) == 2


def test_a_stale_value_is_found_anew_where_another_has_made_it(name: str) -> None:
    """Nobody makes it twice."""
    clock = Clock()
    first: Cache[str] = Cache(name, shared="1M", ttl=60, stale=30, clock=clock)
    first.set("a", "old")
    clock.seconds += 70
    second: Cache[str] = Cache(name, shared="1M", ttl=60)
    second.set("a", "new")
    assert first.get_or_make("a", lambda: "never") == "new"
    assert first.get("a") == "new"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shared": "1M"}, "needs a name of its own"),
        ({"redis": True}, "needs a name of its own"),
        ({"name": "a", "shared": "1K"}, "needs 1 MB at least"),
        ({"name": "a", "shared": "much"}, "much"),
        ({"name": "a", "redis": True}, "set REDIS_URL"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be shared is refused."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(ConfigError, match=message):
        Cache(**options)


# Lifetimes.


def test_lifetimes_come_from_the_settings_where_nobody_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None is something else: for as long as it stays."""
    clock = Clock()
    monkeypatch.setenv("CACHE_TTL", "20s")
    configured: Cache[int] = Cache(clock=clock)
    endless: Cache[int] = Cache(clock=clock, ttl=None)
    for each in (configured, endless):
        each.set("a", 1)
    clock.seconds += 17.9
    assert "a" in configured
    clock.seconds += 2.1
    assert "a" not in configured
    clock.seconds += 1e9
    assert "a" in endless


# Redis.


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """Yield a server for the tests of this module."""
    with RedisServer() as server:
        yield server


@pytest.mark.real
def test_instances_share_what_is_in_redis(
    name: str, start: Start, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked where a value is missing, told without waiting."""
    monkeypatch.setenv("REDIS_URL", redis.url)
    options: dict[str, Any] = {"shared": "1M", "ttl": 60}
    first = start(name, **options)
    assert first("get_or_make", "a", {"b": 1}, tags=["odd"]) == {"b": 1}
    # The machine's own level is not that of the other instance.
    bulletin.clear(name)
    other = start(name, ttl=60)

    await_true(lambda: b"entry" in redis.command("KEYS", "*"), "what the first has made is there")
    assert other("get_or_make", "a", "made again", tags=["odd"]) == {"b": 1}
    assert other("statistics").redis_hits == 1
    assert other("get", "a") == {"b": 1}, "from now on in its memory"
    assert first("get", "a") is None
    first("invalidate", "odd")
    assert other("get", "a") is None
    await_true(lambda: other("get_or_make", "a", 2, tags=["odd"]) == 2, "it was invalidated")


@pytest.mark.real
async def test_coroutines_find_what_is_in_redis(
    name: str, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And keep it themselves from then on."""
    redis.command("FLUSHALL")
    monkeypatch.setenv("REDIS_URL", redis.url)
    first, second = Cache[int](name, ttl=60), Cache[int](name, ttl=60)
    made = iter((7, 8))

    async def make() -> int:
        return next(made)

    assert await first.get_or_await("a", make) == 7
    await_true(lambda: b"entry" in redis.command("KEYS", "*"), "what the first has made is there")
    assert await second.get_or_await("a", make) == 7
    assert second.get("a") == 7
    assert (second.statistics().redis_hits, second.statistics().hits) == (1, 1)


@pytest.mark.real
async def test_what_is_set_while_redis_is_asked_stays(
    name: str, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is given to who has asked, and not kept."""
    redis.command("FLUSHALL")
    monkeypatch.setenv("REDIS_URL", redis.url)
    codec = SettingCodec()
    codec.cache = Cache(name, ttl=60, codec=codec)

    async def make() -> str:
        return "old"

    assert await Cache[str](name, ttl=60, codec=codec).get_or_await("a", make) == "old"
    await_true(lambda: b"entry" in redis.command("KEYS", "*"), "it is there")
    assert await codec.cache.get_or_await("a", make) == "old"
    assert codec.cache.statistics().redis_hits == 1
    assert codec.cache.get("a") == "new"
    await link(redis.url).aclose()


@pytest.mark.real
async def test_without_redis_it_goes_on(
    name: str, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it were not there."""
    monkeypatch.setenv("REDIS_URL", f"unix://{redis.path}.not-there")
    cache: Cache[int] = Cache(name, ttl=60)

    async def make() -> int:
        return 7

    assert await cache.get_or_await("a", make) == 7
    assert cache.get_or_make("b", lambda: 8) == 8
    cache.set("c", 9)
    assert cache.invalidate("x") == 0
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (7, 8, 9)
    assert cache.statistics().redis_hits == 0


def test_a_redis_url_that_makes_no_sense_is_said_and_the_cache_goes_on(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be somebody else's variable; who asks for Redis gets the error."""
    monkeypatch.setenv("REDIS_URL", "gopher://user:hunter2@there")
    found: Cache[int] = Cache(name, ttl=60)
    assert found.get_or_make("a", lambda: 1) == 1
    assert f"cache {name!r} goes on without Redis" in caplog.text
    assert "hunter2" not in caplog.text
    with pytest.raises(ConfigError):
        Cache(name, redis=True)


def test_redis_is_not_used_unless_it_is_meant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches without a name, those that say no, and where it is switched off."""
    monkeypatch.setenv("REDIS_URL", "redis://")
    assert Cache()._beyond is None
    assert Cache(name, redis=False)._beyond is None
    assert Cache(name)._beyond is not None
    monkeypatch.setenv("USE_REDIS", "false")
    assert Cache(name)._beyond is None
