"""Figures add up, and within their bounds."""

from __future__ import annotations

import pytest

from tonnage.ops.figures.records import (
    BUCKETS_SECONDS,
    MOST_ROUTES,
    MOST_STORES,
    OTHER,
    Figures,
    RouteFigures,
    StoreFigures,
    sum_of,
)


def _route(name: str, *bucketed: int) -> RouteFigures:
    """Return the figures of a route with so many answers in its first buckets."""
    buckets = (*bucketed, *(0,) * (len(BUCKETS_SECONDS) + 1 - len(bucketed)))
    return RouteFigures(name, (0, sum(bucketed), 0, 0, 0), 0, 1.0, buckets)


def test_workers_add_up() -> None:
    """Routes by name, counts by theirs; what is now, too."""
    first = Figures(3, 1, 1, 0, (_route("GET /", 2), _route("GET /a", 1)))
    other = Figures(
        4, 0, 0, 1, (_route("GET /", 0, 4),), (StoreFigures("cache", "c", {"hits": 1}),)
    )

    total = sum_of([first, other])

    assert (total.requests, total.refused, total.waited, total.memory_errors) == (7, 1, 1, 1)
    by_name = {route.name: route for route in total.routes}
    assert by_name["GET /"].requests == 6
    assert by_name["GET /"].buckets[:3] == (2, 4, 0)
    assert by_name["GET /"].seconds == 2.0
    assert by_name["GET /a"].requests == 1
    assert total.stores == other.stores


def test_of_a_worker_that_has_ended_its_counts_stay() -> None:
    """What it held does not."""
    store = StoreFigures("cache", "events", {"hits": 7}, {"entries": 3})

    assert Figures(1, stores=(store,)).ended().stores == (
        StoreFigures("cache", "events", {"hits": 7}, {}),
    )


def test_what_all_share_is_not_added() -> None:
    """Each of them says it of all."""
    shared = StoreFigures("shared_cache", "c", {}, {"used_bytes": 70}, is_shared=True)

    assert shared.plus(shared).now == {"used_bytes": 70}


def test_times_do_not_add_up() -> None:
    """Two that wait for 3 s and 5 s have not waited for 8."""
    one = StoreFigures("writer", "w", {}, {"lag_seconds": 3.0, "buffered": 1})
    other = StoreFigures("writer", "w", {}, {"lag_seconds": 5.0, "buffered": 2})

    assert one.plus(other).now == {"lag_seconds": 5.0, "buffered": 3}


def test_more_than_there_is_room_for_are_one() -> None:
    """Routes under a name of their own; no answer is lost. Stores are left out."""
    routes = tuple(_route(f"GET /{number}", 1) for number in range(MOST_ROUTES + 50))
    stores = tuple(StoreFigures("cache", str(number)) for number in range(MOST_STORES + 1))

    total = sum_of([Figures(routes=routes, stores=stores)])

    assert len(total.routes) <= MOST_ROUTES + 1
    assert sum(route.requests for route in total.routes) == MOST_ROUTES + 50
    assert {route.name: route.requests for route in total.routes}[OTHER] == 50
    assert len(total.stores) == MOST_STORES


@pytest.mark.parametrize(
    ("bucketed", "share", "expected"),
    [
        ((10,), 0.5, 0.0005),
        ((0, 10), 0.5, 0.001 + 0.5 * 0.0015),
        ((9, 1), 0.9, 0.001),
        ((0,) * len(BUCKETS_SECONDS) + (1,), 0.5, 10),
    ],
)
def test_quantiles_are_those_of_prometheus(
    bucketed: tuple[int, ...], share: float, expected: float
) -> None:
    """Linear within a bucket; what is beyond the last one counts as where that begins."""
    assert _route("GET /", *bucketed).quantile_seconds(share) == pytest.approx(expected)


def test_nothing_has_no_quantile() -> None:
    """Rather than a zero that looks fast."""
    assert RouteFigures("GET /").quantile_seconds(0.5) is None
