"""What the page says of each route: how often, how fast, and what a request of it costs.

Rates are of the last ten seconds in which somebody looked: nothing is kept for them before, so the
first look has none. Bounded: :data:`MOST_ROUTES` routes are shown, the busiest; of the counts
before, :data:`_MOST_SAMPLES` samples are kept.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.costs import RouteCost
from tonnage.governor.page import MAX_ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.governor.page import SharedPage
    from tonnage.ops.figures.records import RouteFigures

MOST_ROUTES: Final = 50
RATE_SECONDS: Final = 10.0

_SAMPLE_SECONDS: Final = 2.0
_MOST_SAMPLES: Final = int(RATE_SECONDS / _SAMPLE_SECONDS) + 1
# A thousand rows are looked through for their names, which takes 1 ms.
_LEARNED_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Sample:
    seconds: float
    requests: dict[str, int]


class Rates:
    """How many requests a second each route has had lately."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=_MOST_SAMPLES)

    def note(self, routes: Iterable[RouteFigures], now_seconds: float) -> dict[str, float | None]:
        """Take in what was counted until now; return the rate of each, None on the first look."""
        counted = {route.name: route.requests for route in routes}
        while self._samples and now_seconds - self._samples[0].seconds > RATE_SECONDS + 1:
            self._samples.popleft()
        first = self._samples[0] if self._samples else None
        if not self._samples or now_seconds - self._samples[-1].seconds >= _SAMPLE_SECONDS:
            self._samples.append(_Sample(now_seconds, counted))
        if first is None or now_seconds <= first.seconds:
            return dict.fromkeys(counted)
        passed = now_seconds - first.seconds
        return {
            name: max(0.0, count - first.requests.get(name, 0)) / passed
            for name, count in counted.items()
        }


class Learned:
    """What requests of each route have been learned to cost, from the shared page."""

    def __init__(self, page: SharedPage) -> None:
        self._page = page
        self._rows: dict[str, list[int]] = {}
        self._read_seconds: float | None = None

    def of(self, name: str, now_seconds: float) -> RouteCost | None:
        """Return the cost of route *name*, the dearest where bodies of several sizes have one."""
        if self._read_seconds is None or now_seconds - self._read_seconds >= _LEARNED_SECONDS:
            self._read_seconds = now_seconds
            self._rows = self._by_name()
        costs = [RouteCost(name, self._page.cost_numbers(row)) for row in self._rows.get(name, ())]
        return max(costs, key=lambda cost: cost.worst_bytes, default=None)

    def _by_name(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row in range(MAX_ROUTES):
            # A third word is the size of the body.
            name = " ".join(self._page.cost_name(row).split(" ", 2)[:2])
            if name:
                found.setdefault(name, []).append(row)
        return found


def shown(
    routes: Iterable[RouteFigures], rates: Rates, learned: Learned, now_seconds: float
) -> list[dict[str, Any]]:
    """Return what is shown of *routes*, the busiest first."""
    routes = tuple(routes)
    per_second = rates.note(routes, now_seconds)
    busiest = sorted(routes, key=lambda route: (-(per_second[route.name] or 0), -route.requests))
    return [
        _shown(route, per_second[route.name], learned.of(route.name, now_seconds))
        for route in busiest[:MOST_ROUTES]
    ]


def _shown(route: RouteFigures, per_second: float | None, cost: RouteCost | None) -> dict[str, Any]:
    return {
        "name": route.name,
        "requests": route.requests,
        "per_second": None if per_second is None else round(per_second, 2),
        "statuses": route.statuses,
        "shed": route.shed,
        "p50_seconds": route.quantile_seconds(0.5),
        "p99_seconds": route.quantile_seconds(0.99),
        "learned_mean_bytes": None if cost is None else int(cost.mean_bytes),
        "learned_worst_bytes": None if cost is None else int(cost.worst_bytes),
        "is_known": cost is not None and cost.is_known,
    }
