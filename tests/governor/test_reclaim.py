"""When memory is asked back and how much, and when asking is given up for a while."""

from __future__ import annotations

import pytest

from tonnage.governor.levels import Level, Marks, Standing, decide
from tonnage.governor.reclaim import (
    COST_SHARE,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Effort,
    Reclaimed,
    after_reclaim,
    after_recovery,
    describe,
    divide_need,
    need_bytes,
    should_reclaim,
)
from tonnage.units import MIB


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


MARKS = Marks(1000, warning_bytes=800, critical_bytes=900, exhausted_bytes=980)


@pytest.mark.parametrize(
    ("level", "used", "expected"),
    [
        (Level.OK, 790, 0),
        (Level.WARNING, 800, 41),
        (Level.WARNING, 760, 1),
        (Level.WARNING, 759, 0),
        (Level.CRITICAL, 950, 91),
        (Level.EXHAUSTED, 1000, 61),
    ],
)
def test_what_has_to_go_is_what_is_above_the_exit_mark(
    level: Level, used: int, expected: int
) -> None:
    """Once it is gone, and stays so for the hold time, the level is left."""
    assert need_bytes(used, MARKS, level) == expected

    below = decide(used - expected, 10.0, MARKS, Standing(level, 0.0))
    assert below.level < level or level is Level.OK


@pytest.mark.parametrize(
    ("need", "held", "expected"),
    [
        (100, [], []),
        (100, [0, 0], [0, 0]),
        (100, [50, 150], [25, 75]),
        (100, [1, 1, 1], [34, 34, 34]),
        (0, [5, 5], [0, 0]),
    ],
)
def test_what_has_to_go_is_divided_among_those_who_have(
    need: int, held: list[int], expected: list[int]
) -> None:
    """In proportion; together it is enough."""
    assert divide_need(need, held) == expected


@pytest.mark.parametrize(
    ("freed", "by", "expected"),
    [
        (
            371,
            {"cache:pages": 280, "cache:users": 20, "collection": 20, "allocator": 51},
            "reclaimed 371 MB from worker 0 in 40 ms: "
            "300 MB caches, 20 MB collection, 51 MB allocator",
        ),
        (
            5,
            {"collection": 0, "allocator": 5},
            "reclaimed 5 MB from worker 0 in 40 ms: 5 MB allocator",
        ),
        (7, {}, "reclaimed 7 MB from worker 0 in 40 ms"),
        (0, {"collection": 0, "allocator": 0}, "reclaimed nothing from worker 0 in 40 ms"),
        (-3, {"collection": 2, "allocator": 0}, "reclaimed nothing from worker 0 in 40 ms"),
    ],
)
def test_what_came_is_said_in_one_sentence(freed: int, by: dict[str, int], expected: str) -> None:
    """Who brought nothing is left out."""
    sizes = {name: count * MIB for name, count in by.items()}
    reclaimed = Reclaimed(
        freed_bytes=freed * MIB,
        by=sizes,
        cost_seconds=0.0402,
        own_bytes=0,
        requests=0,
        why="",
    )

    assert describe(reclaimed, 0) == expected
