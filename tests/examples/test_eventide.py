"""Eventide, started as its README says: two workers that see each other's changes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.examples.client import BEHIND_A_PROXY, Client
from tests.support.mongo import MongoServer, direct, mongo_urls
from tests.support.redis import RedisServer
from tests.support.server import ROOT, Response, Running, clean_environment
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

JSON = {"content-type": "application/json"}
EVENT = {
    "title": "Regatta",
    "city": "Porto",
    "starts_at": "2027-06-01T12:00:00+02:00",
    "seats": 2,
    "description": "Bring a boat.",
}
HERE = ROOT / "examples" / "eventide"
SECRET = {"EVENTIDE_SECRET": "not a secret at all, with 32 bytes"}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Yield the URL of an empty database."""
    with mongo_urls() as make:
        yield make()


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield the backend with its own settings."""
    env = {
        "MONGO_URL": database,
        "EVENTIDE_DATA": str(tmp_path_factory.mktemp("eventide")),
    }
    with Running(*BEHIND_A_PROXY, cwd=HERE, env=SECRET | env) as running:
        yield running


class Visitor:
    """Somebody with an address, who can log in."""

    def __init__(self, server: Running) -> None:
        self.client = Client(server)
        self.email = f"{self.client.headers['x-forwarded-for']}@example.org"
        self.token: Mapping[str, str] = {}

    def send(self, method: str, path: str, body: Any = None) -> Response:
        """Send a request, with JSON where there is a *body*."""
        encoded = None if body is None else json.dumps(body).encode()
        return self.client.ask(method, path, encoded, {**JSON, **self.token})

    def log_in(self, password: str = "correct horse") -> Response:
        """Log in; with the right password, further requests have the token."""
        answer = self.send("POST", "/auth/login", {"email": self.email, "password": password})
        if answer.status == 200:
            self.token = {"authorization": f"Bearer {answer.json()['access_token']}"}
        return answer


@pytest.fixture
def stranger(server: Running) -> Visitor:
    """Return somebody who has no account."""
    return Visitor(server)


@pytest.fixture
def member(server: Running) -> Visitor:
    """Return somebody who is logged in."""
    return registered(Visitor(server))


def registered(made: Visitor) -> Visitor:
    """Have *made* registered and logged in."""
    credentials = {"email": made.email, "password": "correct horse"}
    assert made.send("POST", "/auth/register", credentials).status == 201
    assert made.log_in().status == 200
    return made


def left(visitor: Visitor, number: int) -> set[int]:
    """Return what the workers say of the seats that are left, in some answers."""
    return {visitor.client.get(f"/events/{number}").json()["seats_left"] for _ in range(12)}


def test_a_change_reaches_the_caches_of_all_workers(member: Visitor, server: Running) -> None:
    """Each answer after a booking says so, whichever worker gives it."""
    number = member.send("POST", "/events", EVENT).json()["id"]
    assert left(member, number) == {2}
    assert member.send("POST", f"/events/{number}/bookings").status == 201
    assert left(member, number) == {1}
    assert member.send("PATCH", f"/events/{number}", {"seats": 9}).json()["seats_left"] == 8
    assert left(Visitor(server), number) == {8}


def test_instances_share_their_caches_through_redis(database: str, tmp_path: Path) -> None:
    """A change reaches the other instance; without Redis each goes on by itself."""
    with RedisServer() as redis, ExitStack() as stack:
        env = SECRET | {"MONGO_URL": database, "REDIS_URL": redis.url}
        env |= {"EVENTIDE_DATA": str(tmp_path)}
        one, other = (
            stack.enter_context(Running(*BEHIND_A_PROXY, "--workers", "1", cwd=HERE, env=env))
            for _ in range(2)
        )
        member = registered(Visitor(one))
        number = member.send("POST", "/events", EVENT).json()["id"]
        assert left(Visitor(other), number) == {2}
        assert member.send("POST", f"/events/{number}/bookings").status == 201
        await_true(lambda: left(Visitor(other), number) == {1}, "the other instance to hear of it")

        redis.kill()
        assert left(Visitor(other), number) == {1}
        assert member.send("PATCH", f"/events/{number}", {"seats": 9}).json()["seats_left"] == 8
        assert left(member, number) == {8}


def test_nobody_gets_a_seat_twice_or_one_that_is_not_there(
    member: Visitor, server: Running
) -> None:
    """The second booking of one person is refused, and the one after the last."""
    number = member.send("POST", "/events", EVENT | {"seats": 1}).json()["id"]
    booked = f"/events/{number}/bookings"
    assert [member.send("POST", booked).status for _ in range(2)] == [201, 409]
    assert member.send("PATCH", f"/events/{number}", {"seats": 1}).status == 200
    mine = member.send("GET", "/bookings").json()
    assert [booking["event_id"] for booking in mine] == [number]


@pytest.mark.parametrize(
    "change",
    [
        {"starts_at": "0001-01-01T00:00:00+14:00"},
        {"starts_at": "0999-01-01T00:00:00Z"},
        {"starts_at": "2100-01-01T00:00:00Z"},
        # The answer cannot repeat these: no JSON holds them.
        {"title": "\ud800"},
        {"title": math.nan},
        {"seats": math.inf},
    ],
)
def test_an_event_that_cannot_be_is_refused(member: Visitor, change: dict[str, object]) -> None:
    """With the reason, and not as a failure."""
    answer = member.send("POST", "/events", EVENT | change)
    assert (answer.status, list(answer.json())) == (422, ["detail"])


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login"])
def test_credentials_that_cannot_be_are_refused_unrepeated(stranger: Visitor, path: str) -> None:
    """What is refused may be most of somebody's password."""
    given = {"email": stranger.email, "password": "hunter2"}
    for wrong in ({}, {"email": "\ud800@example.org"}, {"password": "hunter2\ud800"}):
        answer = stranger.send("POST", path, given | wrong)
        assert answer.status == 422
        assert b"hunter2" not in answer.body


def test_who_guesses_passwords_has_to_wait(stranger: Visitor, server: Running) -> None:
    """From that address; operators see it, and others do not."""
    said = [stranger.log_in("wrong password").status for _ in range(7)]
    assert said == [401] * 5 + [429] * 2
    assert int(stranger.log_in().headers["retry-after"]) > 800
    # Another address may go on.
    assert Visitor(server).log_in().status == 401

    listed = server.get("/security/events?kind=login_failed").json()
    address = stranger.client.headers["x-forwarded-for"]
    assert [each["client"] for each in listed["events"]].count(address) == 5
    assert stranger.client.get("/security/events").status == 403


def test_a_forged_token_is_refused_and_noted(stranger: Visitor, server: Running) -> None:
    """It is none of ours."""
    stranger.token = {"authorization": "Bearer e30.e30.e30"}
    assert stranger.send("GET", "/bookings").status == 401
    listed = server.get("/security/events?kind=suspicious").json()
    assert "forged token" in listed["events"][0]["detail"]


def test_the_last_seats_are_booked_once(server: Running, database: str) -> None:
    """However many want them at the same time, in two workers."""
    organiser = registered(Visitor(server))
    number = organiser.send("POST", "/events", EVENT | {"seats": 3}).json()["id"]
    visitors = [registered(Visitor(server)) for _ in range(8)]
    said: list[int] = []

    def book(visitor: Visitor) -> None:
        said.append(visitor.send("POST", f"/events/{number}/bookings").status)

    threads = [Thread(target=book, args=(each,)) for each in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [201] * 3 + [409] * 5
    with direct(database) as client:
        kept = client.get_default_database()
        assert kept["events"].find_one({"_id": number})["seats_left"] == 0
        assert kept["bookings"].count_documents({"event_id": number}) == 3


CUT_OFF = """
import asyncio
from eventide.app import book, event
from eventide.database import bookings, events, ready

async def main():
    await ready()
    for number in range(60):
        task = asyncio.create_task(book(1, 5))
        await asyncio.sleep(0.0005 * (number % 12))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    # All of that was a while ago.
    await events.update_one({"_id": 5}, {"$set": {"taken_at": "2026-01-01T00:00:00Z"}})
    shown = await event(5)
    print(shown["seats"], shown["seats_left"], await bookings.count_documents({"event_id": 5}))

asyncio.run(main())
"""


def test_a_booking_that_is_cut_off_loses_no_seat(database: str, tmp_path: Path) -> None:
    """Wherever it is cut off: between the seat and the booking, too."""
    env = clean_environment() | {"MONGO_URL": database, "EVENTIDE_DATA": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", CUT_OFF],
        cwd=HERE,
        env=env | {"TONNAGE_ENV": "production"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    seats, left, booked = map(int, ended.stdout.splitlines()[-1].split())
    assert seats == left + booked
    assert booked <= 1


def test_it_starts_without_a_database(tmp_path: Path) -> None:
    """It says what is missing, and answers; when MongoDB is there, it goes on."""
    with MongoServer() as mongo:
        mongo.kill()
        env = {
            "MONGO_URL": f"{mongo.database()}?connect_timeout=0.5",
            "EVENTIDE_DATA": str(tmp_path),
        }
        with Running(*BEHIND_A_PROXY, "--workers", "1", cwd=HERE, env=env) as running:
            visitor = Visitor(running)
            assert visitor.client.get("/events/1").status == 503
            mongo.start()
            await_true(
                lambda: visitor.client.get("/events/1").status == 200, "MongoDB to be found", 20
            )


def test_both_workers_have_made_one_database(server: Running, database: str) -> None:
    """Each of them prepares it; there is every event once, and every index."""
    with direct(database) as client:
        kept = client.get_default_database()
        assert kept["events"].count_documents({"_id": {"$lte": 2000}}) == 2000
        indexes = kept["bookings"].index_information().values()
        assert [("user_id", 1), ("event_id", 1)] in [each["key"] for each in indexes]
        # Two workers, with five each at most, and what they and this need to look at the server.
        current = client.admin.command("serverStatus")["connections"]["current"]
        assert current <= 2 * 5 + 4 + 2


def test_events_are_read_in_pages(server: Running) -> None:
    """In the order in which they start, each once."""
    visitor = Visitor(server)
    numbers: list[int] = []
    after = ""
    for _ in range(7):
        page = visitor.client.get(f"/events?city=Tallinn&limit=100{after}").json()
        numbers += [each["id"] for each in page["events"]]
        after = f"&after={page['next']}"
    assert page["next"] is None
    assert numbers == list(range(2, 2001, 3))
    # Also while a worker keeps the page that nobody is before.
    for _ in range(10):
        assert visitor.client.get("/events").status == 200
        for after in ("nonsense", "None"):
            assert visitor.client.get(f"/events?after={after}").status == 400


def test_lists_come_without_what_is_long(server: Running) -> None:
    """The description comes with a single event."""
    visitor = Visitor(server)
    listed = visitor.client.get("/events?limit=1").json()["events"][0]
    event = visitor.client.get(f"/events/{listed['id']}").json()
    description = event.pop("description")
    assert (len(description) > 1000, event) == (True, listed)


def test_it_has_the_bounds_of_its_host(server: Running) -> None:
    """Its settings reach the server: processes, what one may grow to, and connections."""
    assert server.banner("workers").startswith("2, clustering")
    assert "200 MB" in server.banner("recycling")
    assert "at most 5 connections a worker" in server.banner("MongoDB")


def test_an_operator_can_clear_the_caches(member: Visitor, server: Running, database: str) -> None:
    """The next answers come from the database, in every worker."""
    assert left(member, 3) == {34}
    with direct(database) as client:
        client.get_default_database()["events"].update_one({"_id": 3}, {"$set": {"seats_left": 30}})
    assert left(member, 3) == {34}
    assert member.client.ask("POST", "/cache/clear").status == 403
    assert server.request("POST", "/cache/clear").status == 200
    assert left(member, 3) == {30}


def test_a_storm_of_log_ins_leaves_threads_to_others(member: Visitor, server: Running) -> None:
    """Log-ins take turns, and wait for them without a thread: each worker has 8 of those."""
    over: list[int] = []

    def storm() -> None:
        over.append(Visitor(server).log_in().status)

    threads = [Thread(target=storm) for _ in range(40)]
    for thread in threads:
        thread.start()
    await_true(lambda: over, "the first to be refused", 20)
    assert member.client.get("/events?city=Tallinn").status == 200
    before_the_last = len(over)
    for thread in threads:
        thread.join()
    assert over == [401] * 40
    assert before_the_last < 35


def test_where_memory_lacks_to_hash_nobody_has_guessed_wrong(tmp_path: Path) -> None:
    """It is 503 as elsewhere: neither a wrong password, which is counted, nor a fault."""
    story = """
import resource
from eventide.accounts import _hashed, _is_right

known = _hashed("correct horse")
assert _is_right(known, "correct horse") and not _is_right(known, "wrong horse")
with open("/proc/self/statm") as statm:
    data = int(statm.read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (data, -1))
taken = []
try:
    while True:
        taken.append(bytearray(2**20))  # what hashing has left free
except MemoryError:
    pass
for attempt in (lambda: _hashed("correct horse"), lambda: _is_right(known, "correct horse")):
    try:
        attempt()
    except MemoryError:
        print("no memory")
"""
    done = subprocess.run(
        [sys.executable, "-c", story],
        cwd=HERE,
        env=clean_environment() | {"EVENTIDE_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "no memory\n" * 2, done.stderr
