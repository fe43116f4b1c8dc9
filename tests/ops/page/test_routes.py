"""What the page says of each route."""

from __future__ import annotations

from typing import Any

import pytest

from tonnage.governor.costs import RouteCost
from tonnage.governor.page import COST_NAME_BYTES, SharedPage
from tonnage.ops.figures.records import RouteFigures
from tonnage.ops.page.routes import MOST_ROUTES, Learned, Rates, shown
from tonnage.units import MIB


@pytest.fixture
def page() -> SharedPage:
    """Return an empty page."""
    return SharedPage(1)


def learn(page: SharedPage, row: int, name: str, *sizes: int) -> None:
    """Have a route called *name* learn from requests of *sizes* bytes."""
    page.cost_names(row)[:] = name.encode().ljust(COST_NAME_BYTES, b"\0")
    cost = RouteCost(name, page.cost_numbers(row))
    for size in sizes:
        cost.observe(size, 0, 0.1)


def asked(name: str, times: int) -> RouteFigures:
    """Return the figures of a route that was asked for *times* times."""
    return RouteFigures(name, (0, times, 0, 0, 0))


def look(page: SharedPage, *routes: RouteFigures) -> list[dict[str, Any]]:
    """Return what somebody sees who looks for the first time."""
    return shown(routes, Rates(), Learned(page), 0.0)


def test_the_rate_is_of_the_last_ten_seconds() -> None:
    """Whoever looks once a second sees what has been since, and then the last ten seconds."""
    rates, count, found = Rates(), 0, []
    for second in range(40):
        count += 100 if second < 20 else 2
        found.append(rates.note([asked("GET /", count)], float(second))["GET /"])

    assert found[0] is None
    assert found[1] == found[15] == 100
    assert found[-1] == 2


def test_after_a_pause_there_is_no_rate() -> None:
    """What was counted an hour ago says nothing of now."""
    rates = Rates()
    rates.note([asked("GET /", 10)], 0.0)

    assert rates.note([asked("GET /", 5000)], 3600.0) == {"GET /": None}
    assert rates.note([asked("GET /", 5030)], 3602.0) == {"GET /": 15}


def test_a_new_route_counts_from_nothing() -> None:
    """It was not there at the look before."""
    rates = Rates()
    rates.note([], 0.0)

    assert rates.note([asked("GET /new", 8)], 2.0) == {"GET /new": 4}


def test_costs_are_those_that_were_learned(page: SharedPage) -> None:
    """By the name, and the dearest where bodies of several sizes cost differently."""
    learn(page, 5, "GET /report", *[8 * MIB] * 10)
    learn(page, 900, "POST /photos <256K", *[MIB] * 10)
    learn(page, 901, "POST /photos >64M", 70 * MIB)

    report, photos, new = look(
        page, asked("GET /report", 3), asked("POST /photos", 2), asked("GET /new", 1)
    )

    assert (report["learned_mean_bytes"], report["is_known"]) == (8 * MIB, True)
    assert (photos["learned_worst_bytes"], photos["is_known"]) == (70 * MIB, False)
    assert (new["learned_worst_bytes"], new["is_known"]) == (None, False)


def test_the_busiest_come_first(page: SharedPage) -> None:
    """And no more than a person can read."""
    routes = [asked(f"GET /{number}", number) for number in range(MOST_ROUTES + 30)]

    names = [route["name"] for route in look(page, *routes)]

    assert names == [f"GET /{number}" for number in range(MOST_ROUTES + 29, 29, -1)]


def test_figures_of_a_route(page: SharedPage) -> None:
    """Statuses, latencies and what was shed are passed on."""
    buckets = (0, 0, 0, 50, 49, 0, 0, 0, 0, 1, 0, 0, 0, 0)
    route = RouteFigures("GET /", (0, 90, 0, 2, 8), 5, 3.5, buckets)

    found = look(page, route)[0]

    assert (found["requests"], found["statuses"], found["shed"]) == (100, (0, 90, 0, 2, 8), 5)
    assert found["p50_seconds"] == pytest.approx(0.01)
    assert found["p99_seconds"] == pytest.approx(0.025)
