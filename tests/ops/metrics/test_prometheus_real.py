"""A real server, scraped by a real Prometheus: by token, over recycles, and for the dashboard."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.ops.metrics.figures import families
from tests.support.missing import give_up
from tests.support.prometheus import Prometheus, program
from tests.support.server import ROOT, Running, connection_to, exchange
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

TOKEN = "metrics-of-a-shop"
DASHBOARD = ROOT / "docs" / "grafana" / "tonnage.json"
#: What was asked, before all of it has to be seen again: how often, and how it was answered.
ASKED = (("GET", "/days/3", 6), ("POST", "/events", 4), ("GET", "/broken", 2), ("GET", "/slow", 3))

_METRIC = re.compile(r"\b(?:tonnage|process)_\w+")
_SELECTED = re.compile(r"(\b(?:tonnage|process)_\w+)\{([^}]*)\}")
_GROUPED = re.compile(r"by \(([^)]*)\) \((?:\w+\()?(tonnage_\w+)")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Yield a shop of four workers that has served a few requests."""
    env = {"TONNAGE_ADMIN_TOKEN": TOKEN}
    words = ("tests.ops.metrics.shop:app", "--workers", "4", "--memory", "400M")
    with Running(*words, "--proxy-hops", "1", env=env) as running:
        for method, path, count in ASKED:
            for _ in range(count):
                running.request(method, path)
        yield running


@pytest.fixture(scope="module")
def prometheus(server: Running) -> Iterator[Prometheus]:
    """Yield a Prometheus that has scraped the shop a few times."""
    if program("prometheus") is None:
        give_up("prometheus", "Debian has it in a package of that name")
    with Prometheus(server.port, TOKEN) as running:
        await_true(lambda: counted(running) >= 15, "the requests to be told and scraped", 20)
        yield running


def counted(prometheus: Prometheus) -> float:
    """Return how many requests were answered."""
    return sum(prometheus.ask("sum(tonnage_requests_total)").values())


def scraped(server: Running) -> str:
    """Return what the server tells now."""
    answer = server.get("/metrics", authorization=f"Bearer {TOKEN}")
    assert answer.status == 200, answer
    return answer.body.decode()


def test_strangers_are_refused(server: Running) -> None:
    """Behind a proxy as elsewhere; and with a token that is wrong."""
    for path in ("/metrics", "/tonnage/metrics"):
        for headers in ({}, {"authorization": "Bearer wrong"}):
            answer = server.get(path, x_forwarded_for="203.0.113.7", **headers)
            assert answer.status == 403, answer
            assert b"tonnage_" not in answer.body
            assert TOKEN.encode() not in answer.body


def test_the_token_opens_them_from_elsewhere(server: Running) -> None:
    """As text and as JSON; each worker passes on what the supervisor says."""
    told = {"x_forwarded_for": "203.0.113.7", "authorization": f"Bearer {TOKEN}"}
    for path in ("/metrics", "/tonnage/metrics"):
        answer = server.get(path, **told)
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert server.get("/tonnage/metrics.json", **told).json()["environment"] == "production"


def test_promtool_has_nothing_to_complain_of(server: Running, prometheus: Prometheus) -> None:
    """Of what a server with all kinds of figures tells."""
    promtool = program("promtool")
    assert promtool is not None
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=scraped(server),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_all_workers_are_in_one_answer(server: Running, prometheus: Prometheus) -> None:
    """Whichever worker is asked, it is the sum of all of them."""
    asked = {
        (("route", "GET /days/{day}"), ("status", "2xx")): 6,
        (("route", "POST /events"), ("status", "2xx")): 4,
        (("route", "GET /broken"), ("status", "5xx")): 2,
        (("route", "GET /slow"), ("status", "2xx")): 3,
    }
    await_true(
        lambda: prometheus.ask("sum by (route, status) (tonnage_requests_total) > 0") == asked,
        "each request to be told",
        10,
    )
    slow = 'histogram_quantile(0.5, tonnage_request_duration_seconds_bucket{route="GET /slow"})'
    assert 0.025 <= sum(prometheus.ask(slow).values()) <= 0.5
    assert sum(prometheus.ask('tonnage_workers{state="ready"}').values()) == 4


def queries() -> Iterator[tuple[str, str]]:
    """Yield the panels of the dashboard with each of their queries."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def as_grafana_asks(query: str) -> str:
    """Return *query* with the dashboard's variables put in."""
    put_in = {"$__rate_interval": "1m", "$__range": "1h", "$instance": ".*"}
    for variable, value in put_in.items():
        query = query.replace(variable, value)
    return query


def test_the_dashboard_asks_for_what_there_is(server: Running, prometheus: Prometheus) -> None:
    """Each metric in it, with the labels that it is selected and grouped by."""
    found = families(scraped(server))
    labels: dict[str, set[str]] = {}
    for family in found.values():
        for sample in family.samples:
            labels.setdefault(sample.name, {"instance"}).update(sample.labels)
    wrong = [
        (title, name, wanted - labels.get(name, set()))
        for title, query in queries()
        for name, wanted in wanted_labels(query)
        if name not in labels or wanted - labels[name]
    ]
    assert wrong == []


def wanted_labels(query: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric of *query* with the labels that it must have."""
    for name in _METRIC.findall(query):
        yield name, set()
    for name, selected in _SELECTED.findall(query):
        yield name, {part.strip().partition("=")[0].rstrip("!") for part in selected.split(",")}
    for grouped, name in _GROUPED.findall(query):
        yield name, {part.strip() for part in grouped.split(",")}


def test_the_dashboard_is_answered(prometheus: Prometheus) -> None:
    """Each of its queries runs; and shows something, where something has happened."""
    prometheus.await_scrapes(2)
    empty = [title for title, query in queries() if not prometheus.ask(as_grafana_asks(query))]
    assert empty == []


def test_the_dashboard_is_one() -> None:
    """Panels have places of their own, and every query the data source that was chosen."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert all(across < 24 for across, _ in cells)
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert {each["name"] for each in board["templating"]["list"]} == {"datasource", "instance"}
    assert "$instance" in "".join(query for _, query in queries())


@contextmanager
def asking(server: Running) -> Iterator[list[int]]:
    """Ask all the time; yield the statuses so far."""
    statuses: list[int] = []
    enough = threading.Event()

    def ask() -> None:
        while not enough.wait(0.02):
            statuses.append(server.get("/days/3").status)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        enough.set()
        thread.join()


def replaced(server: Running, prometheus: Prometheus) -> None:
    """Have all workers replaced, and wait until Prometheus knows it."""
    before = set(server.worker_pids())
    with connection_to(f"http+unix://{server.control}", 5.0) as connection:
        assert exchange(connection, "POST", "/recycle").status == 202
    await_true(
        lambda: len(pids := set(server.worker_pids())) == 4 and not pids & before, "four anew", 20
    )
    prometheus.await_scrapes(2)


def fallen(server: Running, prometheus: Prometheus) -> list[str]:
    """Return the counters of which Prometheus has seen one fall."""
    names = {
        sample.name
        for family in families(scraped(server)).values()
        for sample in family.samples
        if family.type in ("counter", "histogram")
    }
    assert len(names) > 30
    return [name for name in names if prometheus.ask(f"max(resets({name}[5m])) > 0")]


def test_no_counter_falls_while_workers_are_replaced(
    server: Running, prometheus: Prometheus
) -> None:
    """Under load; and in the end nothing is missing."""
    before = counted(prometheus)
    with asking(server) as statuses:
        replaced(server, prometheus)
    assert set(statuses) == {200}
    await_true(
        lambda: counted(prometheus) >= before + len(statuses), "all requests to be counted", 10
    )
    assert counted(prometheus) == before + len(statuses)
    assert fallen(server, prometheus) == []
    # Which it would have seen, as it sees that the workers are younger than before.
    assert prometheus.ask("max(resets(tonnage_worker_age_seconds[5m])) > 0")
    assert sum(prometheus.ask("tonnage_recycles_total").values()) >= 4


def test_no_counter_falls_when_a_worker_is_killed(server: Running, prometheus: Prometheus) -> None:
    """What it had told stays."""
    before = counted(prometheus)
    killed = server.worker_pids()[0]
    os.kill(killed, signal.SIGKILL)
    await_true(lambda: len(pids := server.worker_pids()) == 4 and killed not in pids, "another", 20)
    prometheus.await_scrapes(2)
    assert counted(prometheus) == before
    assert fallen(server, prometheus) == []


@pytest.mark.soak
def test_a_minute_of_scrapes(server: Running, prometheus: Prometheus) -> None:
    """As a Prometheus of one's own has it, over three recycles: no counter falls."""
    with asking(server) as statuses:
        for _ in range(3):
            replaced(server, prometheus)
            prometheus.await_scrapes(40, 40)
    assert set(statuses) == {200}
    assert fallen(server, prometheus) == []
