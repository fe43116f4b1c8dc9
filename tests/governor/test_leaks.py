"""What is called a leak, what is not, and how much a request leaks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tonnage.governor.leaks import (
    PATIENT_POINTS,
    POINTS,
    URGENT_POINTS,
    Leak,
    LeakWatch,
    Point,
    bytes_per_request,
    when_full_seconds,
)
from tonnage.units import GIB, KIB, MIB

SEEDS = range(6)
START = 40 * MIB

# What a worker holds, from the seconds since its start and the number of its point.
Memory = Callable[[float, random.Random], float]


def verdicts(
    memory: Memory,
    *,
    every_seconds: float = 60.0,
    points: int = 30,
    per_second: float = 10.0,
    room_bytes: int = GIB,
    seed: int = 1,
) -> Iterator[Leak | None]:
    """Yield what is said after each collection of a worker that holds START + *memory*."""
    watch, chance = LeakWatch(), random.Random(seed)
    for number in range(points):
        now = number * every_seconds
        own = START + int(memory(now, chance))
        room = max(0, room_bytes - own)
        yield watch.note(0, 7, Point(1000 + now, int(now * per_second), own), room_bytes=room)


def pure(bytes_per_second: float) -> Memory:
    """Grow evenly."""
    return lambda now, chance: bytes_per_second * now


def noisy(bytes_per_second: float, noise_bytes: int = 4 * MIB) -> Memory:
    """Grow evenly, each point off by up to *noise_bytes* either way."""
    return lambda now, chance: bytes_per_second * now + chance.uniform(-noise_bytes, noise_bytes)


# Leaks.


@settings(deadline=None)
@given(
    bytes_per_request=st.floats(1 * KIB, 1 * MIB),
    per_second=st.floats(1.0, 500.0),
    every_seconds=st.floats(4.0, 120.0),
)
def test_a_pure_leak_is_found_and_measured(
    bytes_per_request: float, per_second: float, every_seconds: float
) -> None:
    """As soon as enough has grown, and to a percent."""
    memory: Memory = lambda now, chance: bytes_per_request * int(now * per_second)  # noqa: E731
    points = max(
        PATIENT_POINTS, math.ceil(9 * MIB / bytes_per_request / per_second / every_seconds)
    )
    if points > 100:
        return

    *_, leak = verdicts(
        memory, points=points + 1, every_seconds=every_seconds, per_second=per_second
    )

    assert leak is not None
    assert leak.bytes_per_request == pytest.approx(bytes_per_request, rel=0.01)
    assert leak.bytes_per_second == pytest.approx(bytes_per_request * per_second, rel=0.1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kilobytes_per_second", [30, 64, 300])
def test_a_leak_under_noise_is_measured_to_a_fifth(kilobytes_per_second: int, seed: int) -> None:
    """Each figure that is told is right within 20 %, from the first on, and one is told."""
    found = [
        leak
        for leak in verdicts(noisy(kilobytes_per_second * KIB), points=60, seed=seed)
        if leak is not None
    ]

    truth = kilobytes_per_second * KIB / 10.0
    assert len(found) > 20
    assert [leak.bytes_per_request for leak in found] == pytest.approx(
        [truth] * len(found), rel=0.2
    )


def test_a_leak_on_one_of_several_routes_is_spread_over_all() -> None:
    """A third of the requests leaves 90 KB each: that is 30 KB a request."""
    memory: Memory = lambda now, chance: 90 * KIB * (now * 10 // 3)  # noqa: E731

    *_, leak = verdicts(memory)

    assert leak is not None
    assert leak.bytes_per_request == pytest.approx(30 * KIB, rel=0.01)


def test_traffic_that_comes_and_goes_does_not_hide_a_leak() -> None:
    """What matters is the growth by request, not by hour."""
    watch, chance, served, leak = LeakWatch(), random.Random(3), 0, None
    for number in range(30):
        served += chance.choice([0, 50, 2000])
        point = Point(number * 60.0, served, START + served * 20 * KIB)
        leak = watch.note(0, 7, point, room_bytes=GIB)

    assert leak is not None
    assert leak.bytes_per_request == pytest.approx(20 * KIB, rel=0.01)


def test_a_leak_that_no_request_causes_has_no_bytes_per_request() -> None:
    """A background task leaks by the second, while the traffic does what it likes."""
    watch, chance, served, leak = LeakWatch(), random.Random(3), 0, None
    for number in range(30):
        served += chance.choice([0, 50, 2000])
        point = Point(number * 60.0, served, START + number * MIB)
        leak = watch.note(0, 7, point, room_bytes=GIB)

    assert leak is not None
    assert leak.bytes_per_request == 0.0
    assert leak.bytes_per_second == pytest.approx(MIB / 60, rel=0.01)


def test_a_slow_leak_is_seen_over_days() -> None:
    """10 MB a day, in a ring of 32 points at one a minute: the old ones reach far enough back."""
    *_, leak = verdicts(pure(10 * MIB / 86400), points=2 * 1440)

    assert leak is not None
    assert leak.points == POINTS
    assert leak.seconds > 86400
    assert leak.bytes_per_second == pytest.approx(10 * MIB / 86400, rel=0.05)


def test_a_leak_that_begins_late_is_found_soon() -> None:
    """After an hour of nothing, ten points of growth are enough."""
    memory: Memory = lambda now, chance: MIB * max(0.0, now - 3600) / 60  # noqa: E731

    said = [leak is not None for leak in verdicts(memory, points=60 + 14)]

    assert not any(said[:61])
    assert said[-1]


def test_a_fast_leak_is_found_before_memory_is_full() -> None:
    """64 KB at 300 requests/s, 400 MB free: said within 5 s of collections, with most to spare."""
    said = list(
        verdicts(
            noisy(300 * 64 * KIB, MIB),
            every_seconds=1.0,
            points=6,
            per_second=300,
            room_bytes=START + 400 * MIB,
        )
    )

    first = next(at for at, leak in enumerate(said) if leak is not None)
    leak = said[first]
    assert leak is not None
    assert first <= URGENT_POINTS + 1
    assert leak.bytes_per_request == pytest.approx(64 * KIB, rel=0.2)
    assert when_full_seconds(leak, 300 * MIB) == pytest.approx(16, rel=0.2)


# What is none.


def warming(size_bytes: float, by_seconds: float) -> Memory:
    """A cache that fills ever slower."""
    return lambda now, chance: size_bytes * (1 - math.exp(-now / by_seconds))


def sawtooth(height_bytes: int, by_seconds: float) -> Memory:
    """Garbage, or a buffer that is flushed when it is full."""
    return lambda now, chance: height_bytes * (now % by_seconds) / by_seconds


def one_step(size_bytes: int, at_seconds: float) -> Memory:
    """A library imported late, a model loaded."""
    return lambda now, chance: size_bytes * (now >= at_seconds)


def in_flight(size_bytes: int) -> Memory:
    """None to three large requests at the moment of the point."""
    return lambda now, chance: size_bytes * chance.randrange(4)


INNOCENT: dict[str, Memory] = {
    "idle": lambda now, chance: chance.uniform(-MIB, MIB),
    "a cache of 20 MB": warming(20 * MIB, 120),
    "a cache of 200 MB": warming(200 * MIB, 300),
    "a cache that takes ten minutes": warming(100 * MIB, 600),
    "a small saw-tooth": sawtooth(6 * MIB, 1800),
    "a saw-tooth of 50 MB": sawtooth(50 * MIB, 230),
    "a saw-tooth of 200 MB": sawtooth(200 * MIB, 410),
    "one step up at once": one_step(100 * MIB, 30),
    "one step up": one_step(100 * MIB, 610),
    "one step up late": one_step(100 * MIB, 1500),
    "two steps up": lambda now, chance: 30 * MIB * ((now > 500) + (now > 1100)),
    "requests of 8 MB": in_flight(8 * MIB),
    "requests of 40 MB": in_flight(40 * MIB),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", INNOCENT)
def test_what_comes_and_goes_or_comes_to_rest_is_no_leak(name: str, seed: int) -> None:
    """At no moment of an hour, under noise."""
    memory: Memory = lambda now, chance: (  # noqa: E731
        INNOCENT[name](now, chance) + chance.uniform(-MIB, MIB)
    )

    assert not any(verdicts(memory, points=60, seed=seed))


@settings(deadline=None)
@given(st.lists(st.integers(0, 7 * MIB), min_size=1, max_size=40), st.integers(0, 512 * MIB))
def test_less_than_eight_megabytes_are_never_a_leak(sizes: list[int], room_bytes: int) -> None:
    """In whatever order they come, and however little is free."""
    watch = LeakWatch()
    for number, size in enumerate(sizes):
        assert watch.note(0, 7, Point(number * 60.0, number, size), room_bytes=room_bytes) is None


def test_a_verdict_is_withdrawn_when_the_growth_ends() -> None:
    """A cache that fills evenly looks like a leak, but not for ever."""
    memory: Memory = lambda now, chance: min(MIB * now / 60, 25 * MIB)  # noqa: E731

    said = [leak is not None for leak in verdicts(memory, points=60)]

    assert any(said[:26])
    assert not any(said[34:])


def test_a_new_worker_in_the_slot_begins_anew() -> None:
    """Its memory has nothing to do with its predecessor's; so it is after forget."""
    watch = LeakWatch()
    for number in range(PATIENT_POINTS - 1):
        watch.note(0, 7, Point(number * 60.0, number, number * 4 * MIB), room_bytes=GIB)
    tenth = Point(9 * 60.0, 9, 9 * 4 * MIB)

    assert watch.note(0, 8, tenth, room_bytes=GIB) is None
    watch.forget(0)
    assert watch.note(0, 8, tenth, room_bytes=GIB) is None


def test_a_worker_with_that_history_leaks() -> None:
    """The counterpart of the test above: without the change it is said."""
    *_, leak = verdicts(pure(4 * MIB / 60), points=PATIENT_POINTS)

    assert leak is not None


# Suspicion.


def asks(memory: Memory, seconds: int, room_bytes: int = 400 * MIB) -> list[int]:
    """Return the seconds at which a collection is asked for."""
    watch, chance = LeakWatch(), random.Random(1)
    return [
        now
        for now in range(seconds)
        if watch.suspect(
            0, 7, Point(now, now * 300, int(memory(now, chance))), room_bytes=room_bytes
        )
    ]


def test_a_fast_leak_is_suspected_within_three_seconds() -> None:
    """And a collection is asked for each second from then on."""
    assert asks(noisy(300 * 64 * KIB, MIB), 7) == [2, 3, 4, 5, 6]


def test_a_fast_leak_after_quiet_is_suspected_as_soon() -> None:
    """The quiet minute before does not count against it."""
    memory: Memory = lambda now, chance: 19 * MIB * max(0.0, now - 60)  # noqa: E731

    assert asks(memory, 64)[0] <= 63


@pytest.mark.parametrize(("room_mb", "mb_per_second"), [(110, 19.0), (110, 12.0), (400, 40.0)])
def test_a_leak_is_known_while_there_is_room_for_a_successor(
    room_mb: int, mb_per_second: float
) -> None:
    """The faster memory fills, the closer the looks; looked at once a second it would be full."""
    watch, now, collected = LeakWatch(), 0.0, False
    while (grown := int(mb_per_second * MIB * now)) < room_mb * MIB:
        point = Point(1000 + now, int(300 * now), START + grown)
        room = room_mb * MIB - grown
        if collected and watch.note(0, 7, point, room_bytes=room) is not None:
            break
        collected = watch.suspect(0, 7, point, room_bytes=room)
        now += watch.pace_seconds()

    assert grown <= 0.75 * room_mb * MIB


def test_what_leaves_time_is_not_suspected() -> None:
    """The regular collections will see it."""
    assert asks(pure(2 * MIB), 30, room_bytes=GIB) == []


def test_asking_grows_rare_where_nothing_comes_of_it() -> None:
    """Garbage at full speed costs a collection every half minute in the end."""
    asked = asks(pure(19 * MIB), 200)

    assert asked[:7] == [2, 3, 4, 5, 6, 7, 8]
    assert len(asked) < 20
    assert asked[-1] - asked[-2] >= 27


# Several workers.


def leak(index: int, bytes_per_request: float, requests: int) -> Leak:
    """Return one worker's leak over 100 s."""
    grown = bytes_per_request * requests
    return Leak(
        index=index,
        pid=100 + index,
        bytes_per_request=bytes_per_request,
        bytes_per_second=grown / 100,
        grown_bytes=int(grown),
        requests=requests,
        seconds=100.0,
        points=10,
        confidence=0.9 - index / 100,
    )


def test_workers_are_weighted_by_their_requests() -> None:
    """3,000 requests at 100 bytes and 1,000 at 200 are 125 bytes each."""
    assert bytes_per_request([leak(0, 100.0, 3000), leak(1, 200.0, 1000)]) == 125.0


def test_without_leaks_a_request_leaves_nothing() -> None:
    """Nor where a leak follows the time."""
    assert bytes_per_request([]) == bytes_per_request([leak(0, 0.0, 1000)]) == 0.0


def test_two_points_of_one_moment_are_the_later_one() -> None:
    """As of a collection that was asked for while another was told: time has to go on."""
    watch = LeakWatch()
    for number in range(URGENT_POINTS + 3):
        for own in (900, 20 + 10 * number):
            point = Point(1000.0 + number, 100 * number, own * MIB)
            found = watch.note(0, 7, point, room_bytes=50 * MIB)

    assert found is not None
    assert found.bytes_per_second == pytest.approx(10 * MIB, rel=0.01)
