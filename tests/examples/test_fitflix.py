"""FitFlix, started as its README says: a request that breaks a limit is told so, and no other."""

from __future__ import annotations

import gzip
import json
import math
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from http.client import HTTPResponse
from pathlib import Path

import pytest
from tests.examples.client import BEHIND_A_PROXY, Client
from tests.examples.databases import sqlite_url
from tests.support.redis import RedisServer
from tests.support.server import ROOT, Running, clean_environment
from tests.support.waiting import await_true

from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.units import MIB

pytestmark = pytest.mark.real

JSON = {"content-type": "application/json"}
PAGE_OF_OURS = {"origin": "https://fitflix.example"}
EVENT = {
    "activity_id": 1,
    "title": "Yoga at dawn",
    "starts_at": "2026-07-01T06:00:00+02:00",
    "seats": 9,
}
EVENTS_MADE = 24_000
CONNECTIONS = 3
NEW_YEAR = {"FITFLIX_NOW": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the database is, which both servers of this file use."""
    return tmp_path_factory.mktemp("fitflix")


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    """Yield the backend with its own settings."""
    with started(data) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Client:
    """Return somebody who has not asked anything yet."""
    return Client(server)


def started(data: Path, *options: str, env: Mapping[str, str] = NEW_YEAR) -> Running:
    """Return the backend, to be started with *options* besides its own."""
    told = {"DATABASE_URL": sqlite_url(data), **env}
    return Running(*BEHIND_A_PROXY, *options, cwd=ROOT / "examples" / "fitflix", env=told)


def test_lists_come_in_pages_without_what_is_long(client: Client) -> None:
    """Each page says where the next begins, and nobody gets more than 100 rows."""
    first = client.get("/events?limit=2").json()
    second = client.get(f"/events?limit=2&after={first['next']}").json()

    assert [event["id"] for event in first["events"] + second["events"]] == [1, 2, 3, 4]
    assert set(first["events"][0]) == {"id", "activity", "title", "starts_at", "seats"}
    assert client.get("/events?limit=101").status == 422
    assert client.get("/events/987654321").status == 404
    assert [len(client.get(path).json()) for path in ("/plans", "/activities")] == [3, 8]


def test_lists_begin_with_what_is_to_come(client: Client, data: Path) -> None:
    """Now, unless somebody asks for another time."""
    with started(data, env={"FITFLIX_NOW": "2026-07-01T12:00:00+02:00"}) as later:
        first = Client(later).get("/events?limit=1").json()["events"][0]
        assert first["starts_at"] == "2026-07-01T10:00:00Z"
        assert (
            Client(later).get("/events?limit=1&since=2020-01-01T00:00:00Z").json()["events"]
            == (client.get("/events?limit=1").json()["events"])
        )


def test_what_is_long_is_asked_for_by_itself(client: Client) -> None:
    """One event comes without its description, as a list does."""
    event, description = (client.get(f"/events/3{path}").json() for path in ("", "/description"))

    assert set(event) == {"id", "activity", "title", "starts_at", "seats", "left"}
    assert set(description) == {"id", "description"}
    assert description["description"].startswith("We warm up")


def test_a_created_event_is_found(client: Client) -> None:
    """Where the answer says that it is."""
    made = client.ask("POST", "/events", json.dumps(EVENT).encode(), JSON)

    assert (made.status, made.json()["starts_at"]) == (201, "2026-07-01T04:00:00Z")
    assert client.get(made.headers["location"]).json()["title"] == "Yoga at dawn"


def test_a_created_event_shows_in_a_list_that_was_kept(client: Client) -> None:
    """Who creates one takes out what lists them."""
    late = "/events?since=2099-01-01T00:00:00Z"
    assert client.get(late).json() == {"events": [], "next": None}
    new = EVENT | {"starts_at": "2099-01-01T06:00:00Z"}
    made = client.ask("POST", "/events", json.dumps(new).encode(), JSON).json()

    assert [event["id"] for event in client.get(late).json()["events"]] == [made["id"]]


@pytest.mark.parametrize(
    "change",
    [
        {"activity_id": 99},
        {"seats": 0},
        {"starts_at": "0001-01-01T00:00:00Z"},
        # The answer cannot repeat these: no JSON holds them.
        {"seats": math.inf},
        {"title": "\ud800"},
    ],
)
def test_an_event_that_cannot_be_is_refused(client: Client, change: dict[str, object]) -> None:
    """With the reason, and not as a failure."""
    answer = client.ask("POST", "/events", json.dumps(EVENT | change).encode(), JSON)

    assert (answer.status, list(answer.json())) == (422, ["detail"])


def test_a_body_above_1_mb_is_refused_before_it_is_sent(client: Client) -> None:
    """By what it announces."""
    answer = client.announce("POST", "/events", MIB + 1, JSON)

    assert (answer.status, answer.json()["error"]) == (413, "payload_too_large")


def test_a_response_above_10_mb_becomes_an_error(client: Client) -> None:
    """One that says what to do; a month passes."""
    year = client.get("/export.json?month=2026")
    month = client.get("/export.json?month=2026-03")

    assert (year.status, year.json()["error"]) == (500, "response_too_large")
    assert "ask for less" in year.json()["detail"]
    assert (month.status, len(month.body) > 0.9 * MIB) == (200, True)


def test_a_stream_may_have_any_size(client: Client) -> None:
    """Its route says so, and it ends as it should."""
    answer = client.get("/export.csv")

    assert len(answer.body) > 10 * MIB
    first, *rest = answer.body.splitlines()
    assert first == b"id,title,starts_at,seats,activity,description"
    assert len(rest) >= EVENTS_MADE


def test_responses_are_compressed_by_60_percent_at_least(client: Client) -> None:
    """For whoever takes gzip."""
    plain = client.get("/export.json?month=2026-03").body
    answer = client.get("/export.json?month=2026-03", {"accept-encoding": "gzip"})

    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == plain
    assert len(answer.body) < 0.4 * len(plain)


def test_pages_of_our_site_may_call_it_for_a_day(client: Client) -> None:
    """And those of no other."""
    asked = {"access-control-request-method": "POST"}
    preflight = client.ask("OPTIONS", "/events", headers=PAGE_OF_OURS | asked)
    stranger = client.ask("OPTIONS", "/events", headers=asked | {"origin": "https://evil.example"})

    assert preflight.status == 200
    assert preflight.headers["access-control-max-age"] == "86400"
    assert preflight.headers["access-control-allow-origin"] == PAGE_OF_OURS["origin"]
    assert stranger.status == 400


def test_responses_do_not_say_what_serves_them(client: Client) -> None:
    """No ``Server``, no ``X-Powered-By``."""
    assert {"server", "x-powered-by"}.isdisjoint(client.get("/plans").headers)


def test_an_address_has_100_requests(server: Running, client: Client) -> None:
    """Then it is told how long to wait, while others go on and health is still answered."""
    answers = [client.get("/events/0") for _ in range(101)]

    assert {answer.status for answer in answers[:100]} == {422}
    refused = answers[100]
    assert (refused.status, refused.json()["error"]) == (429, "rate_limited")
    # 15 minutes by 100 requests.
    assert 1 <= int(refused.headers["retry-after"]) <= 9
    assert Client(server).get("/plans").status == client.get("/health").status == 200


def test_a_refusal_can_be_read_by_our_pages(client: Client) -> None:
    """It has the headers of CORS too."""
    answer = client.announce("POST", "/events", MIB + 1, JSON | PAGE_OF_OURS)

    assert answer.status == 413
    assert answer.headers["access-control-allow-origin"] == PAGE_OF_OURS["origin"]


def test_new_events_are_sent_as_they_happen(client: Client) -> None:
    """Whoever listens hears of an event that somebody else creates."""
    with client.begin("GET", "/live", {}) as connection:
        listening = connection.getresponse()
        assert listening.getheader("content-type", "").startswith("text/event-stream")
        assert next_message(listening) == ": listening"
        made = client.ask("POST", "/events", json.dumps(EVENT).encode(), JSON).json()
        told = next_message(listening)
    assert told.startswith(f"id: {made['id']}\ndata: ")
    assert json.loads(told.partition("data: ")[2])["title"] == "Yoga at dawn"


def test_who_comes_back_hears_what_was_missed(client: Client) -> None:
    """From the event on that was heard last, as browsers say it."""
    body = json.dumps(EVENT).encode()
    heard, missed = (client.ask("POST", "/events", body, JSON).json()["id"] for _ in range(2))
    with client.begin("GET", "/live", {"last-event-id": f"{heard}"}) as connection:
        listening = connection.getresponse()
        assert next_message(listening) == ": listening"
        assert next_message(listening).startswith(f"id: {missed}\n")


def test_all_who_listen_cost_the_database_one_who_asks(server: Running) -> None:
    """A hundred may listen, and one more is told so; what each wants to know is asked for once."""
    crowd = [Client(server), Client(server)]
    with ExitStack() as stack:
        streams = [
            stack.enter_context(crowd[number % 2].begin("GET", "/live", {})).getresponse()
            for number in range(100)
        ]
        assert {next_message(stream) for stream in streams} == {": listening"}
        refused = Client(server).get("/live")
        assert (refused.status, "retry-after" in refused.headers) == (503, True)

        before = lookups(server)
        await_true(lambda: lookups(server)["hits"] - before["hits"] > 200, "listeners to ask")
        asked = {what: count - before[what] for what, count in lookups(server).items()}
        # Of those who ask in the same moment one has the database asked; a busy machine has many.
        assert 0 < asked["misses"] - asked["joined"] < asked["hits"] / 4, asked

    def is_let_in() -> bool:
        with Client(server).begin("GET", "/live", {}) as connection:
            return connection.getresponse().status == 200

    await_true(is_let_in, "room for another listener")


def lookups(server: Running) -> dict[str, int]:
    """Return how often the cache had what was asked for, how often not, and was on its way."""
    found = re.findall(
        r'^tonnage_cache_(hits|misses|joined)_total\{name="fitflix"\} (\d+)$',
        server.get("/metrics").body.decode(),
        re.MULTILINE,
    )
    return {name: int(number) for name, number in found}


def test_a_request_that_stalls_is_ended(data: Path) -> None:
    """After the timeout, which is 30 s and here less; a stream is not."""
    with started(data, "--timeout", "500ms") as server:
        client = Client(server)
        with client.begin("GET", "/live", {}) as connection:
            listening = connection.getresponse()
            stalled = client.announce("POST", "/events", 100, JSON)
            client.ask("POST", "/events", json.dumps(EVENT).encode(), JSON)
            assert next_message(listening) == ": listening"
            assert "Yoga at dawn" in next_message(listening)

    assert (stalled.status, stalled.json()["error"]) == (504, "timed_out")


def next_message(stream: HTTPResponse) -> str:
    """Return the next message of an event stream, up to the empty line; "" at the end."""
    lines = list[bytes]()
    while (line := stream.readline()) not in (b"\n", b""):
        lines.append(line)
    return b"".join(lines).decode().strip()


def test_the_plan_says_what_its_cache_and_its_connections_may_hold(data: Path) -> None:
    """It is known from the import, before anything is served."""
    done = subprocess.run(
        [sys.executable, "-m", "tonnage", "plan", "--json"],
        cwd=ROOT / "examples" / "fitflix",
        env=clean_environment() | {"DATABASE_URL": sqlite_url(data)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    lines = {line["key"]: line for line in json.loads(done.stdout)["lines"]}
    assert lines["stores"]["bytes"] == 8 * MIB + CONNECTIONS * CONNECTION_BYTES
    assert lines["stores"]["note"] == "at most fitflix 8 MB, database 3 MB"


def test_operators_find_health_and_the_cache_where_they_always_were(server: Running) -> None:
    """Below /api; and no page of another site clears anything."""
    assert server.get("/api/health").json()["status"] == "OK"
    assert "rss" in server.get("/api/health/memory").json()["memory"]
    foreign = {"Origin": "https://evil.example"}
    assert server.request("POST", "/api/cache/clear", headers=foreign).status == 403
    assert server.request("POST", "/api/cache/clear").json()["cleared"] is None


def test_instances_share_what_they_keep_through_redis(tmp_path: Path) -> None:
    """One finds what another has made, times as well; without Redis it goes on alone."""
    with RedisServer() as redis, ExitStack() as stack:
        clients = list[Client]()
        for name in ("one", "other"):
            place = tmp_path / name
            place.mkdir()
            env = NEW_YEAR | {"REDIS_URL": redis.url}
            clients.append(Client(stack.enter_context(started(place, env=env))))
        with closing(sqlite3.connect(tmp_path / "other" / "app.sqlite3")) as database, database:
            database.execute("DELETE FROM events")

        one, other = clients
        page = one.get("/events").json()
        await_true(lambda: b"fitflix" in redis.command("KEYS", "*fitflix*"), "it to be in Redis")
        assert other.get("/events").json() == page
        redis.kill()
        assert other.get("/events?limit=7").json() == {"events": [], "next": None}


def test_what_happens_to_an_event_takes_out_what_it_touches(client: Client, data: Path) -> None:
    """A seat that is taken touches what is said of the event; a change, its text and lists too."""
    event, other = "/events/11", "/events/12"
    kept = ["/events", *(f"{one}{part}" for one in (event, other) for part in ("", "/description"))]

    def looked_up() -> set[str]:
        """Return what shows how the database is now."""
        return {path for path in kept if b"changed" in client.get(path).body}

    assert looked_up() == set()
    with closing(sqlite3.connect(data / "app.sqlite3")) as database, database:
        database.execute(
            "UPDATE events SET title = 'changed', description = 'changed' WHERE id IN (11, 12)"
        )
    assert looked_up() == set()
    seat = {"name": "Ann", "email": "ann@fitflix.example"}
    client.ask("POST", f"{event}/registrations", json.dumps(seat).encode(), JSON)
    assert looked_up() == {event}
    client.ask("PATCH", event, json.dumps({"seats": 100}).encode(), JSON)
    assert looked_up() == {event, f"{event}/description", "/events"}


def test_the_banner_has_the_levels_of_the_original(server: Running) -> None:
    """In MB, and what one worker may hold."""
    for line in (
        r"WARNING +from 450 MB",
        r"CRITICAL +from 480 MB",
        r"EXHAUSTED +from 500 MB",
        r"workers +1, .* 2 threads each",
        r"400 MB a worker at most",
    ):
        assert re.search(line, server.log), server.log
