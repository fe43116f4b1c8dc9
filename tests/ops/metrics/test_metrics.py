"""What the metrics say, in which form, and how much of it there can be."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime

import pytest
from tests.ops.metrics.figures import (
    FIGURES,
    UNIX_SECONDS,
    families,
    server,
    value,
    values,
    views,
)
from tests.support.missing import give_up
from tests.support.prometheus import program

from tonnage.governor.costs import RouteCost
from tonnage.governor.statistics import DEATHS
from tonnage.ops.figures.records import OTHER, Figures, RouteFigures, StoreFigures
from tonnage.ops.metrics.family import gauge, render
from tonnage.ops.metrics.named import Named
from tonnage.server.conversation import LONGEST_ANSWER_BYTES
from tonnage.units import MIB
from tonnage.web.routes import Routes


@pytest.fixture
def text() -> str:
    """Return the text of the usual figures."""
    return views()["/metrics"]("").body.decode()


def test_the_text_says_what_it_is() -> None:
    """Whatever a collector puts into the query."""
    answer = views()["/metrics"]("module=shop")
    assert answer.status == 200
    assert answer.content_type == b"text/plain; version=0.0.4; charset=utf-8"


def test_memory_is_told_by_who_holds_it(text: str) -> None:
    """All adds up to the limit."""
    held = values(text, "tonnage_memory_held_bytes")
    assert sum(held.values()) == value(text, "tonnage_memory_limit_bytes") == 512 * MIB
    assert held["workers_own",] == 60 * MIB
    assert value(text, "tonnage_memory_used_ratio") == 0.3125
    assert value(text, "tonnage_memory_mark_bytes", mark="critical") == 450


def test_the_level_is_a_number_and_a_state(text: str) -> None:
    """The one to draw, the other to alert on."""
    assert value(text, "tonnage_level") == 1
    states = values(text, "tonnage_level_state")
    assert states == {("OK",): 0, ("WARNING",): 1, ("CRITICAL",): 0, ("EXHAUSTED",): 0}


def test_each_worker_is_told_by_its_index(text: str) -> None:
    """Its own memory, its part of what is shared, and what it is at."""
    assert value(text, "tonnage_worker_own_bytes", worker="1") == 70 * MIB
    assert value(text, "tonnage_worker_shared_bytes", worker="1") == 30 * MIB
    assert value(text, "tonnage_worker_requests_waiting", worker="1") == 2
    assert value(text, "tonnage_requests_waiting") == 2
    assert value(text, "tonnage_workers", state="ready") == 1
    assert value(text, "tonnage_workers_desired") == 2


def test_requests_are_told_by_route(text: str) -> None:
    """By class of status; and the sum of all is that of the classes."""
    assert value(text, "tonnage_requests_total", route="GET /events/{id}", status="4xx") == 8
    assert sum(values(text, "tonnage_requests_total").values()) == 112
    assert value(text, "tonnage_shed_total", route="GET /events/{id}") == 2
    assert value(text, "tonnage_requests_received_total") == 110


def test_times_are_a_histogram(text: str) -> None:
    """Each bucket has all that are faster; the last has all."""
    buckets = values(text, "tonnage_request_duration_seconds_bucket")
    own = [count for (route, _), count in buckets.items() if route == "GET /events/{id}"]
    assert own == sorted(own)
    assert (own[0], own[1], own[-1]) == (50, 90, 102)
    assert buckets["GET /events/{id}", "+Inf"] == 102
    assert value(text, "tonnage_request_duration_seconds_sum", route="GET /events/{id}") == 1.5


def test_stores_are_told_by_name(text: str) -> None:
    """What only grows is a counter."""
    found = families(text)
    assert found["tonnage_cache_hits"].type == "counter"
    assert found["tonnage_cache_used_bytes"].type == "gauge"
    assert value(text, "tonnage_cache_hits_total", name="days") == 812
    assert value(text, "tonnage_writer_lag_seconds", name="events") == 0.25


def test_what_is_counted_by_reason_has_a_label_for_it() -> None:
    """One name to sum over, whatever the reasons are."""
    counts = {"gone_pressure": 3, "gone_expired": 4}
    figures = Figures(stores=(StoreFigures("cache", "days", counts),))
    text = views(figures=lambda: figures)["/metrics"]("").body.decode()
    gone = values(text, "tonnage_cache_gone_total")
    assert gone == {("days", "pressure"): 3, ("days", "expired"): 4}


def test_learned_costs_are_told_by_route_and_size_of_body() -> None:
    """As the shared page has them."""
    page = server()
    scope = {"method": "POST", "path": "/photos", "headers": [(b"content-length", b"3000000")]}
    cost = Routes(page).find(scope)
    for _ in range(30):
        cost.observe(2 * MIB, 6 * MIB, 0.1)
    figures = Figures(routes=(RouteFigures("POST /photos", (0, 30, 0, 0, 0)),))
    text = views(page, lambda: figures)["/metrics"]("").body.decode()
    assert value(text, "tonnage_route_cost_worst_bytes", r="POST /photos", b="<4096K") == 8 * MIB
    assert value(text, "tonnage_route_cost_known", r="POST /photos", b="<4096K") == 1


def test_learned_costs_of_paths_that_are_not_there_make_no_names() -> None:
    """A 404 is counted as (other), and so its cost has no name; a long one's is cut by the page."""
    page, there = server(), "/there" * 30
    for path in ("/wp-admin/setup.php", there):
        cost = Routes(page).find({"method": "GET", "path": path, "headers": []})
        cost.observe(2 * MIB, 6 * MIB, 0.1)
    routes = (RouteFigures(OTHER, (0, 0, 0, 9, 0)), RouteFigures(f"GET {there}", (0, 9, 0, 0, 0)))
    text = views(page, lambda: Figures(routes=routes))["/metrics"]("").body.decode()
    ((route, _),) = values(text, "tonnage_route_cost_mean_bytes")
    assert route.startswith("GET /there/there")


def test_workers_that_died_are_told_by_cause(text: str) -> None:
    """All causes, so that the first death of one is seen as a rise."""
    deaths = values(text, "tonnage_worker_deaths_total")
    assert deaths == {(cause,): int(cause == "oom") for cause in DEATHS}


def test_any_name_can_be_a_label() -> None:
    """Quotes, line ends, and what is no text."""
    name = 'GET /"quoted"\\back\nslash \udc80'
    text = render([gauge("tonnage_some", "Some.", {(("route", name),): 1})]).decode()
    ((found,),) = values(text, "tonnage_some")
    assert found == name.replace("\udc80", "?")


@pytest.mark.parametrize("number", [0, -3, 2**53, 0.1, 1e-9, 1e300, float("inf"), float("nan")])
def test_numbers_are_written_in_full(number: float) -> None:
    """So that none is lost on the way."""
    text = render([gauge("tonnage_some", "Some.", number)]).decode()
    # As text, since no NaN is like another.
    assert repr(float(value(text, "tonnage_some"))) == repr(float(number))


def test_the_start_of_the_server_does_not_move_with_the_clock() -> None:
    """A collector that saw it move would take every counter to have begun anew."""
    clock = iter((UNIX_SECONDS, UNIX_SECONDS + 0.3, UNIX_SECONDS - 3600))
    read = views(wall_clock=lambda: next(clock))["/metrics"]
    started = {value(read("").body.decode(), "process_start_time_seconds") for _ in range(3)}
    assert started == {UNIX_SECONDS - 60}


def test_a_family_without_samples_is_left_out() -> None:
    """Rather than told about for nothing."""
    assert render([gauge("tonnage_some", "Some.", {})]) == b""


def longest() -> Figures:
    """Return as much as there can be, with the longest names."""
    routes = tuple(
        RouteFigures(f"GET /{number:0155}", (10**9,) * 5, 10**9, 1e9 / 3, (10**9,) * 14)
        for number in range(100)
    )
    said = {f"something_{number}": 1e9 / 3 for number in range(12)}
    stores = (StoreFigures("writer", f"{number:0160}", said, said) for number in range(100))
    return Figures(1, 1, 1, 1, routes, tuple(stores))


def test_the_most_there_can_be_fits_into_an_answer() -> None:
    """All workers, routes and stores, with the longest names."""
    page = server()
    for slot in page.slots:
        slot.pid, slot.uss_bytes = 1, 2**40
    routes = Routes(page)
    for number in range(300):
        path = f"/{'x' * 80}/{chr(97 + number % 26)}{chr(97 + number // 26)}"
        cost: RouteCost = routes.find({"method": "GET", "path": path, "headers": []})
        cost.observe(1e12, 1e12, 0.1)
    body = views(page, longest)["/metrics"]("").body
    assert LONGEST_ANSWER_BYTES // 2 < len(body) < LONGEST_ANSWER_BYTES


def test_what_does_not_fit_is_counted_together() -> None:
    """Nothing is lost: the routes that are left out are one."""
    text = views(figures=longest)["/metrics"]("").body.decode()
    counts = values(text, "tonnage_requests_total")
    assert sum(counts.values()) == 100 * 5 * 10**9
    assert counts[OTHER, "2xx"] > 10**9


def test_no_counter_falls_when_routes_come_and_change_their_order() -> None:
    """Whatever has been told apart stays so, and what was left out stays out."""
    first, more = longest(), RouteFigures("GET /late", (0, 10**9, 0, 0, 0), buckets=(10**9,) * 14)
    figures = [first]
    read = views(figures=lambda: figures[-1])["/metrics"]
    before = values(read("").body.decode(), "tonnage_requests_total")
    figures.append(Figures(1, 1, 1, 1, (more, *reversed(first.routes)), first.stores))
    after = values(read("").body.decode(), "tonnage_requests_total")
    assert all(after[labels] >= count for labels, count in before.items())


def test_names_are_shown_for_ever_or_never() -> None:
    """First come, first served; and at some time nothing is added any more."""
    named = Named(most_bytes=100, most_left_out=2)
    assert named.has("a", 60)
    assert not named.has("b", 60)
    assert named.has("c", 30)
    assert named.has("a", 90)
    assert not named.has("b", 1)
    assert not named.has("d", 60)
    # There would be room, but of this one it may have been said before that it is left out.
    assert not named.has("e", 1)
    assert named.has("c", 30)


def test_promtool_has_nothing_to_complain_of(text: str) -> None:
    """Prometheus's own check of names, units and help."""
    promtool = program("promtool")
    if promtool is None:
        give_up("promtool", "Debian has it in prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_summary_has_the_originals_keys() -> None:
    """Memory in MB, times in seconds; what is not in use is there as well."""
    body = json.loads(views()["/api/metrics"]("").body)
    assert list(body) == [
        *("timestamp", "uptime", "memory", "dbConnections", "batchWriters"),
        *("environment", "version"),
    ]
    assert datetime.fromisoformat(body["timestamp"]).timestamp() == UNIX_SECONDS
    assert (body["uptime"], body["environment"]) == (60.0, "production")
    assert body["memory"] == {
        "rss": 125.0,
        "heapTotal": 70.0,
        "heapUsed": 60.0,
        "external": 55.0,
        "arrayBuffers": 0.0,
    }
    assert body["dbConnections"] == [{"count": 5}]
    writer = {"bufferSize": 2, "totalFlushed": 40, "totalFailed": 2, "totalDropped": 1}
    assert body["batchWriters"] == {"events": writer}


def test_the_summary_of_a_server_that_has_counted_nothing() -> None:
    """No connection, no writer."""
    body = json.loads(views(figures=Figures)["/api/metrics"]("").body)
    assert body["dbConnections"] == [{"count": 0}]
    assert body["batchWriters"] == {}
    assert Figures() != FIGURES
