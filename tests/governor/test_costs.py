"""What is learned of a route, and what is promised for it."""

from __future__ import annotations

import random

import pytest

from tonnage.governor.costs import (
    LATE_KNOWN_AFTER,
    LEAST_GUESS_BYTES,
    NOISE_BYTES,
    NOTHING,
    SIGMAS,
    Expectation,
    RouteCost,
    promise,
)
from tonnage.governor.page import SharedPage
from tonnage.units import KIB, MIB

ROOM = 400 * MIB


def route(*costs_mb: float, later: bool = False) -> RouteCost:
    """Return a route that has seen requests of *costs_mb*, in their first step or *later*."""
    cost = RouteCost("GET /work", SharedPage().cost_numbers(0))
    for mb in costs_mb:
        size = mb * MIB
        cost.observe(0.0 if later else size, size if later else 0.0, seconds=0.5)
    return cost


def test_a_route_never_seen_is_guessed_from_the_room() -> None:
    """An eighth of it, at least 4 MB, and one request at a time."""
    cost = route()

    assert cost.window == 1
    assert cost.whole(ROOM) == Expectation(50 * MIB, 0.0, 50 * MIB)
    assert cost.whole(0).worst_bytes == cost.whole(-ROOM).worst_bytes == LEAST_GUESS_BYTES


@pytest.mark.parametrize(
    ("seen", "window"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, None), (60, None)]
)
def test_slow_start_doubles_with_each_observation(seen: int, window: int | None) -> None:
    """Until the numbers are trusted."""
    cost = route(*[8] * seen)

    assert (cost.observations, cost.window) == (seen, window)
    assert cost.is_known is (window is None)


def test_a_route_seen_a_little_is_taken_for_worse_than_it_looked() -> None:
    """Half as much again as the worst, and noise."""
    expected = route(4, 8).whole(ROOM)

    assert expected.mean_bytes == expected.worst_bytes == 12 * MIB + NOISE_BYTES
    assert expected.variance == 0.0


def test_a_known_route_is_expected_to_do_as_before() -> None:
    """Mean, worst, and no variance where all were alike."""
    cost = route(*[8] * 20)

    assert cost.whole(ROOM) == Expectation(8 * MIB, 0.0, 8 * MIB)
    assert cost.seconds == pytest.approx(0.5)


def test_mean_and_worst_of_a_mixture() -> None:
    """The numbers converge on those of what is seen."""
    draw = random.Random(7)
    cost = route(*[draw.choices((8, 40), (9, 1))[0] for _ in range(600)])

    expected = cost.whole(ROOM)

    assert expected.mean_bytes == pytest.approx(11.2 * MIB, rel=0.4)
    assert expected.variance**0.5 == pytest.approx(9.6 * MIB, rel=0.5)
    assert expected.worst_bytes == pytest.approx(40 * MIB, rel=0.1)


def test_the_worst_is_never_below_the_mean() -> None:
    """Whatever comes, and however long it fades."""
    draw = random.Random(1)
    cost = route()
    for _ in range(3000):
        cost.observe(draw.expovariate(1 / MIB), draw.choice((0, 0, 30)) * MIB, 0.1)
        expected = cost.whole(ROOM)
        assert expected.worst_bytes >= expected.mean_bytes >= 0
        assert expected.variance >= 0


def test_an_old_worst_fades() -> None:
    """A route that has become cheap is not held for dear for ever."""
    cost = route(*[8] * 10, 15, *[8] * 1000)

    assert 8 * MIB <= cost.worst_bytes < 8.1 * MIB


@pytest.mark.parametrize(
    ("before", "now_mb", "surprises"),
    [
        ([], 500, False),
        ([8] * 10, 15, False),
        ([8] * 10, 17, True),
        ([8], 17, True),
        # Within the noise of the allocator nothing is a surprise.
        ([0] * 10, 2, False),
        ([0] * 10, 2.1, True),
        ([0.5] * 10, 1.9, False),
    ],
)
def test_more_than_twice_the_worst_is_a_surprise(
    before: list[float], now_mb: float, surprises: bool
) -> None:
    """Then what was learned counts no more but for this one observation."""
    cost = route(*before)

    cost.observe(now_mb * MIB, 0.0, 0.1)

    assert cost.observations == (1 if surprises else len(before) + 1)
    assert cost.total_observations == len(before) + 1
    if surprises:
        assert cost.mean_bytes == cost.worst_bytes == now_mb * MIB


def test_shrinking_counts_as_no_growth() -> None:
    """A request that frees what was there before costs nothing."""
    cost = route(*[-5] * 6)

    assert (cost.mean_bytes, cost.worst_bytes) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("costs_mb", "small"),
    [
        ([0.0] * 5, False),
        ([0.0] * 6, True),
        ([0.24] * 6, True),
        ([0.26] * 6, False),
        # An arena of the small-object allocator now and then is noise.
        ([0.0] * 40 + [1.9], True),
        ([0.0] * 40 + [1.9] * 20, False),
        ([0.0] * 100 + [5.0], False),
    ],
)
def test_a_route_is_small_if_its_mean_and_its_worst_are(costs_mb: list[float], small: bool) -> None:
    """And only once it is known."""
    assert route(*costs_mb).is_small is small


def test_what_was_taken_in_the_first_step_is_promised_no_more() -> None:
    """After it, the share is a fact in the process's size."""
    cost = route(*[8] * 6)

    assert cost.rest(0.0, ROOM) == NOTHING


@pytest.mark.parametrize(
    ("grown_mb", "mean_mb", "worst_mb"), [(0, 8, 8), (3, 5, 5), (8, 0, 0), (20, 0, 0), (-2, 10, 10)]
)
def test_what_comes_later_is_promised_less_what_has_come(
    grown_mb: float, mean_mb: float, worst_mb: float
) -> None:
    """The rest, and never less than nothing."""
    rest = route(*[8] * LATE_KNOWN_AFTER, later=True).rest(grown_mb * MIB, ROOM)

    assert (rest.mean_bytes, rest.worst_bytes) == (mean_mb * MIB, worst_mb * MIB)


def test_a_route_that_grows_late_starts_slowly_for_longer() -> None:
    """All may have started before anything is seen, so concurrency doubles with a round at most."""
    windows = [route(*[8] * seen, later=True).window for seen in (1, 3, 7, 23, 24)]

    assert windows == [2, 4, 8, 24, None]


def test_a_surprise_while_it_grows_counts_before_its_request_ends() -> None:
    """Growth beyond twice the worst makes the route unknown while the request still runs."""
    cost = route(*[8] * LATE_KNOWN_AFTER, later=True)

    cost.note_later(12 * MIB)
    assert cost.is_known
    cost.note_later(40 * MIB)

    assert (cost.window, cost.worst_bytes) == (1, 40 * MIB)
    assert cost.whole(ROOM).worst_bytes > 40 * MIB


def test_the_rest_of_a_route_hardly_known() -> None:
    """Never seen: the guess; seen: worse than the worst that came later."""
    assert route().rest(0.0, ROOM).worst_bytes == 50 * MIB
    assert route(8, later=True).rest(0.0, ROOM).worst_bytes == 12 * MIB + NOISE_BYTES
    assert route(8).rest(0.0, ROOM).worst_bytes == NOISE_BYTES


@pytest.mark.parametrize(
    ("first_mb", "seen", "worst_mb"),
    [(6, 10, 8), (8, 10, 8), (12, 10, 12), (16, 10, 16), (17, 0, 17), (40, 0, 40)],
)
def test_a_first_step_that_was_worse_counts_before_its_request_ends(
    first_mb: float, seen: int, worst_mb: float
) -> None:
    """The next request may be about to start; a surprise makes the route unknown at once."""
    cost = route(*[8] * 10)

    cost.note_first(first_mb * MIB)

    assert cost.observations == seen
    assert cost.worst_bytes == worst_mb * MIB


def test_a_first_step_of_a_route_never_seen_is_no_surprise() -> None:
    """There is nothing to compare it with until its request has ended."""
    cost = route()

    cost.note_first(500 * MIB)

    assert (cost.observations, cost.worst_bytes) == (0, 0.0)


def test_nothing_is_promised_for_nobody() -> None:
    """An empty desk."""
    assert promise([]) == 0


@pytest.mark.parametrize(
    ("expectations", "promised"),
    [
        ([Expectation(10, 0, 10)], 10),
        ([Expectation(10, 0, 10)] * 4, 40),
        # One alone is promised its worst.
        ([Expectation(10, 0, 50)], 50),
        # Of many the single worst one, and the means of the rest.
        ([Expectation(10, 0, 50)] * 4, 80),
        ([Expectation(10, 0, 50), Expectation(5, 0, 6)], 55),
        # The spread of the sum; but never more than if each did its worst.
        ([Expectation(100, 16, 200)] * 4, int(400 + 100 + SIGMAS * 8)),
        ([Expectation(10, 1e6, 12)] * 4, 48),
    ],
)
def test_the_promise_is_means_the_single_worst_and_the_spread(
    expectations: list[Expectation], promised: int
) -> None:
    """The formula of the module's docstring."""
    assert promise(expectations) == promised


def test_it_says_what_it_knows() -> None:
    """For logs."""
    assert repr(route()) == "<RouteCost GET /work: unknown, 0 seen, mean 0.00 MB, worst 0.00 MB>"
    assert repr(route(*[8] * 6)) == (
        "<RouteCost GET /work: known, 6 seen, mean 8.00 MB, worst 8.00 MB>"
    )
    assert "small, 7 seen" in repr(route(*[4 * KIB / MIB] * 7))


def test_one_that_ran_out_of_memory_is_remembered_where_its_growth_is_not_seen() -> None:
    """The next is tried with twice as much; what it frees within one step shows nowhere."""
    cost = route(1, 1)
    cost.note_out_of_memory(0.1, 100 * MIB, ROOM, now_seconds=10.0)
    assert cost.whole(ROOM).worst_bytes == 200 * MIB

    for _ in range(10):
        cost.observe(0.0, 0.0, seconds=0.1)
        assert 135 * MIB < cost.worst_bytes <= 150 * MIB
    assert not cost.is_small
    for _ in range(500):
        cost.observe(0.0, 0.0, seconds=0.1)
    assert cost.worst_bytes < 5 * MIB


def test_one_that_had_all_room_and_ran_out_says_nothing_of_the_next() -> None:
    """To keep as much for each would keep everybody else waiting."""
    cost = route(1, 1)
    cost.note_out_of_memory(0.1, 350 * MIB, ROOM, now_seconds=10.0)
    cost.observe(0.0, 0.0, seconds=0.1)

    assert cost.worst_bytes < 5 * MIB
