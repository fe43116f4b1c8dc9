"""Eventide and its naive twin: the same routes, the same answers, over the same documents.

What only one of them has, its limits, is in ``test_eventide.py``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

import pytest
from tests.examples.client import BEHIND_A_PROXY
from tests.examples.naive import ask, naive
from tests.support.mongo import mongo_urls
from tests.support.server import (
    ROOT,
    Response,
    Running,
)

pytestmark = pytest.mark.real

HERE = ROOT / "examples" / "eventide"
PASSWORD = "correct horse"
EVENT = {
    "title": "Regatta",
    "city": "Aveiro",
    "starts_at": "2027-06-01T12:00:00+02:00",
    "seats": 2,
    "description": "Bring a boat.",
}
LOG_IN = ("", "POST", "/auth/login", {"email": "ann@example.org", "password": PASSWORD})
GUESS = ("", "POST", "/auth/login", {"email": "ann@example.org", "password": "wrong horse"})
FORGED = ("mallory", "GET", "/bookings", None)

# Requests that follow each other: whose token they have, method, path, body. What was made last is
# {event} and {booking}, and {next} is where the last list goes on.
Step = tuple[str, str, str, Any]
JOURNEYS: dict[str, list[Step]] = {
    "reading": [
        ("", "GET", "/events", None),
        ("", "GET", "/events?limit=3&city=Porto", None),
        ("", "GET", "/events?limit=3&city=Porto&after={next}", None),
        ("", "GET", "/events?limit=100", None),
        ("", "GET", "/events?limit=100", None),
        ("", "GET", "/events?city=Atlantis", None),
        ("", "GET", "/events?limit=101", None),
        ("", "GET", "/events?limit=few", None),
        ("", "GET", "/events?after=nonsense", None),
        ("", "GET", f"/events?city={'x' * 61}", None),
        ("", "GET", "/events/7", None),
        ("", "GET", "/events/7?utm_id=1", None),
        ("", "GET", "/events/0", None),
        ("", "GET", "/events/987654321", None),
        ("", "GET", "/events/nonsense", None),
        ("", "GET", "/nowhere", None),
    ],
    "organising": [
        ("", "GET", "/events?city=Aveiro", None),
        ("ann", "POST", "/events", EVENT),
        ("", "GET", "/events/{event}", None),
        ("", "GET", "/events?city=Aveiro", None),
        ("ann", "PATCH", "/events/{event}", {"title": "Storm", "description": "No boats."}),
        ("", "GET", "/events/{event}", None),
        ("", "GET", "/events?city=Aveiro", None),
        ("ann", "PATCH", "/events/{event}", {"seats": 5}),
        ("ann", "PATCH", "/events/{event}", {}),
        ("ann", "PATCH", "/events/{event}", {"seats": 0}),
        ("ben", "PATCH", "/events/{event}", {"seats": 1}),
        ("", "PATCH", "/events/{event}", {"seats": 1}),
        ("ann", "POST", "/events", EVENT | {"starts_at": "tomorrow"}),
        ("ann", "POST", "/events", EVENT | {"starts_at": "0999-01-01T00:00:00Z"}),
        ("ann", "POST", "/events", EVENT | {"title": "\ud800"}),
        ("ann", "POST", "/events", EVENT | {"title": math.nan}),
        ("ann", "POST", "/events", {"title": "Regatta"}),
        ("", "POST", "/events", EVENT),
    ],
    "booking": [
        ("ann", "POST", "/events", EVENT | {"city": "Faro"}),
        ("", "GET", "/events/{event}", None),
        ("ann", "POST", "/events/{event}/bookings", None),
        ("", "GET", "/events/{event}", None),
        ("ann", "POST", "/events/{event}/bookings", None),
        ("", "GET", "/events/{event}", None),
        ("ann", "GET", "/bookings", None),
        ("ann", "GET", "/bookings?after={booking}", None),
        ("ann", "GET", "/bookings?after=nonsense", None),
        ("ben", "POST", "/events/{event}/bookings", None),
        ("eva", "POST", "/events/{event}/bookings", None),
        ("eva", "GET", "/bookings", None),
        ("ann", "PATCH", "/events/{event}", {"seats": 1}),
        ("ann", "POST", "/events/987654321/bookings", None),
        ("", "POST", "/events/{event}/bookings", None),
        ("", "GET", "/bookings", None),
    ],
    "registering": [
        ("", "POST", "/auth/register", {"email": "Dan@example.org", "password": PASSWORD}),
        ("", "POST", "/auth/register", {"email": "dan@example.org", "password": PASSWORD}),
        ("", "POST", "/auth/login", {"email": "dan@EXAMPLE.org", "password": PASSWORD}),
        ("", "POST", "/auth/register", {"email": "nobody", "password": PASSWORD}),
        ("", "POST", "/auth/register", {"email": "eve@example.org", "password": "short"}),
        ("", "POST", "/auth/login", {"email": "nobody@example.org", "password": PASSWORD}),
        ("", "POST", "/auth/login", {"email": "\ud800@example.org", "password": PASSWORD}),
        ("", "POST", "/auth/login", {}),
    ],
    "guessing passwords": [GUESS] * 7,
    "forging tokens": [FORGED] * 12,
}
# What Tonnage refuses itself: it says so in its own words.
REFUSED = {400, 429}

_addresses = count(1)


class Side:
    """One of the two servers, and who is logged in there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tokens = {"mallory": "e30.e30.e30"}
        for name in ("ann", "ben", "eva"):
            credentials = {"email": f"{name}@example.org", "password": PASSWORD}
            assert self.ask("", "", "POST", "/auth/register", credentials).status == 201
            answer = self.ask("", "", "POST", "/auth/login", credentials)
            self.tokens[name] = answer.json()["access_token"]

    def ask(self, address: str, who: str, method: str, path: str, body: Any) -> Response:
        """Ask as *who*, from *address*; both servers believe that a proxy in front says so."""
        headers = {"x-forwarded-for": address or "192.0.2.1"}
        if who:
            headers["authorization"] = f"Bearer {self.tokens[who]}"
        return ask(self.url, method, path, body, headers)

    def travel(self, steps: list[Step], address: str) -> list[tuple[Step, int, Any]]:
        """Take *steps* from *address*; return each with its status and what was answered."""
        names, answered = dict[str, str](), list[tuple[Step, int, Any]]()
        for step in steps:
            who, method, path, body = step
            answer = self.ask(address, who, method, path.format_map(names), body)
            if answer.status == 201 and "booking" in answer.json():
                names["booking"] = answer.json()["booking"]
            elif answer.status == 201:
                names["event"] = str(answer.json()["id"])
            elif answer.status == 200 and "next" in answer.json():
                names["next"] = answer.json()["next"]
            answered.append((step, answer.status, said(answer)))
        return answered


def said(answer: Response) -> Any:
    """Return what an answer says, but for keys and cursors, which each server makes its own."""
    if answer.status in REFUSED:
        return "retry-after" in answer.headers
    found = answer.json()
    for name in ("access_token", "next"):
        if isinstance(found, dict) and found.get(name):
            found[name] = name
    text = re.sub(r'"[0-9a-f]{24}"', '"a key"', json.dumps(found, sort_keys=True))
    return answer.headers.get("location"), text


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    """Yield both servers, each with a database of its own."""
    with ExitStack() as stack:
        make = stack.enter_context(mongo_urls())
        place = tmp_path_factory.mktemp("eventide")
        env = {"EVENTIDE_DATA": str(place), "EVENTIDE_SECRET": "not a secret, but has 32 bytes"}
        options = (*BEHIND_A_PROXY, "--workers", "1")
        ours = Running(*options, cwd=HERE, env=env | {"MONGO_URL": make()})
        theirs = naive("eventide", env | {"MONGO_URL": make()}, place / "printed")
        yield Side(stack.enter_context(ours).url), Side(stack.enter_context(theirs))


@pytest.mark.parametrize("journey", JOURNEYS)
def test_both_answer_the_same(sides: tuple[Side, Side], journey: str) -> None:
    """Status and body, step by step."""
    address = f"198.51.100.{next(_addresses)}"
    ours, theirs = (side.travel(JOURNEYS[journey], address) for side in sides)
    for one, other in zip(ours, theirs, strict=True):
        assert one == other


def test_changes_at_the_same_time_are_all_kept(sides: tuple[Side, Side]) -> None:
    """Who changes the description leaves the title alone, whatever it was a moment ago."""
    for side in sides:
        address = f"198.51.100.{next(_addresses)}"
        path = side.ask(address, "ann", "POST", "/events", EVENT).headers["location"]
        change = partial(side.ask, address, "ann", "PATCH", path)
        for turn in range(12):
            one, other = {"title": f"Storm {turn}"}, {"description": f"No boats {turn}."}
            with ThreadPoolExecutor(2) as pool:
                answers = [*pool.map(change, (one, other))]
            assert [answer.status for answer in answers] == [200, 200]
            kept = side.ask(address, "", "GET", path, None).json()
            assert kept == kept | one | other


def test_who_guesses_is_kept_waiting_and_nobody_else(sides: tuple[Side, Side]) -> None:
    """By what either has noted of that address: with the right password as well."""
    for side in sides:
        guesser, owner = (f"198.51.100.{next(_addresses)}" for _ in range(2))
        guessed = side.travel([GUESS] * 5 + [LOG_IN, FORGED], guesser)
        assert [status for _, status, _ in guessed] == [401] * 5 + [429, 429]
        logged_in = side.travel([GUESS] * 4 + [LOG_IN, FORGED], owner)
        assert [status for _, status, _ in logged_in] == [401] * 4 + [200, 401]
