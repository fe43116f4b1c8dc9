"""A line through points: its slope, how well it is known, and whether it bends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tonnage.governor.trend import fit, median


@settings(deadline=None)
@given(
    slope=st.floats(0.1, 1e6),
    start=st.floats(-1e6, 1e6),
    steps=st.lists(st.floats(0.1, 100.0), min_size=2, max_size=31),
)
def test_a_straight_line_is_found(slope: float, start: float, steps: list[float]) -> None:
    """However the points are spread, and with equal halves."""
    xs = [0.0]
    for step in steps:
        xs.append(xs[-1] + step)

    trend = fit(xs, [start + slope * x for x in xs], noise=0.0)

    assert trend is not None
    assert trend.slope == pytest.approx(slope, rel=1e-3)
    assert trend.grown == pytest.approx(slope * xs[-1], rel=1e-3)
    assert trend.uncertainty < 0.01
    assert trend.bend == pytest.approx(1.0, abs=0.01)


def test_wild_points_do_not_move_it() -> None:
    """Three of sixteen may be anywhere."""
    ys = [10.0 * x for x in range(16)]
    ys[2], ys[5], ys[9] = 900.0, -700.0, 5000.0

    trend = fit([float(x) for x in range(16)], ys, noise=1.0)

    assert trend is not None
    assert trend.slope == pytest.approx(10.0, rel=0.05)


def test_among_few_points_the_farthest_counts() -> None:
    """Of five, none can be called an outlier: the slope is not known."""
    trend = fit([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 10.0, 90.0, 30.0, 40.0], noise=1.0)

    assert trend is not None
    assert trend.uncertainty > 1.0


def test_the_halves_tell_a_bend() -> None:
    """Growth that ended half-way has a late half without slope."""
    trend = fit([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 10.0, 20.0, 20.0, 20.0], noise=1.0)

    assert trend is not None
    assert (trend.early_slope, trend.late_slope) == (10.0, 0.0)
    assert trend.bend == 0.0


@pytest.mark.parametrize("xs", [[], [1.0], [1.0, 2.0], [3.0, 3.0, 3.0, 3.0], [1.0, 1.0, 2.0]])
def test_too_few_places_are_no_line(xs: list[float]) -> None:
    """Two points always lie on one, and say nothing by it."""
    assert fit(xs, [1.0] * len(xs), noise=1.0) is None


@pytest.mark.parametrize(
    ("values", "expected"), [([5.0], 5.0), ([1.0, 9.0], 5.0), ([9.0, 1.0, 2.0], 2.0)]
)
def test_the_middle_one(values: list[float], expected: float) -> None:
    """Of an even number, half-way between the two in the middle."""
    assert median(values) == expected
