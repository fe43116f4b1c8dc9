"""What was answered, as metrics: by route with its times, and what a request of it costs.

Pure, but for the shared page, from which learned costs are read. Bounded: the routes with series of
their own take :data:`MOST_ROUTE_BYTES` of an answer, the others are one, ``(other)``; learned costs
are those of the :data:`MOST_COSTS` routes that have been measured most often.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from tonnage.governor.costs import RouteCost
from tonnage.governor.page import COST_NAME_BYTES, MAX_ROUTES
from tonnage.ops.figures.records import BUCKETS_SECONDS, OTHER, RouteFigures
from tonnage.ops.metrics.family import Family, Labels, Sample, counter, gauge, label_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tonnage.governor.page import SharedPage
    from tonnage.ops.figures.records import Figures
    from tonnage.ops.metrics.named import Named

MOST_ROUTE_BYTES: Final = 120 * 1024
MOST_COSTS: Final = 40

_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
_ENDS: Final = (*(f"{seconds:g}" for seconds in BUCKETS_SECONDS), "+Inf")
# How the sizes of bodies are called begins: see tonnage.web.routes.
_BODIES: Final = ("<", ">", "chunked")
# A route has a line for each bucket and class, and three more; each has the name and some 75
# characters.
_LINES: Final = len(_ENDS) + len(_CLASSES) + 3
_LINE_BYTES: Final = 75


def request_families(figures: Figures, named: Named) -> Iterator[Family]:
    """Yield what *figures* say of requests; *named* are the routes that are told apart."""
    totals = (
        ("requests_received", "Requests that came in, WebSockets among them.", figures.requests),
        (
            "requests_refused",
            "Requests refused for want of memory or of a place in the queue.",
            figures.refused,
        ),
        ("requests_waited", "Requests that waited for memory.", figures.waited),
        ("memory_errors", "Requests that ran out of memory.", figures.memory_errors),
    )
    for name, text, count in totals:
        yield counter(f"tonnage_{name}_total", text, count)
    routes = _told_apart(figures.routes, named)
    yield counter(
        "tonnage_requests_total",
        "Requests answered, by route and class of status.",
        {
            (("route", route.name), ("status", name)): count
            for route in routes
            for name, count in zip(_CLASSES, route.statuses, strict=True)
        },
    )
    yield counter(
        "tonnage_shed_total",
        "Requests answered with 429 or 503 since there was no room.",
        {(("route", route.name),): route.shed for route in routes},
    )
    yield Family(
        "tonnage_request_duration_seconds",
        "histogram",
        "From the head of a request to the end of the answer.",
        tuple(sample for route in routes for sample in _histogram(route)),
    )


def cost_families(page: SharedPage, routes: Iterable[RouteFigures]) -> Iterator[Family]:
    """Yield what requests of those of *routes* have been learned to cost that have a name.

    What a request to a path that is not there has cost is learned too, but whoever asks for such
    paths makes no names.
    """
    counted = {_cut(route.name) for route in routes}
    rows = [row for row in range(MAX_ROUTES) if page.cost_names(row)[0]]
    costs = [RouteCost(page.cost_name(row), page.cost_numbers(row)) for row in rows]
    seen = [
        cost
        for cost in costs
        # The page has the beginning of a long name, without the size of the body.
        if cost.total_observations and not counted.isdisjoint((_route_of(cost.name), cost.name))
    ]
    seen.sort(key=lambda cost: (-cost.total_observations, cost.name))
    labelled = {_labels(cost.name): cost for cost in seen[:MOST_COSTS]}
    parts: tuple[tuple[str, str, dict[Labels, float]], ...] = (
        (
            "mean_bytes",
            "How much a request of a route grows by, on average.",
            {labels: round(cost.mean_bytes) for labels, cost in labelled.items()},
        ),
        (
            "worst_bytes",
            "How much a request of a route has grown by at worst, lately.",
            {labels: round(cost.worst_bytes) for labels, cost in labelled.items()},
        ),
        (
            "known",
            "1 where a route's cost has been seen often enough to be relied on.",
            {labels: int(cost.is_known) for labels, cost in labelled.items()},
        ),
    )
    for name, text, values in parts:
        yield gauge(f"tonnage_route_cost_{name}", text, values)


def _told_apart(routes: Iterable[RouteFigures], named: Named) -> list[RouteFigures]:
    """Return those of *routes* that *named* has; the others as one, at the end."""
    shown, others = [], RouteFigures(OTHER)
    for route in routes:
        costs_bytes = _LINES * (_LINE_BYTES + label_bytes(route.name))
        if route.name != OTHER and named.has(route.name, costs_bytes):
            shown.append(route)
        else:
            others = others.plus(route)
    return [*shown, others] if others.requests else shown


def _histogram(route: RouteFigures) -> Iterator[Sample]:
    labels = (("route", route.name),)
    for end, count in zip(_ENDS, accumulate(route.buckets), strict=True):
        yield Sample((*labels, ("le", end)), count, "_bucket")
    yield Sample(labels, round(route.seconds, 6), "_sum")
    yield Sample(labels, sum(route.buckets), "_count")


def _labels(name: str) -> Labels:
    """Return the labels of the cost called *name*: its last word may be the size of the body."""
    route = _route_of(name)
    return ("route", route), ("body", name[len(route) + 1 :])


def _route_of(name: str) -> str:
    route, _, body = name.rpartition(" ")
    return route if body.startswith(_BODIES) else name


def _cut(name: str) -> str:
    """Return as much of *name* as the page has room for."""
    return name.encode(errors="replace")[:COST_NAME_BYTES].decode(errors="replace")
