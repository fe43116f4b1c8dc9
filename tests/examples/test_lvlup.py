"""LvlUp, started as its README says: over SQLite, and over PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.examples.client import BEHIND_A_PROXY, Client
from tests.examples.databases import KINDS, Kind, database, migrate, sqlite_url
from tests.support.disk import on_a_disk
from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer
from tests.support.server import ROOT, Running
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

JSON = {"content-type": "application/json"}
TOKEN = "of-those-who-made-the-game"
# Of the made data.
DAY, NEXT_DAY = "/games/chess/days/2026-03-02", "/games/chess/days/2026-03-03"
PURCHASE = {"player": "ann", "product": "hat", "cents": 199, "currency": "EUR"}


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Yield the backend with its own settings, and each database."""
    kind: Kind = request.param
    with (
        on_a_disk(tmp_path_factory.mktemp("lvlup")) as data,
        database(kind, "lvlup", data) as url,
        started({"LVLUP_DATA": str(data), "DATABASE_URL": url}) as running,
    ):
        yield running


def started(env: dict[str, str]) -> Running:
    """Return the backend, to be started with *env*."""
    env = {"TONNAGE_ADMIN_TOKEN": TOKEN} | env
    return Running(*BEHIND_A_PROXY, cwd=ROOT / "examples" / "lvlup", env=env)


@pytest.fixture
def client(server: Running) -> Client:
    """Return a game's server."""
    return Client(server)


def send(client: Client, path: str, body: Any) -> int:
    """Send *body* and return the status of the answer."""
    return client.ask("POST", path, json.dumps(body).encode(), JSON).status


def metrics(client: Client) -> dict[str, Any]:
    """Return what the server tells those who have the token."""
    answer = client.get("/api/metrics", {"authorization": f"Bearer {TOKEN}"})
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json()
    return found


def flushed(client: Client, writer: str) -> int:
    """Return how many records *writer* has stored, in all workers that there have been."""
    told: dict[str, int] = metrics(client)["batchWriters"].get(writer, {})
    return told.get("totalFlushed", 0)


def await_flushed(client: Client, writer: str, records: int) -> None:
    """Wait until *writer* has stored so many *records*."""
    await_true(lambda: flushed(client, writer) == records, f"{writer} to be stored", 20)


def today(client: Client, game: str) -> dict[str, Any]:
    """Return the figures of today."""
    found: dict[str, Any] = client.get(f"/games/{game}/days/{datetime.now(UTC):%Y-%m-%d}").json()
    return found


def test_what_games_send_is_counted(client: Client) -> None:
    """After some seconds, since it is stored together with what others send."""
    moves = [{"player": name, "name": "move", "properties": {"n": 1}} for name in ("ann", "bob")]
    assert send(client, "/games/chess/events", moves) == 202
    assert send(client, "/games/chess/events", [{"player": "ann", "name": "mate"}]) == 202
    assert send(client, "/games/chess/sessions/session-1/beat", {"player": "ann"}) == 202
    for _ in range(2):
        assert send(client, "/games/chess/revenue", {"purchase": "shop-0001", **PURCHASE}) == 202

    for writer, records in (("events", 3), ("revenue", 2), ("heartbeats", 1)):
        await_flushed(client, writer, records)
    found = today(client, "chess")
    assert (found["players"], found["events"]) == (2, {"move": 2, "mate": 1})
    # Told of twice, it counts once.
    assert found["revenue"] == [{"currency": "EUR", "cents": 199, "purchases": 1}]
    assert found["sessions"] == {"begun": 1, "ended": 0, "mean_seconds": None}


def test_an_answer_about_a_day_is_kept(client: Client) -> None:
    """By game and date; another game's is another."""
    before = today(client, "go")
    assert (before["events"], today(client, "go")) == ({}, before)
    assert today(client, "tag")["game"] == "tag"


def test_the_made_data_have_figures(client: Client) -> None:
    """A week of two games, with as much on each day as on the others."""
    found = client.get(DAY).json()
    assert sum(found["events"].values()) == 1800
    assert found["events"]["move"] == 900
    assert (found["sessions"]["begun"], found["sessions"]["ended"]) == (72, 72)
    assert sum(each["purchases"] for each in found["revenue"]) == 18


def test_purchases_are_listed_in_pages(client: Client) -> None:
    """All of them, each once, the latest first; what is no place in the list is refused."""
    found, path = list[str](), "/games/go/revenue?limit=50"
    while path:
        page = client.get(path).json()
        found += [each["purchase"] for each in page["purchases"]]
        path = page["next"] and f"/games/go/revenue?limit=50&after={page['next']}"
    assert found == [f"made-go-{number:04}" for number in range(125, -1, -1)]
    (first,) = client.get("/games/go/revenue?limit=1").json()["purchases"]
    assert first["at"] == "2026-03-08T22:40:00Z"
    for wrong in ("limit=101", "after=nonsense"):
        assert client.get(f"/games/go/revenue?{wrong}").status in (400, 422)


def test_connections_are_counted(client: Client) -> None:
    """Three to ask for figures with and one for each writer, as the server tells if it can."""
    for _ in range(3):
        today(client, "go")

    await_true(lambda: metrics(client)["dbConnections"][0]["count"], "connections to be told", 10)
    (connections,) = metrics(client)["dbConnections"]
    assert 1 <= connections["count"] <= 6


def test_metrics_are_told_to_those_who_have_the_token(client: Client) -> None:
    """With the original's keys; memory is in MB."""
    assert client.get("/api/metrics").status == 403
    found = metrics(client)
    assert set(found) == {
        *("timestamp", "uptime", "memory", "dbConnections", "batchWriters"),
        *("environment", "version"),
    }
    assert set(found["memory"]) == {"rss", "heapTotal", "heapUsed", "external", "arrayBuffers"}
    assert 20 < found["memory"]["rss"] < 512
    assert set(found["batchWriters"]) == {"events", "revenue", "heartbeats"}
    assert set(found["batchWriters"]["revenue"]) == {
        *("bufferSize", "totalFlushed", "totalFailed", "totalDropped"),
    }


def test_what_makes_no_sense_is_refused(client: Client) -> None:
    """Before it reaches a writer, which would set it aside later."""
    assert send(client, "/games/chess/events", [{"player": "", "name": "move"}]) == 422
    assert send(client, "/games/no%20game/events", []) == 422
    assert send(client, "/games/chess/revenue", {"purchase": "shop-2", **PURCHASE}) == 422


@pytest.mark.parametrize(
    "text", ['"shop-0\\u0000001"', '"shop-0\\ud800001"', '"shop-0 001"', '"short"']
)
def test_a_purchase_that_cannot_be_stored_is_not_taken(client: Client, text: str) -> None:
    """No database has these characters: who sends them is told at once."""
    purchase = json.dumps({"purchase": "-", **PURCHASE}).replace('"-"', text)
    assert client.ask("POST", "/games/chess/revenue", purchase.encode(), JSON).status == 422


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ('"mo\\u0000ve"', "{}"),
        ('"mo\\ud800ve"', "{}"),
        ('"move"', '{"n": NaN}'),
        ('"move"', '{"n": 1e999}'),
        ('"move"', f'{{"n": {10**400}}}'),
        ('"move"', '{"n": "\\u0000"}'),
        ('"move"', '{"\\u0000": 1}'),
        ('"move"', '{"\\ud800": 1}'),
        ('"move"', json.dumps({"n": "x" * 201})),
        ('"move"', json.dumps({"n" * 61: 1})),
        ('"move"', json.dumps({f"n{number}": 1 for number in range(21)})),
    ],
    ids=range(11),
)
def test_an_event_that_cannot_be_stored_is_not_taken(
    client: Client, name: str, properties: str
) -> None:
    """Nor one with names and values that are longer than names and values are."""
    event = f'[{{"player": "ann", "name": {name}, "properties": {properties}}}]'
    assert client.ask("POST", "/games/chess/events", event.encode(), JSON).status == 422


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1999-12-31", "today"])
def test_a_day_on_which_nobody_played_is_none(client: Client, day: str) -> None:
    """The last day of the calendar has no end."""
    assert client.get(f"/games/chess/days/{day}").status == 422


def test_a_purchase_outlives_its_worker(client: Client, server: Running) -> None:
    """It was on the disk when it was answered, and the next worker stores it."""
    before = flushed(client, "revenue")
    assert send(client, "/games/poker/revenue", {"purchase": "shop-0002", **PURCHASE}) == 202
    (killed,) = server.worker_pids()
    os.kill(killed, signal.SIGKILL)
    await_true(lambda: killed not in server.worker_pids() and server.worker_pids(), "another", 15)
    # Whoever takes up what was left does so when it first adds.
    assert send(client, "/games/poker/revenue", {"purchase": "shop-0003", **PURCHASE}) == 202
    await_flushed(client, "revenue", before + 2)
    assert today(client, "poker")["revenue"] == [{"currency": "EUR", "cents": 398, "purchases": 2}]


def test_a_purchase_that_the_disk_does_not_take_is_to_be_sent_again(tmp_path: Path) -> None:
    """Whoever sends it is told so, and it is taken as soon as the disk is in order."""
    with on_a_disk(tmp_path) as data:
        env = {"LVLUP_DATA": str(data), "DATABASE_URL": sqlite_url(data)}
        migrate("lvlup", env)
        spool = data / "spool"
        spool.write_text("where a directory should be")
        body = json.dumps({"purchase": "shop-0001", **PURCHASE}).encode()
        with started(env) as running:
            client = Client(running)
            answer = client.ask("POST", "/games/chess/revenue", body, JSON)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            spool.unlink()
            answer = client.ask("POST", "/games/chess/revenue", body, JSON)
            assert answer.status == 202
            await_flushed(client, "revenue", 1)


def test_while_the_database_is_away_figures_are_asked_for_later(tmp_path: Path) -> None:
    """Whoever asks for figures is told to come again, and events are taken; then all is there."""
    with PostgresServer() as postgres, on_a_disk(tmp_path) as data:
        url = f"{postgres.url}&connection_limit=2&pool_timeout=5"
        env = {"LVLUP_DATA": str(data), "DATABASE_URL": url}
        migrate("lvlup", env)
        with started(env) as running:
            client = Client(running)
            day = f"/games/chess/days/{datetime.now(UTC):%Y-%m-%d}"
            assert client.get(day.replace("chess", "go")).status == 200
            postgres.kill()
            for _ in range(2):
                answer = client.get(day)
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            move = [{"player": "ann", "name": "move"}]
            assert send(client, "/games/chess/events", move) == 202
            assert "Traceback" not in running.log
            postgres.start()
            await_true(lambda: client.get(day).status == 200, "figures", 10)
            await_flushed(client, "events", 1)


def test_instances_share_figures_through_redis(tmp_path: Path) -> None:
    """One finds what another has made, though it knows better; without Redis it goes on alone."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        data = stack.enter_context(on_a_disk(tmp_path))
        clients = list[Client]()
        for name in ("one", "other"):
            (data / name).mkdir()
            env = {"LVLUP_DATA": str(data / name), "DATABASE_URL": sqlite_url(data / name)}
            running = stack.enter_context(started(env | {"REDIS_URL": redis.url}))
            clients.append(Client(running))
        one, other = clients
        with closing(sqlite3.connect(data / "other" / "app.sqlite3")) as connection:
            connection.execute("DELETE FROM events")
            connection.commit()

        found = one.get(DAY).json()
        await_true(lambda: b"days" in redis.command("KEYS", "*days*"), "it to be in Redis")
        assert other.get(DAY).json() == found
        redis.kill()
        assert other.get(NEXT_DAY).json()["events"] == {}
