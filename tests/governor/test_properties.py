"""What holds whatever the figures: levels, marks, the pace, what is promised to requests.

Each test states a rule; hypothesis looks for figures that break it. The ledger and the
plan are in :mod:`tests.governor.test_properties_of_shares`.
"""

from __future__ import annotations

import math

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tonnage.governor.costs import SIGMAS, Expectation, RouteCost, promise
from tonnage.governor.levels import Level, Marks, Standing, decide, marks_for
from tonnage.governor.pace import (
    ASSUMED_BYTES_PER_SECOND,
    LONGEST_SECONDS,
    SAFETY,
    SHORTEST_SECONDS,
    next_look_seconds,
)
from tonnage.governor.page import COST_NUMBERS
from tonnage.units import GIB, MIB, Threshold

# The same examples in every run: a failure is never a matter of luck.
steady = settings(deadline=None, derandomize=True, max_examples=120)


# Levels.

thresholds = st.one_of(
    st.floats(0.1, 100).map(lambda percent: Threshold(percent=percent)),
    st.integers(MIB, 8 * GIB).map(lambda size: Threshold(bytes=size)),
)
limits = st.integers(1 * MIB, 8 * GIB)
all_marks = st.builds(
    lambda limit, warning, critical, exhausted, floor: marks_for(
        limit, warning=warning, critical=critical, exhausted=exhausted, free_floor_bytes=floor
    ),
    limits,
    thresholds,
    thresholds,
    thresholds,
    st.integers(0, 64 * MIB),
)
# Said in the documentation, so not taken from the code.
HOLD = 1.0
MARKS = Marks(1000, warning_bytes=800, critical_bytes=900, exhausted_bytes=980)
# Use, and how much later it is seen.
traces = st.lists(
    st.tuples(st.integers(0, 1100), st.sampled_from((0.0, 0.005, 0.3, 0.999, 1.0, 2.5))),
    min_size=1,
    max_size=30,
)


@steady
@given(all_marks)
def test_marks_are_in_order_and_left_below_where_they_are_entered(marks: Marks) -> None:
    """And the kernel's limit is never what EXHAUSTED waits for, unless no floor is asked for."""
    entries = [marks.entry_bytes(level) for level in Level]
    exits = [marks.exit_bytes(level) for level in Level]

    assert entries == sorted(entries)
    assert exits == sorted(exits)
    assert entries[-1] <= marks.limit_bytes
    assert all(below < entry for below, entry in zip(exits, entries, strict=True) if entry)


@steady
@given(limits, thresholds, st.integers(0, 64 * MIB))
def test_the_floor_stays_free_below_exhausted(
    limit_bytes: int, exhausted: Threshold, floor_bytes: int
) -> None:
    """Or an eighth of a limit that is too small for it."""
    usual = Threshold(percent=80)
    marks = marks_for(
        limit_bytes,
        warning=usual,
        critical=usual,
        exhausted=exhausted,
        free_floor_bytes=floor_bytes,
    )

    assert limit_bytes - marks.exhausted_bytes >= min(floor_bytes, limit_bytes // 8)


@steady
@given(traces)
def test_a_level_rises_at_once_and_falls_only_after_the_hold(
    trace: list[tuple[int, float]],
) -> None:
    """It falls only if use has been below the exit mark all that time."""
    standing, now = Standing(), 0.0
    # When use was last seen at or above the exit mark of the level.
    above_at = now
    for used, later in trace:
        now += later
        before, standing = standing, decide(used, now, MARKS, standing)
        due = max(level for level in Level if used >= MARKS.entry_bytes(level))
        assert standing.level >= due
        assert standing.level <= max(before.level, due)
        if standing.level < before.level:
            assert used < MARKS.exit_bytes(before.level)
            assert now - above_at >= HOLD
        if standing.level is not before.level or used >= MARKS.exit_bytes(standing.level):
            above_at = now


@steady
@given(traces, st.sampled_from((Level.WARNING, Level.CRITICAL, Level.EXHAUSTED)))
def test_use_that_trembles_around_a_mark_changes_nothing(
    trace: list[tuple[int, float]], level: Level
) -> None:
    """Between the mark where a level is left and the one where the next is entered."""
    least, most = MARKS.exit_bytes(level), (899, 979, 2000)[level - 1]
    standing, now = Standing(level), 0.0
    for used, later in trace:
        now += later
        standing = decide(min(max(used, least), most), now, MARKS, standing)
        assert standing.level is level


@steady
@given(traces, all_marks)
def test_every_level_ends_once_use_is_low(trace: list[tuple[int, float]], marks: Marks) -> None:
    """Whatever has been, after the hold time below the first exit mark it is OK."""
    standing, now = Standing(), 0.0
    for used, later in trace:
        now += later
        standing = decide(used * marks.limit_bytes // 1000, now, marks, standing)
    low = max(0, marks.exit_bytes(Level.WARNING) - 1)
    assume(low < marks.warning_bytes)

    for later in (0.0, 1.001 * HOLD):
        standing = decide(low, now + later, marks, standing)

    assert standing.level is Level.OK


@steady
@given(
    st.sampled_from(Level),
    st.one_of(st.none(), st.floats(0, 10)),
    st.integers(0, 1100),
    st.integers(0, 1100),
)
def test_more_use_is_never_a_lower_level(
    level: Level, since: float | None, one: int, other: int
) -> None:
    """From the same standing, at the same moment."""
    standing = Standing(level, since)
    low, high = (decide(used, 10.0, MARKS, standing).level for used in sorted((one, other)))

    assert low <= high


# The pace.


@steady
@given(st.integers(-GIB, 8 * GIB), st.floats(0, 64 * GIB), st.booleans())
def test_the_next_look_comes_before_what_is_free_can_be_filled(
    headroom: int, speed: float, busy: bool
) -> None:
    """By a factor of safety; not more often than the densest, nor more seldom than the rarest."""
    wait = next_look_seconds(headroom, speed, busy=busy)

    assert SHORTEST_SECONDS <= wait <= LONGEST_SECONDS
    if wait > SHORTEST_SECONDS:
        assert wait * speed <= headroom / SAFETY * 1.000001
        if busy:
            assert wait * ASSUMED_BYTES_PER_SECOND <= headroom / SAFETY * 1.000001


@steady
@given(st.integers(0, GIB), st.integers(0, GIB), st.floats(0, GIB), st.floats(0, GIB))
def test_less_room_or_more_speed_never_makes_the_looks_rarer(
    room: int, less: int, speed: float, more: float
) -> None:
    """Nor does somebody being connected."""
    wait = next_look_seconds(room, speed, busy=False)

    assert next_look_seconds(room - less, speed, busy=False) <= wait
    assert next_look_seconds(room, speed + more, busy=False) <= wait
    assert next_look_seconds(room, speed, busy=True) <= wait


# What is promised to requests.


def expectation(mean: float, variance: float, excess: float) -> Expectation:
    """Return one whose worst is not better than its mean."""
    return Expectation(mean, variance, mean + excess)


sizes = st.floats(0, 4 * GIB)
expectations = st.lists(
    st.builds(expectation, sizes, st.floats(0, float(GIB) ** 2), sizes), max_size=8
)


@steady
@given(expectations)
def test_a_promise_lies_between_the_means_and_the_worst_of_all(found: list[Expectation]) -> None:
    """And covers any one of them doing its worst while the others are as usual."""
    promised = promise(found)
    means = sum(each.mean_bytes for each in found)
    tolerance = 1 + means * 1e-9

    assert promised <= sum(each.worst_bytes for each in found) + tolerance
    for each in found:
        assert promised >= means - each.mean_bytes + each.worst_bytes - tolerance
    if all(each.variance == 0.0 for each in found):
        excess = max((each.worst_bytes - each.mean_bytes for each in found), default=0.0)
        assert promised <= means + excess + tolerance


@steady
@given(expectations, st.builds(expectation, sizes, st.floats(0, 1e18), sizes))
def test_one_request_more_never_lowers_the_promise(
    found: list[Expectation], more: Expectation
) -> None:
    """And raises it by no more than that request's worst and its own spread."""
    before, after = promise(found), promise([*found, more])

    tolerance = 1 + after * 1e-9
    assert after >= before - tolerance
    assert after <= before + more.worst_bytes + SIGMAS * math.sqrt(more.variance) + tolerance


observations = st.lists(
    st.tuples(st.floats(-MIB, 512 * MIB), st.floats(-MIB, 512 * MIB), st.floats(0, 60)),
    min_size=1,
    max_size=40,
)


@steady
@given(observations, st.integers(0, GIB))
def test_what_is_learned_stays_in_proportion(
    seen: list[tuple[float, float, float]], room_bytes: int
) -> None:
    """The mean is not above the worst, and the next request is expected to do what the last did."""
    route = RouteCost("GET /", memoryview(bytearray(COST_NUMBERS * 8)).cast("d"))
    for first, later, seconds in seen:
        route.observe(first, later, seconds)
        whole = route.whole(room_bytes)
        grown = max(first, 0.0) + max(later, 0.0)

        assert 0.0 <= whole.mean_bytes <= whole.worst_bytes * (1 + 1e-9) + 1
        assert whole.variance >= 0.0
        assert whole.worst_bytes >= grown * (1 - 1e-9)


@steady
@given(observations, st.floats(0, 1024 * MIB), st.integers(0, GIB))
def test_what_a_request_has_already_taken_is_expected_no_more(
    seen: list[tuple[float, float, float]], taken: float, room_bytes: int
) -> None:
    """What is held and what is still to come never fall short of the worst that was seen."""
    route = RouteCost("GET /", memoryview(bytearray(COST_NUMBERS * 8)).cast("d"))
    for first, later, seconds in seen:
        route.observe(first, later, seconds)

    fresh, rest = route.rest(0.0, room_bytes), route.rest(taken, room_bytes)

    assert fresh.worst_bytes >= seen[-1][1] * (1 - 1e-9)
    assert rest.worst_bytes <= fresh.worst_bytes
    assert rest.worst_bytes + taken >= fresh.worst_bytes * (1 - 1e-9)
    assert 0.0 <= rest.mean_bytes <= fresh.mean_bytes
