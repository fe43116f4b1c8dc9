"""Whether use has grown by so much, by day or by hour, that the past is no guide.

Pure. Days are compared where there are enough of them; else each hour with the same hour of the day
before, as use has its rhythm; else hours with each other, where that rhythm can be all there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.governor.trend import fit, median
from tonnage.ops.sizing.record import DAY_SECONDS, HOUR_SECONDS
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tonnage.ops.sizing.record import History, Row

_LEAST_DAYS: Final = 4
_LEAST_HOURS: Final = 6
# Of a day or an hour, so much has to be observed for it to count.
_LEAST_SHARE: Final = 0.25
# Less than this, of what is used, over all that was observed is no growth worth a word.
_WORTH_SHARE: Final = 0.05
# Three standard errors of the slope may come to this share of it.
_MOST_UNCERTAIN: Final = 0.5
# Of the hours that can be compared with those a day before, so many have to be higher.
_MOST_HIGHER: Final = 0.8


@dataclass(frozen=True, slots=True)
class Growth:
    """That use has grown: by how much, in bytes a day, and what was compared."""

    bytes_per_day: float
    observed: str
    is_perhaps_a_rhythm: bool = False


def growth_of(history: History) -> Growth | None:
    """Return by how much use grows; None: it does not, or that cannot be told."""
    days = _enough(history.days, DAY_SECONDS)
    if len(days) >= _LEAST_DAYS:
        return _line(days, f"{len(days)} days")
    hours = _enough(history.hours, HOUR_SECONDS)
    by_start = {row.start_seconds: row for row in hours}
    pairs = [
        (by_start[row.start_seconds - DAY_SECONDS], row)
        for row in hours
        if row.start_seconds - DAY_SECONDS in by_start
    ]
    if len(pairs) >= _LEAST_HOURS:
        return _beside_yesterday(pairs)
    if len(hours) < _LEAST_HOURS:
        return None
    return _line(hours, f"{len(hours)} hours", is_perhaps_a_rhythm=True)


def _line(rows: Sequence[Row], what: str, *, is_perhaps_a_rhythm: bool = False) -> Growth | None:
    """Return the growth along a line through *rows*, if it is one and worth a word.

    Of each the p99 counts: the peak can be one request's, and the middle is low where idle hours
    outnumber the others.
    """
    trend = fit(
        [row.start_seconds / DAY_SECONDS for row in rows],
        [float(row.p99_bytes) for row in rows],
        noise=MIB,
    )
    usual = median([float(row.p99_bytes) for row in rows])
    if trend is None or trend.uncertainty > _MOST_UNCERTAIN or trend.grown < _WORTH_SHARE * usual:
        return None
    return Growth(trend.slope, what, is_perhaps_a_rhythm)


def _beside_yesterday(pairs: Sequence[tuple[Row, Row]]) -> Growth | None:
    rises = [float(today.p99_bytes - before.p99_bytes) for before, today in pairs]
    usual, rise = median([float(before.p99_bytes) for before, _ in pairs]), median(rises)
    higher = sum(each > 0 for each in rises) / len(rises)
    if higher < _MOST_HIGHER or rise < _WORTH_SHARE * usual:
        return None
    return Growth(rise, f"{len(pairs)} hours and the same hours of the day before")


def _enough(rows: Sequence[Row], length: int) -> list[Row]:
    return [row for row in rows if row.seconds >= _LEAST_SHARE * length]
