"""Levels: where they begin, and how they are left."""

from __future__ import annotations

import pytest

from tonnage.governor.levels import HOLD_SECONDS, Level, Marks, Standing, decide, marks_for
from tonnage.units import GIB, MIB, Threshold, parse_threshold

MARKS = Marks(limit_bytes=1000, warning_bytes=800, critical_bytes=900, exhausted_bytes=980)


def marks(limit_mb: int, warning: str, critical: str, exhausted: str) -> tuple[int, ...]:
    """Return the marks in MB."""
    found = marks_for(
        limit_mb * MIB,
        warning=parse_threshold(warning),
        critical=parse_threshold(critical),
        exhausted=parse_threshold(exhausted),
    )
    assert found.limit_bytes == limit_mb * MIB
    sizes = (found.warning_bytes, found.critical_bytes, found.exhausted_bytes)
    return tuple(size // MIB for size in sizes)


@pytest.mark.parametrize(
    ("limit_mb", "thresholds", "expected"),
    [
        (1000, ("80%", "90%", "98%"), (800, 900, 980)),
        # Less than 16 MB free is EXHAUSTED: of 256 MB, 2 % would be 5.
        (256, ("80%", "90%", "98%"), (204, 230, 240)),
        # The floor is at most an eighth.
        (64, ("80%", "90%", "98%"), (51, 56, 56)),
        (80, ("80%", "90%", "98%"), (64, 70, 70)),
        (512, ("300M", "400M", "450M"), (300, 400, 450)),
        (512, ("300M", "90%", "1G"), (300, 460, 496)),
        # Out of order: pulled down to the next higher one.
        (512, ("450M", "400M", "350M"), (350, 350, 350)),
    ],
)
def test_marks_are_shares_of_the_limit_or_sizes(
    limit_mb: int, thresholds: tuple[str, str, str], expected: tuple[int, ...]
) -> None:
    """And always in order, with a floor of free memory above the last."""
    assert marks(limit_mb, *thresholds) == expected


def test_the_free_floor_can_be_set() -> None:
    """For a limit so large that 2 % are plenty."""
    found = marks_for(
        64 * GIB,
        warning=Threshold(percent=80),
        critical=Threshold(percent=90),
        exhausted=Threshold(percent=100),
        free_floor_bytes=GIB,
    )

    assert found.exhausted_bytes == 63 * GIB


@pytest.mark.parametrize("limit_bytes", [100, 100 * MIB + 5])
def test_marks_are_whole_bytes(limit_bytes: int) -> None:
    """Whatever the limit is divided by."""
    percent = parse_threshold("98.5%")
    found = marks_for(limit_bytes, warning=percent, critical=percent, exhausted=percent)
    marks = (found.warning_bytes, found.critical_bytes, found.exhausted_bytes)

    assert [type(mark) for mark in marks] == [int] * 3
    assert [type(found.exit_bytes(level)) for level in Level] == [int] * 4


def test_the_exit_of_a_low_mark_is_half_of_it() -> None:
    """Four percent below would be next to nothing, and a level that is never left."""
    low = Marks(limit_bytes=1000, warning_bytes=21, critical_bytes=60, exhausted_bytes=90)

    assert [low.exit_bytes(level) for level in Level] == [0, 10, 30, 50]


@pytest.mark.parametrize(
    ("level", "entry", "exit_"),
    [
        (Level.OK, 0, 0),
        (Level.WARNING, 800, 760),
        (Level.CRITICAL, 900, 860),
        (Level.EXHAUSTED, 980, 940),
    ],
)
def test_exits_are_lower_than_entries(level: Level, entry: int, exit_: int) -> None:
    """By four percent of the limit."""
    assert (MARKS.entry_bytes(level), MARKS.exit_bytes(level)) == (entry, exit_)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize(
    ("used", "at_least"),
    [
        (0, Level.OK),
        (799, Level.OK),
        (800, Level.WARNING),
        (900, Level.CRITICAL),
        (979, Level.CRITICAL),
        (980, Level.EXHAUSTED),
        (2000, Level.EXHAUSTED),
    ],
)
def test_a_level_is_entered_at_once(level: Level, used: int, at_least: Level) -> None:
    """From wherever it was, whatever lies between."""
    assert decide(used, 0.0, MARKS, Standing(level)).level == max(level, at_least)


@pytest.mark.parametrize(
    ("level", "used", "left_for"),
    [
        (Level.WARNING, 760, Level.WARNING),
        (Level.WARNING, 759, Level.OK),
        (Level.CRITICAL, 860, Level.CRITICAL),
        (Level.CRITICAL, 859, Level.WARNING),
        (Level.CRITICAL, 700, Level.OK),
        (Level.EXHAUSTED, 940, Level.EXHAUSTED),
        (Level.EXHAUSTED, 939, Level.CRITICAL),
        (Level.EXHAUSTED, 850, Level.WARNING),
        (Level.EXHAUSTED, 0, Level.OK),
    ],
)
def test_a_level_is_left_below_its_exit_after_a_hold(
    level: Level, used: int, left_for: Level
) -> None:
    """Then straight to the level that fits."""
    standing = Standing(level)
    for held in (0.0, 0.5, 0.75):
        standing = decide(used, 100.0 + held * HOLD_SECONDS, MARKS, standing)
        assert standing.level is level

    assert decide(used, 100.0 + HOLD_SECONDS, MARKS, standing).level is left_for


def test_the_hold_begins_below_the_exit_mark() -> None:
    """At the mark itself it has not begun."""
    standing = Standing(Level.WARNING)

    assert decide(760, 5.0, MARKS, standing) == Standing(Level.WARNING, None)
    assert decide(759, 5.0, MARKS, standing) == Standing(Level.WARNING, 5.0)


def test_a_figure_that_trembles_around_a_mark_does_not_make_the_level_flap() -> None:
    """Above the exit mark the hold begins anew."""
    standing = Standing()
    seen = []
    for step in range(100):
        standing = decide(801 if step % 3 else 755, step * 0.3, MARKS, standing)
        seen.append(standing.level)

    assert seen[0] is Level.OK
    assert set(seen[1:]) == {Level.WARNING}


def test_ok_has_nothing_to_hold() -> None:
    """It stays, without a clock."""
    assert decide(10, 5.0, MARKS, Standing()) == Standing(Level.OK, None)
