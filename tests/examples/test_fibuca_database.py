"""Fibuca on each of its databases: members, what belongs to them, and no connection too many."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.examples.client import BEHIND_A_PROXY, Client
from tests.examples.databases import KINDS, Kind, count, counted_connections, database
from tests.examples.portraits import finished, portrait, write_model
from tests.support.disk import on_a_disk
from tests.support.server import ROOT, Response, Running

pytestmark = pytest.mark.real

FIELDS = {"content-type": "application/x-www-form-urlencoded"}
PHOTO = portrait()
CONNECTIONS = 5
OFFICE_KEY = "the key of these tests"


@pytest.fixture(scope="module", params=KINDS)
def url(request: pytest.FixtureRequest, data: Path) -> Iterator[str]:
    """Yield the URL of a database of each kind."""
    kind: Kind = request.param
    with database(kind, "fibuca", data) as made:
        yield made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield where photos are kept."""
    with on_a_disk(tmp_path_factory.mktemp("fibuca")) as path:
        yield path


@pytest.fixture(scope="module")
def server(url: str, data: Path) -> Iterator[Running]:
    """Yield the backend with its own settings."""
    with Running(
        *BEHIND_A_PROXY, cwd=ROOT / "examples" / "fibuca", env=environment(url, data)
    ) as running:
        yield running


def environment(url: str, data: Path) -> dict[str, str]:
    """Return what says where everything is."""
    model = write_model(data / "dark.onnx")
    return {
        "FIBUCA_DATA": str(data),
        "FIBUCA_MODEL": str(model),
        "FIBUCA_OFFICE_KEY": OFFICE_KEY,
        "DATABASE_URL": url,
    }


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody with a key, from an address of his or her own."""

    client: Client
    number: int
    key: str

    def ask(
        self, method: str, path: str, body: bytes | None = None, type: str = FIELDS["content-type"]
    ) -> Response:
        """Send a request with the key."""
        return self.client.ask(method, path, body, {"x-member-key": self.key, "content-type": type})

    def apply(self, **fields: str) -> Response:
        """Send a form."""
        return self.ask("POST", "/me/applications", urlencode(fields).encode())


@pytest.fixture
def member(server: Running) -> Member:
    """Return somebody who has just joined."""
    return join(server)


def join(server: Running) -> Member:
    """Have somebody join."""
    client = Client(server)
    answer = client.ask("POST", "/members", b"name=Asha", FIELDS)
    assert answer.status == 201
    return Member(client, answer.json()["number"], answer.json()["key"])


def test_applications_come_in_pages_newest_first(member: Member, server: Running) -> None:
    """Without their statements; and nobody sees those of another."""
    sent = [member.apply(kind="family", statement="We are four.").json()["id"] for _ in range(21)]
    first = member.ask("GET", "/me/applications").json()
    second = member.ask("GET", f"/me/applications?after={first['next']}").json()

    assert [each["id"] for each in first["applications"] + second["applications"]] == sent[::-1]
    assert (len(first["applications"]), second["next"]) == (20, None)
    assert set(first["applications"][0]) == {"id", "kind", "sent_at"}
    assert join(server).ask("GET", "/me/applications").json()["applications"] == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"kind": "royal", "statement": "We are one."}, "bad_kind"),
        ({"kind": "single"}, "bad_statement"),
        ({"kind": "single", "statement": "x" * 4001}, "bad_statement"),
        ({"kind": "single", "statement": "\0 is none."}, "bad_statement"),
    ],
)
def test_an_application_that_cannot_be_is_refused(
    member: Member, fields: dict[str, str], error: str
) -> None:
    """With the field that is to blame."""
    answer = member.apply(**fields)

    assert (answer.status, answer.json()["error"]) == (422, error)


def test_the_office_reads_all_applications(member: Member) -> None:
    """In pages without statements; one at a time with it. Nobody else does."""
    sent = member.apply(kind="family", statement="We are four.").json()["id"]
    office = {"x-office-key": OFFICE_KEY}
    first = member.client.get("/office/applications", office).json()
    second = member.client.get(f"/office/applications?after={first['next']}", office).json()

    assert len(first["applications"]) == len(second["applications"]) == 20
    assert first["applications"][-1]["id"] > second["applications"][0]["id"]
    newest = first["applications"][0]
    assert newest == {
        "id": sent,
        "number": member.number,
        "name": "Asha",
        "kind": "family",
        "sent_at": newest["sent_at"],
    }
    age = datetime.now(UTC) - datetime.fromisoformat(newest["sent_at"])
    assert timedelta(0) <= age < timedelta(minutes=5)
    path = f"/office/applications/{sent}"
    assert member.client.get(path, office).json() == newest | {"statement": "We are four."}
    assert member.client.get("/office/applications/2000000000", office).status == 404
    for key in ("", "not it"):
        assert member.client.get(path, {"x-office-key": key}).status == 401


def test_a_place_in_no_list_is_refused(member: Member) -> None:
    """As whatever else is refused."""
    answer = member.ask("GET", "/me/applications?after=nonsense")

    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


def test_who_leaves_takes_everything_along(
    member: Member, server: Running, data: Path, url: str
) -> None:
    """Applications, what is known of the photo, and the photo; the number is nobody else's."""
    before = count(url, "applications"), count(url, "photos")
    assert member.apply(kind="single", statement="I am one.").status == 201
    for _ in range(2):
        sent = member.ask("POST", "/me/photo", PHOTO, "image/jpeg")
        assert finished(member.ask, sent)["status"] == "done"
    photo = data / "photos" / f"{member.number}.jpg"
    assert photo.exists()
    assert (count(url, "applications"), count(url, "photos")) == (before[0] + 1, before[1] + 1)

    assert member.ask("DELETE", "/me").status == 204
    assert (count(url, "applications"), count(url, "photos"), photo.exists()) == (*before, False)
    assert member.ask("GET", "/me").status == 401
    assert join(server).number != member.number


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_first_photos_that_come_at_once_are_one(url: str, data: Path) -> None:
    """In two workers, since each takes one at a time; whichever is last stays."""
    backend = ROOT / "examples" / "fibuca"
    before = count(url, "photos")
    with (
        Running(
            "--workers", "2", *BEHIND_A_PROXY, cwd=backend, env=environment(url, data)
        ) as server,
        ThreadPoolExecutor(6) as threads,
    ):
        for _ in range(3):
            member = join(server)
            send = partial(member.ask, "POST", "/me/photo", PHOTO, "image/jpeg")
            sent = [threads.submit(send) for _ in range(6)]
            done = {finished(member.ask, each.result())["status"] for each in sent}
            assert done == {"done"}
    assert count(url, "photos") == before + 3


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_there_are_five_connections_at_most(server: Running, url: str) -> None:
    """As the server itself counts them, while many more ask."""
    with counted_connections(url) as counted, ThreadPoolExecutor(32) as threads:
        members = list(threads.map(lambda _: join(server), range(100)))

    assert len({member.number for member in members}) == 100
    assert 1 <= max(counted) <= CONNECTIONS
