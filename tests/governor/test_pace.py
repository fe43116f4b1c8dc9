"""How often to look."""

from __future__ import annotations

import pytest

from tonnage.governor.pace import LONGEST_SECONDS, SHORTEST_SECONDS, next_look_seconds
from tonnage.units import GIB, MIB


@pytest.mark.parametrize(
    ("headroom", "growth", "busy", "expected"),
    [
        # A quiet server: what is assumed to be possible sets the pace.
        (480 * MIB, 0.0, True, 1.0),
        (240 * MIB, 0.0, True, 0.5),
        (48 * MIB, -1e9, True, 0.1),
        # Memory moves: four looks until it would be full.
        (400 * MIB, 1000.0 * MIB, True, 0.1),
        (64 * MIB, 500.0 * MIB, True, 0.032),
        # Idle: held to what was measured, less to what is possible.
        (48 * MIB, 0.0, False, 0.8),
        (48 * MIB, 120.0 * MIB, False, 0.1),
        # Bounds.
        (64 * GIB, 0.0, True, LONGEST_SECONDS),
        (1 * MIB, 5000.0 * MIB, True, SHORTEST_SECONDS),
        (0, 0.0, True, SHORTEST_SECONDS),
        (-5 * MIB, 0.0, False, SHORTEST_SECONDS),
    ],
)
def test_the_pace_follows_headroom_and_speed(
    headroom: int, growth: float, busy: bool, expected: float
) -> None:
    """Headroom divided by the speed at which it could be filled, four times over."""
    assert next_look_seconds(headroom, growth, busy=busy) == pytest.approx(expected)
