"""When memory is asked back, and when asking is given up for a while."""

from __future__ import annotations

import pytest

from tonnage.governor.levels import Level
from tonnage.governor.reclaim import (
    COST_SHARE,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Effort,
    after_reclaim,
    after_recovery,
    should_reclaim,
)


@pytest.mark.parametrize(
    ("level", "now", "expected"),
    [
        (Level.OK, 100.0, False),
        (Level.WARNING, 100.0, True),
        (Level.EXHAUSTED, 100.0, True),
        (Level.EXHAUSTED, 99.9, False),
    ],
)
def test_memory_is_asked_back_from_warning_on(level: Level, now: float, expected: bool) -> None:
    """Outside the pause."""
    assert should_reclaim(level, now, Effort(not_before_seconds=100.0)) is expected


def pauses(freed_bytes: int, times: int, cost_seconds: float = 0.0) -> list[float]:
    """Return the pauses after so many reclaims in a row."""
    effort, now, seen = Effort(), 0.0, []
    for _ in range(times):
        effort = after_reclaim(
            effort,
            used_bytes=1000,
            freed_bytes=freed_bytes,
            cost_seconds=cost_seconds,
            now_seconds=now,
        )
        seen.append(effort.not_before_seconds - now)
        now = effort.not_before_seconds
    return seen


def test_what_frees_little_is_tried_less_and_less_often() -> None:
    """The pause doubles, up to 30 seconds."""
    assert pauses(49, 8) == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert LONGEST_PAUSE_SECONDS == 30.0


def test_what_frees_enough_is_tried_again_soon() -> None:
    """Five percent of what was in use are enough."""
    assert pauses(50, 3) == [FIRST_PAUSE_SECONDS] * 3


def test_memory_that_grew_meanwhile_counts_as_nothing_freed() -> None:
    """The figure is a difference, and may be negative."""
    assert pauses(-500, 2) == [0.5, 1.0]


def test_the_cost_is_held_to_a_share_of_the_time() -> None:
    """A collection of 200 ms is followed by a pause of 4 s, however much it freed."""
    assert pauses(900, 2, cost_seconds=0.2) == pytest.approx([0.2 / COST_SHARE] * 2)


def test_success_ends_the_doubling() -> None:
    """The next failure starts from the shortest pause."""
    effort = Effort(pause_seconds=16.0)
    effort = after_reclaim(
        effort, used_bytes=1000, freed_bytes=100, cost_seconds=0.0, now_seconds=0.0
    )
    assert effort.pause_seconds == 0.0


@pytest.mark.parametrize("level", list(Level))
def test_recovery_wipes_the_slate(level: Level) -> None:
    """At OK the next need starts without a pause."""
    effort = Effort(pause_seconds=8.0, not_before_seconds=50.0)

    expected = Effort() if level is Level.OK else effort

    assert after_recovery(effort, level) == expected
