"""Those who can give memory back: who is one, who is asked first, and what a broken one does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.support.forking import fork, status_of

import tonnage
from tonnage.errors import TonnageError
from tonnage.governor.consumers import (
    COMPLAINT_SECONDS,
    DEFAULT_PRIORITY,
    DROPPED_SECONDS,
    LARGEST_BYTES,
    LONGEST_NAME,
    MAX_CONSUMERS,
    SLOW_SECONDS,
    Registry,
    Use,
    registry,
    targets,
)
from tonnage.governor.levels import Level
from tonnage.units import MIB


class Cache:
    """A consumer that does as it is told."""

    def __init__(self, name: str = "pages", used_bytes: int = 100) -> None:
        self.name = name
        self.used_bytes = used_bytes

    def shrink(self, target_bytes: int) -> int:
        """Let go of what is too much."""
        freed = max(0, self.used_bytes - target_bytes)
        self.used_bytes -= freed
        return freed


class Broken(Cache):
    """A consumer whose properties and methods do what the test says."""

    def __init__(
        self, used: Callable[[], object] = int, shrinking: Callable[[], object] = int
    ) -> None:
        self.name = "broken"
        self._used, self._shrinking = used, shrinking

    @property
    def used_bytes(self) -> int:  # type: ignore[override]
        """Return, or do, whatever."""
        return self._used()  # type: ignore[return-value]

    def shrink(self, target_bytes: int) -> int:
        """Return, or do, whatever."""
        return self._shrinking()  # type: ignore[return-value]


def explode() -> object:
    """Fail as a user's code may."""
    raise ValueError("no such shelf")


USES = (Use("sessions", 100, 40), Use("pages", 10, 60), Use("images", 10, 200))


@pytest.mark.parametrize(
    ("level", "need_bytes", "expected"),
    [
        (Level.OK, 1000, []),
        (Level.WARNING, 0, []),
        (Level.WARNING, -5, []),
        (Level.WARNING, 30, [("images", 170)]),
        (Level.WARNING, 110, [("images", 100), ("pages", 50)]),
        (Level.WARNING, 1000, [("images", 100), ("pages", 30), ("sessions", 20)]),
        (Level.CRITICAL, 0, [("images", 0), ("pages", 0), ("sessions", 0)]),
        (Level.EXHAUSTED, 0, [("images", 0), ("pages", 0), ("sessions", 0)]),
    ],
)
def test_how_far_each_shrinks(
    level: Level, need_bytes: int, expected: list[tuple[str, int]]
) -> None:
    """Low numbers first, the largest of these first; half at WARNING, all from CRITICAL on."""
    assert targets(level, USES, need_bytes) == expected


uses = st.lists(
    st.builds(Use, st.uuids().map(str), st.integers(-5, 5), st.integers(0, 2**40)), max_size=8
)


@given(uses, st.integers(-10, 2**42))
def test_warning_takes_what_is_needed_and_no_more(found: list[Use], need_bytes: int) -> None:
    """And at most half of anybody; a higher number gives nothing while a lower one still could."""
    asked = dict(targets(Level.WARNING, found, need_bytes))
    given_up = {use.name: use.used_bytes - asked.get(use.name, use.used_bytes) for use in found}

    assert sum(given_up.values()) == min(
        max(0, need_bytes), sum(use.used_bytes // 2 for use in found)
    )
    for use in found:
        assert 0 <= given_up[use.name] <= use.used_bytes // 2
        spared = [e for e in found if e.priority < use.priority]
        if given_up[use.name]:
            assert all(given_up[each.name] == each.used_bytes // 2 for each in spared)


def test_what_is_registered_says_what_it_holds_and_shrinks() -> None:
    """Until its registration is closed, which may be done twice."""
    found, cache = Registry(), Cache()
    registration = found.register(cache, priority=10)

    assert found.uses() == [Use("pages", 10, 100)]
    assert found.shrink("pages", 30) == 70
    assert cache.used_bytes == 30

    registration.close()
    registration.close()
    assert found.uses() == []
    assert found.shrink("pages", 0) == 0


def test_what_nobody_keeps_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """`register(Cache())` alone registers nothing; said once a minute, when memory is asked for."""
    now = [100.0]
    found = Registry(lambda: now[0])

    registration = found.register(Cache("pages"))
    found.register(Cache("others"))

    assert registration.name == "pages"
    assert len(found) == 0
    assert caplog.messages == [
        "consumer pages is gone right after it was registered, and gives nothing back: keep the "
        "object, for example in a module's variable; register() does not"
    ]
    now[0] += COMPLAINT_SECONDS
    found.register(Cache("more"))
    assert len(found) == 0
    assert len(caplog.messages) == 2


def test_what_goes_later_or_was_taken_out_needs_no_word(caplog: pytest.LogCaptureFixture) -> None:
    """It was meant."""
    now = [100.0]
    found = Registry(lambda: now[0])
    late, closed = Cache("late"), Cache("closed")
    found.register(late)
    found.register(closed).close()

    del closed
    now[0] += DROPPED_SECONDS
    del late

    assert len(found) == 0
    assert caplog.messages == []


def test_a_script_that_ends_with_its_cache_hears_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody asks it for memory; so that is no news, until somebody does."""
    found = Registry()
    found.register(Cache("pages"))
    assert caplog.messages == []
    assert found.uses() == []
    assert len(caplog.messages) == 1
    assert found.uses() == []
    assert len(caplog.messages) == 1


def test_a_cache_that_is_dropped_disappears() -> None:
    """The registry keeps nothing alive, nor does the registration."""
    found, kept, dropped = Registry(), Cache("kept"), Cache("dropped")
    found.register(kept)
    registration = found.register(dropped)

    del dropped

    assert [use.name for use in found.uses()] == ["kept"]
    registration.close()
    assert len(found) == 1


def test_a_cache_can_be_taken_out_by_itself() -> None:
    """A second time is no error."""
    found, cache, other = Registry(), Cache(), Cache("other")
    registration = found.register(cache)
    found.register(other)

    registration.close()
    registration.close()

    assert [use.name for use in found.uses()] == ["other"]


def test_the_same_cache_is_counted_once() -> None:
    """Registered again, it gets the new priority."""
    found, cache = Registry(), Cache()
    first = found.register(cache)
    found.register(cache, priority=5)
    first.close()

    assert found.uses() == [Use("pages", 5, 100)]


def test_caches_of_one_name_are_told_apart() -> None:
    """The second gets a number, and a name is of bounded length."""
    found, caches = Registry(), [Cache(), Cache(), Cache(), Cache("x" * 1000)]
    names = [found.register(cache).name for cache in caches]

    assert names == ["pages", "pages-2", "pages-3", "x" * LONGEST_NAME]
    assert found.shrink("pages-2", 0) == 100
    assert [cache.used_bytes for cache in caches[:3]] == [100, 0, 100]


def test_there_is_an_end_to_the_registry() -> None:
    """An object registered for each request would fill memory; those that are gone do not count."""
    found = Registry()
    for _ in range(3 * MAX_CONSUMERS):
        found.register(Cache())
    caches = [Cache() for _ in range(MAX_CONSUMERS)]
    for cache in caches:
        found.register(cache)
    found.register(caches[0])

    with pytest.raises(TonnageError, match=f"there are {MAX_CONSUMERS} consumers already"):
        found.register(Cache())


class Slotted:
    """Cannot be referred to weakly."""

    __slots__ = ("used_bytes",)
    name = "slotted"

    def shrink(self, target_bytes: int) -> int:
        """Nothing."""
        return target_bytes


class Nameless(Cache):
    """Its name says nothing."""

    def __init__(self) -> None:
        super().__init__("")


class Stiff:
    """Cannot shrink."""

    name, used_bytes = "stiff", 5


class Vague:
    """Does not say what it holds."""

    name = "vague"

    def shrink(self, target_bytes: int) -> int:
        """Nothing."""
        return target_bytes


class Method(Vague):
    """Says what it holds when called."""

    def used_bytes(self) -> int:
        """As a method."""
        return 5


class Asynchronous(Cache):
    """Shrinks some other time."""

    async def shrink(self, target_bytes: int) -> int:  # type: ignore[override]
        """Nothing."""
        return target_bytes


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Slotted, "'slotted' cannot be registered: Slotted has __slots__ without '__weakref__'"),
        (Nameless, "Nameless is no consumer: it needs a name"),
        (Stiff, r"'stiff' is no consumer: it needs shrink\(target_bytes\)"),
        (Vague, "'vague' is no consumer: it needs used_bytes"),
        (Method, "its used_bytes is a method; make it a @property"),
        (Asynchronous, "its shrink is async, and must be a plain method"),
    ],
)
def test_what_is_no_consumer_is_refused_at_once(kind: Callable[[], Cache], why: str) -> None:
    """And not years later, when memory is short."""
    with pytest.raises(TypeError, match=why):
        Registry().register(kind())


@pytest.mark.parametrize(
    ("broken", "used", "freed", "said"),
    [
        (Broken(explode, explode), 0, 0, "its used_bytes failed"),
        (Broken(lambda: -5, lambda: -5), 0, 0, "its used_bytes said -5 bytes, which cannot be"),
        (Broken(lambda: 1 << 99, lambda: 10**5000), LARGEST_BYTES, LARGEST_BYTES, "cannot be"),
        (Broken(lambda: 1.5, lambda: None), 0, 0, "its used_bytes failed"),
    ],
)
def test_a_broken_consumer_is_named_and_does_not_stop_the_others(
    broken: Broken, used: int, freed: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it says is taken for a figure that can be."""
    found, healthy = Registry(), Cache("healthy")
    found.register(broken)
    found.register(healthy)

    assert found.uses() == [
        Use("broken", DEFAULT_PRIORITY, used),
        Use("healthy", DEFAULT_PRIORITY, 100),
    ]
    assert found.shrink("broken", 0) == freed
    assert found.shrink("healthy", 0) == 100
    assert [f"consumer broken: {said}" in m or said in m for m in caplog.messages] == [True]


def test_a_bound_that_cannot_be_told_stops_no_start(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked for right after the import, when a store may have no connection yet."""

    class Unready(Cache):
        @property
        def max_bytes(self) -> object:
            return explode()

    class Bounded(Cache):
        max_bytes = 500

    found, unready, bounded = Registry(), Unready("unready"), Bounded("bounded")
    found.register(unready)
    found.register(bounded)

    assert found.bounds() == [("bounded", 500)]
    assert "consumer unready: its max_bytes failed" in caplog.text


def test_a_failing_shrink_shows_where_it_failed(caplog: pytest.LogCaptureFixture) -> None:
    """With the traceback, once."""
    found, broken = Registry(), Broken(shrinking=explode)
    found.register(broken)

    assert found.shrink("broken", 0) == 0
    assert "consumer broken: its shrink failed" in caplog.text
    assert "no such shelf" in caplog.text


def test_complaints_come_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Under pressure a consumer is asked twice a second."""
    clock, broken = Clock(), Broken(explode)
    found = Registry(clock)
    found.register(broken)

    for _ in range(10):
        found.uses()
    assert len(caplog.records) == 1
    clock.seconds += COMPLAINT_SECONDS
    found.uses()
    assert len(caplog.records) == 2


@pytest.mark.parametrize(("seconds", "slow"), [(SLOW_SECONDS / 2, False), (0.35, True)])
def test_a_slow_shrink_is_named(
    seconds: float, slow: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It has held up every request of its worker."""
    clock = Clock()

    def dawdle() -> int:
        clock.seconds += seconds
        return 7

    found, broken = Registry(clock), Broken(shrinking=dawdle)
    found.register(broken)

    assert found.shrink("broken", 0) == 7
    said = ["consumer broken: its shrink took 0.35 s and held up every request"]
    assert caplog.messages == (said if slow else [])


def test_a_shrink_may_register_one_and_end_another() -> None:
    """The registry is read without a lock, and is not changed while it is read."""
    found, other = Registry(), Cache("other")

    def swap() -> int:
        registration.close()
        found.register(other)
        return 1

    broken = Broken(shrinking=swap)
    registration = found.register(broken)

    assert found.shrink("broken", 0) == 1
    assert [use.name for use in found.uses()] == ["other"]


def test_threads_may_register_at_the_same_time() -> None:
    """None is lost."""
    found, caches = Registry(), [[Cache() for _ in range(40)] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda row=row: [found.register(cache) for cache in row])
        for row in caches
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({use.name for use in found.uses()}) == 160


def test_a_forked_worker_has_what_was_registered_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As the application's import does, in the process that workers are forked from."""
    caplog.set_level(logging.CRITICAL)
    found, cache = Registry(), Cache()
    found.register(cache)

    def shrink() -> None:
        assert (found.shrink("pages", 40), len(found)) == (60, 1)

    assert status_of(fork(shrink)) == 0
    assert cache.used_bytes == 100


def test_the_package_has_the_menu() -> None:
    """The names of the package itself, loaded when they are used."""
    cache = Cache("from the menu", 3 * MIB)
    registration = tonnage.register(cache, priority=1)
    try:
        assert isinstance(registration, tonnage.Registration)
        assert Use("from the menu", 1, 3 * MIB) in registry.uses()
    finally:
        registration.close()
    assert "from the menu" not in [use.name for use in registry.uses()]
    assert {"register", "Registration", "Consumer"} <= set(dir(tonnage))
    assert not hasattr(tonnage, "does_not_exist")
