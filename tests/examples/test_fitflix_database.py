"""FitFlix on each of its databases: pages that miss nothing, seats that are there once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.examples.client import BEHIND_A_PROXY, Client
from tests.examples.databases import KINDS, Kind, count, counted_connections, database
from tests.support.server import ROOT, Response, Running

pytestmark = pytest.mark.real

JSON = {"content-type": "application/json"}
EVENTS_MADE = 24_000
SEATS = 9
CONNECTIONS = 3
NEW_YEAR = {"FITFLIX_NOW": "2026-01-01T00:00:00Z"}
EVENT = {
    "activity_id": 1,
    "title": "Yoga at dawn",
    "starts_at": "2027-07-01T06:00:00+02:00",
    "seats": SEATS,
}


@pytest.fixture(scope="module", params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a database of each kind."""
    kind: Kind = request.param
    with database(kind, "fitflix", tmp_path_factory.mktemp("fitflix"), NEW_YEAR) as made:
        yield made


@pytest.fixture(scope="module")
def server(url: str) -> Iterator[Running]:
    """Yield the backend with its own settings."""
    cwd = ROOT / "examples" / "fitflix"
    with Running(*BEHIND_A_PROXY, cwd=cwd, env=NEW_YEAR | {"DATABASE_URL": url}) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Client:
    """Return somebody who has not asked anything yet."""
    return Client(server)


@pytest.fixture
def event(server: Running) -> Iterator[str]:
    """Yield the path of an event with 9 seats, which is gone afterwards."""
    organiser = Client(server)
    path = send(organiser, "POST", "/events", EVENT).headers["location"]
    yield path
    organiser.ask("DELETE", path)


def send(client: Client, method: str, path: str, body: Any) -> Response:
    """Send *body* as JSON."""
    return client.ask(method, path, json.dumps(body).encode(), JSON)


def register(client: Client, event: str, who: str) -> Response:
    """Ask for a seat."""
    body = {"name": who, "email": f"{who}@fitflix.example"}
    return send(client, "POST", f"{event}/registrations", body)


def test_all_events_are_on_some_page_once(server: Running) -> None:
    """In the order in which they begin."""
    found, path = list[int](), "/events?limit=100"
    while path:
        # No address may ask as often as that.
        page = Client(server).get(path).json()
        found += [event["id"] for event in page["events"]]
        path = page["next"] and f"/events?limit=100&after={page['next']}"

    assert found == list(range(1, EVENTS_MADE + 1))


def test_a_place_in_no_list_is_refused(client: Client) -> None:
    """With what to do, and not as a failure."""
    assert client.get("/events?after=nonsense").status == 400


@pytest.mark.parametrize("change", [{"title": "Yoga\0"}, {"seats": 2**40}, {"activity_id": 99}])
def test_what_no_database_takes_is_refused(client: Client, change: dict[str, object]) -> None:
    """By what the application says of it, and not as a failure."""
    assert send(client, "POST", "/events", EVENT | change).status == 422


def test_no_seat_is_given_twice(server: Running, event: str) -> None:
    """However many ask at once, and with no more connections than it may have."""
    with ThreadPoolExecutor(100) as threads:
        answers = list(
            threads.map(lambda n: register(Client(server), event, f"member-{n}"), range(100))
        )

    assert Counter(answer.status for answer in answers) == {201: SEATS, 409: 100 - SEATS}
    assert Client(server).get(event).json()["left"] == 0


def test_a_seat_that_is_given_back_is_free_again(client: Client, event: str) -> None:
    """Only by whoever has it, and once."""
    seat = register(client, event, "ann").json()
    assert client.get(event).json()["left"] == SEATS - 1

    withdrawal = f"{event}/registrations/{seat['id']}/withdrawal"
    given_back = [
        send(client, "POST", withdrawal, {"email": f"{who}@fitflix.example"}).status
        for who in ("bob", "ann", "ann")
    ]
    assert given_back == [404, 204, 404]
    assert client.get(event).json()["left"] == SEATS


def test_an_address_has_one_seat(client: Client, event: str) -> None:
    """However it is written; and the second attempt takes none."""
    assert [register(client, event, who).status for who in ("ann", "Ann")] == [201, 409]
    assert client.get(event).json()["left"] == SEATS - 1


def test_a_change_shows_at_once(client: Client, event: str) -> None:
    """In what was kept, too; but nobody loses a seat by it."""
    assert client.get(event).json()["title"] == EVENT["title"]
    change = {"title": "Yoga at noon", "starts_at": "2027-07-01T12:00:00Z"}
    assert send(client, "PATCH", event, change).json()["title"] == "Yoga at noon"
    found = client.get(event).json()
    assert (found["title"], found["starts_at"]) == ("Yoga at noon", "2027-07-01T12:00:00Z")

    for who in ("ann", "bob"):
        register(client, event, who)
    assert send(client, "PATCH", event, {"seats": 1}).status == 409
    assert send(client, "PATCH", event, {"seats": 2}).json()["left"] == 0
    assert send(client, "PATCH", event, {}).status == 422


def test_a_change_of_the_description_shows_at_once(client: Client, event: str) -> None:
    """Though it is kept by itself."""
    assert client.get(f"{event}/description").json()["description"] == ""
    send(client, "PATCH", event, {"description": "Bring a towel."})
    assert client.get(f"{event}/description").json()["description"] == "Bring a towel."


def test_an_event_is_found_that_was_asked_for_too_early(client: Client, event: str) -> None:
    """That there was none had been kept."""
    coming = f"/events/{int(event.rpartition('/')[2]) + 1}"
    early = [client.get(path).status for path in (coming, f"{coming}/description")]
    assert send(client, "POST", "/events", EVENT).headers["location"] == coming

    assert early == [404, 404]
    assert [client.get(path).status for path in (coming, f"{coming}/description")] == [200, 200]
    client.ask("DELETE", coming)


def test_an_event_takes_its_registrations_along(client: Client, url: str) -> None:
    """And it is gone for whoever had asked for it; its id is nobody else's."""
    path = send(client, "POST", "/events", EVENT).headers["location"]
    before = count(url, "registrations")
    register(client, path, "ann")
    assert (client.get(path).status, count(url, "registrations")) == (200, before + 1)

    assert [client.ask("DELETE", path).status for _ in range(2)] == [204, 404]
    assert count(url, "registrations") == before
    assert client.get(path).status == 404
    assert register(client, path, "ann").status == 404
    assert send(client, "POST", "/events", EVENT).headers["location"] != path


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_there_are_three_connections_at_most(server: Running, url: str, event: str) -> None:
    """As the server itself counts them, while a hundred ask."""
    days = [f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}" for n in range(200)]
    with counted_connections(url) as counted, ThreadPoolExecutor(50) as threads:
        answers = list(
            threads.map(lambda day: Client(server).get(f"/events?since={day}T00:00:00Z"), days)
        )

    assert {answer.status for answer in answers} == {200}
    assert 1 <= max(counted) <= CONNECTIONS
