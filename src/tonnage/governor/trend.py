"""A straight line through a few noisy points, and how well they know it.

The slope is Theil and Sen's: the median of the slopes of all pairs, which up to 29 % of wild points
do not move (Sen, J. Am. Stat. Assoc. 63, 1968). How well it is known follows from what is left
over: the median distance from the line for many points, the largest for few; more where what is
left over lies in runs, as steps and bends leave it. Pure arithmetic in
O(n²) for n of some dozens; what a slope means is decided in :mod:`tonnage.governor.leaks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import inf, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The median distance of normally distributed values from their middle, as a standard deviation.
_SIGMA_PER_MEDIAN = 1.4826
# Among fewer points than this none can be called an outlier: the largest distance counts.
_FEW = 16
_MOST_CORRELATION = 0.9


@dataclass(frozen=True, slots=True)
class Trend:
    """A line. ``uncertainty`` is three standard errors of its slope, as a share of the slope.

    ``early_slope`` and ``late_slope`` are those of the two halves of the span.
    """

    slope: float
    span: float
    uncertainty: float
    early_slope: float
    late_slope: float

    @property
    def grown(self) -> float:
        """By how much the line rises over its span."""
        return self.slope * self.span

    @property
    def bend(self) -> float:
        """The late half's slope as a share of the early one's: below 1 it flattens."""
        return self.late_slope / self.early_slope if self.early_slope > 0 else inf


def fit(xs: Sequence[float], ys: Sequence[float], noise: float) -> Trend | None:
    """Return the line through the points, or None where fewer than three differ in x.

    Args:
        xs: in ascending order.
        ys: as many.
        noise: the least standard deviation that the points are taken to have.
    """
    if len(set(xs)) < 3:
        return None
    slope, span = _slope(xs, ys), xs[-1] - xs[0]
    middle = (xs[0] + xs[-1]) / 2
    # The halves share a point, so that both have two at least.
    shared = max(1, max(at for at, x in enumerate(xs) if x <= middle))
    return Trend(
        slope=slope,
        span=span,
        uncertainty=3 * _standard_error(xs, ys, slope, noise) / slope if slope > 0 else inf,
        early_slope=_slope(xs[: shared + 1], ys[: shared + 1]),
        late_slope=_slope(xs[shared:], ys[shared:]),
    )


def median(values: Sequence[float]) -> float:
    """Return the middle one. The standard library's would cost a megabyte by what it imports."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    slopes = [
        (ys[later] - ys[at]) / (xs[later] - x)
        for at, x in enumerate(xs)
        for later in range(at + 1, len(xs))
        if xs[later] > x
    ]
    return median(slopes) if slopes else 0.0


def _standard_error(xs: Sequence[float], ys: Sequence[float], slope: float, noise: float) -> float:
    count = len(xs)
    offsets = [y - slope * x for x, y in zip(xs, ys, strict=True)]
    level = median(offsets)
    rest = [offset - level for offset in offsets]
    distances = [abs(distance) for distance in rest]
    if count < _FEW:
        sigma = max(distances)
    else:
        # Two of the points are spent on the line itself.
        sigma = _SIGMA_PER_MEDIAN * median(distances) * sqrt(count / (count - 2))
    mean = sum(xs) / count
    sigma = max(sigma * _persistence(rest), noise)
    return sigma / sqrt(sum((x - mean) ** 2 for x in xs))


def _persistence(rest: Sequence[float]) -> float:
    """Return by how much what is left over says less than as many independent points would.

    Steps and bends leave long runs on one side of the line: with a correlation of r from one to the
    next, n points are worth n (1 - r) / (1 + r).
    """
    power = sum(distance**2 for distance in rest)
    if not power:
        return 1.0
    together = sum(one * other for one, other in pairwise(rest))
    correlation = min(max(together / power, 0.0), _MOST_CORRELATION)
    return sqrt((1 + correlation) / (1 - correlation))
