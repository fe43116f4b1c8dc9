"""Whether memory grows: the slope of its working set, and how well that is known.

The slope is Theil and Sen's, the median of the slopes of all pairs, with Sen's 95 % interval
(J. Am. Stat. Assoc. 63, 1968): a fault's peak moves neither by much. What is looked at is the
floor, the lowest decile of a minute: requests, jobs and leaks that are given back lie above it, and
the second in which a killed worker is not there yet lies below. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

FLOOR_SECONDS = 60.0
FLOOR_SHARE = 0.1

LEAST_POINTS = 6
_SIGMAS = 1.96  # of a normal distribution, 95 % are within


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope in bytes an hour, the ends of its 95 % interval, and how long was looked at."""

    bytes_per_hour: float
    least: float
    most: float
    hours: float


def trend(seconds: Sequence[float], used_bytes: Sequence[int]) -> Trend | None:
    """Return the trend of the floor in the last two thirds; None: too short to say.

    Args:
        seconds: when each was measured, ascending.
        used_bytes: as many.
    """
    begin = seconds[-1] / 3 if seconds else 0.0
    late = [(at, used) for at, used in zip(seconds, used_bytes, strict=True) if at >= begin]
    floor = floors(late)
    if len(floor) < LEAST_POINTS:
        return None
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0]) * 3600
        for earlier, later in combinations(floor, 2)
    )
    count = len(floor)
    spread = _SIGMAS * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    lowest = max(0, math.floor((len(slopes) - spread) / 2) - 1)
    hours = (late[-1][0] - late[0][0]) / 3600
    return Trend(median(slopes), slopes[lowest], slopes[-1 - lowest], hours)


def floors(points: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return the floor of the *points* in each whole FLOOR_SECONDS, with the middle of that."""
    if not points:
        return []
    begin, found = points[0][0], dict[int, list[int]]()
    for at, used in points:
        found.setdefault(int((at - begin) / FLOOR_SECONDS), []).append(used)
    whole = int((points[-1][0] - begin) / FLOOR_SECONDS)
    return [
        (begin + (turn + 0.5) * FLOOR_SECONDS, sorted(each)[int(FLOOR_SHARE * len(each))])
        for turn, each in found.items()
        if turn < whole
    ]
