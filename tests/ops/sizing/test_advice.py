"""Which limit would do: made histories, and what is advised for each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.sizing.histories import (
    MONDAY,
    a_history,
    a_row,
    hours,
    usual_parts,
    week,
)

from tonnage.budget.plan import LIMIT_STEP_BYTES
from tonnage.ops.sizing.advice import Advice, Size, advise
from tonnage.ops.sizing.record import DAY_SECONDS, HOUR_SECONDS, History
from tonnage.ops.sizing.text import verdict
from tonnage.units import GIB, MIB

STEADY = (300.0, 301.0, 299.0, 300.0, 302.0, 300.0, 299.0)


def advice_for(history: History, margin: float = 0.1, **others: Any) -> Advice:
    """What is advised on the day after the last one."""
    whole = history.whole()
    assert whole is not None
    now = others.pop("now_seconds", history.written_seconds)
    return advise(history, whole, margin, usual_parts(), now_seconds=now)


def size_of(advice: Advice, limit_bytes: int) -> Size:
    """What is said of one limit."""
    return next(size for size in advice.sizes if size.limit_bytes == limit_bytes)


def test_a_steady_week_gives_the_least_limit_whose_ceiling_has_the_margin() -> None:
    """302 MB and 10 % are 332.2; the reserve of 352 MB is 20, which is 0.2 too much."""
    advice = advice_for(week(*STEADY))

    assert advice.limit_bytes == 368 * MIB
    assert advice.workers == 2
    assert advice.sureness == "good"
    assert advice.doubts == ()
    assert advice.growth is None


@given(peak_mb=st.floats(60, 20_000), margin=st.floats(0, 2), workers=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_the_limit_is_enough_and_none_below_is(peak_mb: float, margin: float, workers: int) -> None:
    """Whatever the peak: the ceiling has the margin, the plan fits, and 16 MB less do not do."""
    history = week(peak_mb, workers=workers)
    limit = advice_for(history, margin).limit_bytes
    assert limit is not None
    need = history.days[0].peak_bytes * (1 + margin)

    def does(limit_bytes: int) -> bool:
        parts = usual_parts()(limit_bytes)
        return need < limit_bytes - parts.reserve_bytes + 1 and parts.fits(workers)

    assert does(limit)
    assert not does(limit - LIMIT_STEP_BYTES)


def test_a_limit_that_has_held_is_tight_and_not_too_small() -> None:
    """Full load fills the limit to its ceiling, and what is too much at once waits."""
    days = [a_row(MONDAY, 250, 249, limit_mb=256, waited=400)]
    size = size_of(advice_for(a_history(days)), 256 * MIB)
    assert (size.verdict, size.workers, size.is_present) == ("waits", 2, True)
    assert size.why == "it has held: what was too much at once waited"


@pytest.mark.parametrize("failed", ["refused", "memory_errors", "kernel_kills", "cut_off"])
def test_a_limit_in_which_something_failed_has_not_held(failed: str) -> None:
    """Nor has one that was lower than what was used under another."""
    days = [a_row(MONDAY, 250, 249, limit_mb=256, **{failed: 1})]
    assert size_of(advice_for(a_history(days)), 256 * MIB).verdict == "too small"
    days = [a_row(MONDAY, 300, 299), a_row(MONDAY + DAY_SECONDS, 250, 249, limit_mb=256)]
    assert size_of(advice_for(a_history(days)), 256 * MIB).verdict == "too small"


def test_usual_sizes_stand_beside_it_and_the_present_one() -> None:
    """256 MB is too small and says which part is; 512 is the present one; the larger ones fit."""
    advice = advice_for(week(*STEADY))

    assert [size.limit_bytes // MIB for size in advice.sizes] == [256, 512, 1024, 2048]
    smallest = size_of(advice, 256 * MIB)
    assert (smallest.verdict, smallest.workers) == ("too small", 0)
    assert "requests, caches" in smallest.why
    assert [size.verdict for size in advice.sizes[1:]] == ["fits"] * 3
    assert [size.is_present for size in advice.sizes] == [False, True, False, False]
    assert size_of(advice, 512 * MIB).margin == pytest.approx(490 / 302 - 1, abs=0.01)


def test_an_odd_limit_is_shown_among_the_usual_ones() -> None:
    """A limit that no platform sells is the present one all the same."""
    advice = advice_for(week(300, limit_mb=700))
    assert [size.limit_bytes // MIB for size in advice.sizes] == [256, 512, 700, 1024, 2048]


def test_large_servers_are_shown_large_sizes() -> None:
    """Of a server with 12 GB nobody wants to know what 256 MB would mean."""
    sizes = [size.limit_bytes for size in advice_for(week(9000, limit_mb=12288)).sizes]
    assert sizes[0] >= GIB
    assert sizes[-1] == 16 * GIB


def test_a_worker_less_can_make_it_fit() -> None:
    """A peak of 230 MB fits into 256 MB with one worker less, which saves what it holds idle."""
    advice = advice_for(week(230, workers=4), margin=0.05)
    smallest = size_of(advice, 256 * MIB)
    assert smallest.verdict == "fewer workers"
    assert smallest.workers == 3
    assert "of 4" in smallest.why


def test_spikes_make_a_smaller_limit_tight_and_not_wrong() -> None:
    """99 seconds of 100 fit into 256 MB; the spike of 480 MB counts for what is advised."""
    history = week(*[480.0] * 7, p99_mb=180)
    advice = advice_for(history)

    assert advice.limit_bytes is not None
    assert advice.limit_bytes > 512 * MIB
    assert size_of(advice, 256 * MIB).verdict == "waits"
    assert size_of(advice, 512 * MIB).verdict == "waits"
    assert size_of(advice, 1024 * MIB).verdict == "fits"


@pytest.mark.parametrize("counted", ["refused", "memory_errors", "kernel_kills"])
def test_what_was_held_down_is_never_advised_less_than_it_has(counted: str) -> None:
    """Where requests were refused, a low peak proves nothing."""
    history = a_history([a_row(MONDAY, 200, **{counted: 3})])
    advice = advice_for(history)

    assert advice.limit_bytes == 512 * MIB
    assert any("more would have been used" in doubt for doubt in advice.doubts)
    assert advice_for(a_history([a_row(MONDAY, 200)])).limit_bytes == 240 * MIB


def test_growth_from_day_to_day_is_no_guide() -> None:
    """20 MB more each day: it says so, how much, and when the limit is reached."""
    advice = advice_for(week(*(200.0 + 20 * day for day in range(8))))

    assert advice.growth is not None
    assert advice.growth.bytes_per_day == pytest.approx(20 * MIB, rel=0.01)
    assert advice.sureness == "a guess"
    doubt = next(doubt for doubt in advice.doubts if "grown" in doubt)
    assert "20 MB a day, over 8 days: the past is no guide" in doubt
    assert "in 8 days" in doubt  # (490 - 340) / 20


def test_a_leak_shows_from_one_day_to_the_next() -> None:
    """The same hours of the day before were lower, all of them, whatever the rhythm of the day."""
    rhythm = [200.0 + 10 * abs(12 - hour % 24) for hour in range(48)]
    leaking = [figure + 2 * hour for hour, figure in enumerate(rhythm)]
    days = [a_row(MONDAY + at * DAY_SECONDS, 400) for at in range(2)]

    assert advice_for(a_history(days, hours(*rhythm))).growth is None
    growth = advice_for(a_history(days, hours(*leaking))).growth
    assert growth is not None
    assert growth.bytes_per_day == pytest.approx(48 * MIB, rel=0.01)
    assert not growth.is_perhaps_a_rhythm


def test_a_rise_within_a_day_may_be_its_rhythm() -> None:
    """Eight hours that rise are worth a word, and leave how sure it is as it was."""
    rising = hours(*(150.0 + 12 * hour for hour in range(8)))
    day = a_row(MONDAY, 240, seconds=8 * HOUR_SECONDS)
    advice = advice_for(a_history([day], rising))

    assert advice.growth is not None
    assert advice.growth.is_perhaps_a_rhythm
    assert advice.sureness == "little"
    assert any("see again tomorrow" in doubt for doubt in advice.doubts)


def test_noise_is_no_growth() -> None:
    """Days that differ by a third, in no order, are not called growing."""
    assert advice_for(week(300, 240, 310, 260, 300, 230, 290, 250)).growth is None


@pytest.mark.parametrize(
    ("seconds", "sureness", "doubt"),
    [
        (600, "a guess", "fewer than 24 hours"),
        (5 * HOUR_SECONDS, "little", "fewer than 24 hours"),
        (30 * HOUR_SECONDS, "fair", "less than a week"),
    ],
)
def test_it_says_how_little_it_has_seen(seconds: int, sureness: str, doubt: str) -> None:
    """How sure it is follows from how long it has looked."""
    advice = advice_for(a_history([a_row(MONDAY, 200, seconds=seconds)]))
    assert advice.sureness == sureness
    assert any(doubt in each for each in advice.doubts)


def test_old_observations_and_runs_cut_off_are_said() -> None:
    """Nobody is told of the week before last as if it were now."""
    history = a_history([a_row(MONDAY, 200, cut_off=2)], measured="host MemTotal - MemAvailable")
    doubts = advice_for(history, now_seconds=history.written_seconds + 12 * DAY_SECONDS).doubts
    assert any("12 days old" in doubt for doubt in doubts)
    assert any(doubt.startswith("2 runs ended without a word") for doubt in doubts)
    assert any("other programs" in doubt for doubt in doubts)


def test_where_thresholds_leave_no_ceiling_there_is_no_advice() -> None:
    """EXHAUSTED at 100 MB, whatever the limit: a peak of 200 MB fits nowhere."""
    history = week(200)
    whole = history.days[0]

    def parts_at(limit_bytes: int) -> Any:
        return usual_parts(exhausted_share=100 * MIB / limit_bytes)(limit_bytes)

    advice = advise(history, whole, 0.1, parts_at, now_seconds=MONDAY)
    assert verdict(advice).startswith("No limit would do with these thresholds")
    assert advice.limit_bytes is None
