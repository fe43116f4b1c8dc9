"""Whether another worker may start."""

from __future__ import annotations

import pytest

from tonnage.governor.starts import Start, judge_start
from tonnage.units import MIB


@pytest.mark.parametrize(
    ("serving", "starting", "start_mb", "free_mb", "verdict"),
    [
        (0, 0, 0, 0, Start.NOW),  # somebody has to serve
        (0, 0, 300, 10, Start.NOW),
        (0, 1, 0, 500, Start.AFTER_THE_FIRST),
        (1, 0, 300, 300, Start.NOW),
        (1, 0, 300, 299, Start.WITH_ROOM),
        (1, 1, 300, 599, Start.WITH_ROOM),  # the other may not have begun to load
        (3, 2, 12, 36, Start.NOW),
    ],
)
def test_a_start_needs_room(
    serving: int, starting: int, start_mb: int, free_mb: int, verdict: Start
) -> None:
    """What one takes is known once one is ready; the first starts alone."""
    judged = judge_start(
        serving=serving,
        starting=starting,
        start_bytes=start_mb * MIB,
        free_bytes=free_mb * MIB,
    )
    assert judged is verdict
