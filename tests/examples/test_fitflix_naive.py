"""FitFlix and its naive twin: the same routes, the same answers, on databases of the same content.

What only one of them has, its limits, is in ``test_fitflix.py``.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from tests.examples.databases import sqlite_url
from tests.examples.naive import ask, naive
from tests.support.server import (
    ROOT,
    Response,
    Running,
    connection_to,
)

pytestmark = pytest.mark.real

HERE = ROOT / "examples" / "fitflix"
EVENT = {
    "activity_id": 1,
    "title": "Yoga at dawn",
    "starts_at": "2027-07-01T06:00:00+02:00",
    "seats": 2,
    "description": "Bring a towel.",
}
ANN, BEN, EVA = (
    {"name": name, "email": f"{name}@fitflix.example"} for name in ("Ann", "Ben", "Eva")
)
MAKE = ("POST", "/events", EVENT)
WITHDRAWAL = "/events/{event}/registrations/{seat}/withdrawal"
NEW_YEAR = {"FITFLIX_NOW": "2026-01-01T00:00:00Z"}

# Requests that follow each other: method, path, body. What was made last is {event} and {seat}.
Step = tuple[str, str, Any]
JOURNEYS: dict[str, list[Step]] = {
    "reading": [
        ("GET", "/plans", None),
        ("GET", "/activities", None),
        ("GET", "/events", None),
        ("GET", "/events?limit=3", None),
        ("GET", "/events?limit=101", None),
        ("GET", "/events?since=2026-11-01T06:00:00Z", None),
        ("GET", "/events?since=2099-01-01T00:00:00Z", None),
        ("GET", "/events?since=yesterday", None),
        ("GET", "/events/7", None),
        ("GET", "/events/7/description", None),
        ("GET", "/events/0", None),
        ("GET", "/events/987654321", None),
        ("GET", "/events/987654321/description", None),
    ],
    "organising": [
        MAKE,
        ("GET", "/events/{event}", None),
        ("GET", "/events/{event}/description", None),
        ("GET", "/events?since=2027-07-01T00:00:00Z", None),
        ("PATCH", "/events/{event}", {"title": "Yoga at noon", "description": "And water."}),
        ("GET", "/events/{event}", None),
        ("GET", "/events/{event}/description", None),
        ("GET", "/events?since=2027-07-01T00:00:00Z", None),
        ("PATCH", "/events/{event}", {}),
        ("PATCH", "/events/{event}", {"seats": 0}),
        ("PATCH", "/events/987654321", {"seats": 1}),
        ("DELETE", "/events/{event}", None),
        ("DELETE", "/events/{event}", None),
        ("GET", "/events/{event}", None),
        ("GET", "/events?since=2027-07-01T00:00:00Z", None),
        ("POST", "/events", EVENT | {"activity_id": 99}),
        ("POST", "/events", EVENT | {"title": "Yoga\0"}),
        ("POST", "/events", {"title": "Yoga"}),
    ],
    "registering": [
        MAKE,
        ("POST", "/events/{event}/registrations", ANN),
        ("POST", "/events/{event}/registrations", ANN),
        ("POST", "/events/{event}/registrations", ANN | {"email": ANN["email"].lower()}),
        ("GET", "/events/{event}", None),
        ("POST", "/events/{event}/registrations", BEN),
        ("POST", "/events/{event}/registrations", EVA),
        ("POST", "/events/{event}/registrations", {"name": "", "email": "nobody"}),
        ("GET", "/events/{event}", None),
        ("PATCH", "/events/{event}", {"seats": 1}),
        ("POST", WITHDRAWAL, {"email": ANN["email"]}),
        ("POST", WITHDRAWAL, {"email": BEN["email"].upper()}),
        ("POST", WITHDRAWAL, {"email": BEN["email"]}),
        ("POST", WITHDRAWAL, {"email": "nobody"}),
        ("GET", "/events/{event}", None),
        ("DELETE", "/events/{event}", None),
        ("POST", "/events/{event}/registrations", ANN),
    ],
    "exporting": [
        ("GET", "/export.json?month=2026-03", None),
        ("GET", "/export.json?month=2027-01", None),
        ("GET", "/export.json?month=2025", None),
        ("GET", "/export.json?month=2026-13", None),
        ("GET", "/export.csv", None),
    ],
}


@dataclass(frozen=True)
class Pair:
    """Where both are."""

    ours: str
    naive: str


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Yield both servers; the twin's database is a copy of that which ours makes at its start."""
    one, other = (tmp_path_factory.mktemp(name) for name in ("ours", "naive"))
    env = NEW_YEAR | {"DATABASE_URL": sqlite_url(one)}
    with Running("--rate-limit", "1000000/1m", cwd=HERE, env=env) as ours:
        with closing(sqlite3.connect(one / "app.sqlite3")) as made:
            made.execute("VACUUM INTO ?", [str(other / "app.sqlite3")])
        with naive("fitflix", NEW_YEAR | {"DATABASE_URL": sqlite_url(other)}, other / "log") as url:
            yield Pair(ours.url, url)


def travel(url: str, steps: list[Step]) -> list[tuple[Step, int, str]]:
    """Take *steps* and return each with its status and what was answered."""
    ids, answered = dict[str, str](), list[tuple[Step, int, str]]()
    for step in steps:
        method, path, body = step
        answer = ask(url, method, path.format_map(ids), body)
        if answer.status == 201:
            ids["seat" if "registrations" in path else "event"] = str(answer.json()["id"])
        answered.append((step, answer.status, said(answer, ids.get("event"))))
    return answered


def said(answer: Response, event: str | None) -> str:
    """Return what an answer says, but for the id of *event* and for where a list goes on."""
    if answer.headers.get("content-type") != "application/json" or not answer.body:
        return answer.body.decode()
    found = answer.json()
    if isinstance(found, dict) and found.get("next"):
        found["next"] = "goes on"
    text = json.dumps(found, indent=1, sort_keys=True)
    return re.sub(rf"\b{event}\b", "{event}", text) if event else text


@pytest.mark.parametrize("journey", JOURNEYS)
def test_both_answer_the_same(pair: Pair, journey: str) -> None:
    """Status and body, step by step."""
    ours, theirs = (travel(url, JOURNEYS[journey]) for url in (pair.ours, pair.naive))

    for one, other in zip(ours, theirs, strict=True):
        assert one == other


def test_pages_follow_each_other(pair: Pair) -> None:
    """Each by its own cursor; what is none is refused."""
    found = {url: [*pages(url, 3)] for url in (pair.ours, pair.naive)}
    assert found[pair.ours] == found[pair.naive] == [[1, 2], [3, 4], [5, 6]]

    refused = [ask(url, "GET", "/events?after=nonsense").status for url in found]
    assert refused == [400, 400]


def pages(url: str, number: int) -> Iterator[list[int]]:
    """Yield the ids on the first pages of the list."""
    place = ""
    for _ in range(number):
        page = ask(url, "GET", f"/events?limit=2{place}").json()
        yield [event["id"] for event in page["events"]]
        place = f"&after={page['next']}"


def test_both_tell_what_is_new(pair: Pair) -> None:
    """As it happens, and in the same words."""
    told = [news_of(url) for url in (pair.ours, pair.naive)]
    assert told[0] == told[1]
    assert '"title":"Yoga at dawn"' in told[0]


def news_of(url: str) -> str:
    """Make an event, and return what a listener hears of it, its id taken out."""
    with connection_to(url, 20.0) as connection:
        connection.request("GET", "/live")
        stream = connection.getresponse()
        assert [stream.readline(), stream.readline()] == [b": listening\n", b"\n"]
        made = ask(url, *MAKE).json()["id"]
        heard = stream.readline() + stream.readline()
    ask(url, "DELETE", f"/events/{made}")
    return heard.decode().replace(str(made), "{event}")


def test_both_have_the_same_routes(pair: Pair) -> None:
    """With the same parameters and the same bodies, as they describe themselves."""
    ours, theirs = (
        ask(url, "GET", "/openapi.json").json()["paths"] for url in (pair.ours, pair.naive)
    )
    assert dict(taken(ours)) == dict(taken(theirs))


def taken(paths: Any) -> Iterator[tuple[str, Any]]:
    """Yield what each route takes: a method and a path, its parameters and its body."""
    for path, methods in paths.items():
        for method, route in methods.items():
            yield f"{method} {path}", (route.get("parameters"), route.get("requestBody"))
