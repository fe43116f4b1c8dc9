"""Fibuca, started as its README says: photos come in one at a time, and only such as are photos."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.examples.client import BEHIND_A_PROXY, Client
from tests.examples.databases import sqlite_url
from tests.support.server import ROOT, Response, Running
from tests.web.path.uploads.forms import FORM_TYPE, GIF, JPEG, file_part, form, png

from tonnage.units import MIB

pytestmark = pytest.mark.real

FORM = FORM_TYPE.decode()
FIELDS = {"content-type": "application/x-www-form-urlencoded"}
PHOTO = png(20_000)


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """Yield where members and photos are kept: on a disk, which pytest's directory may not be."""
    with TemporaryDirectory(prefix="fibuca-", dir="/var/tmp") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    """Yield the backend with its own settings."""
    env = {"FIBUCA_DATA": str(data), "DATABASE_URL": sqlite_url(data)}
    with Running(*BEHIND_A_PROXY, cwd=ROOT / "examples" / "fibuca", env=env) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Member:
    """A member, and the address that he or she asks from."""

    client: Client
    number: int
    key: str

    def ask(
        self, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> Response:
        """Send a request with the member's key."""
        return self.client.ask(method, path, body, self.headers(content_type))

    def send(self, content: bytes, name: str = "me.png", type: str = "image/png") -> Response:
        """Send a file as the page's form does."""
        body = form(file_part("photo", name, content, type))
        return self.ask("POST", "/me/photo", body, FORM)

    def headers(self, content_type: str = "") -> dict[str, str]:
        """Return what goes with a request."""
        kind = {"content-type": content_type} if content_type else {}
        return {"x-member-key": self.key} | kind


@pytest.fixture
def member(server: Running) -> Member:
    """Return somebody who has just joined."""
    return join(Client(server))


def join(client: Client) -> Member:
    """Have somebody join who asks from the address of *client*."""
    answer = client.ask("POST", "/members", b"name=Asha", FIELDS)
    assert answer.status == 201
    return Member(client, answer.json()["number"], answer.json()["key"])


def error_of(answer: Response) -> tuple[int, str]:
    """Return the status and the word of a refusal, which is JSON whoever gives it."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status
    assert answer.json()["detail"]
    return answer.status, answer.json()["error"]


def test_the_page_has_a_form_that_sends_photos(server: Running) -> None:
    """To the route that takes them."""
    page = Client(server).get("/")

    assert page.headers["content-type"].startswith("text/html")
    assert b'action="/me/photo" enctype="multipart/form-data"' in page.body


def test_a_photo_is_kept_as_it_came(member: Member, data: Path) -> None:
    """From a form or raw; the last one counts, and its type is that of its content."""
    assert member.send(PHOTO).json() == {"type": "image/png", "bytes": len(PHOTO)}
    assert member.ask("GET", "/me/photo").body == PHOTO
    assert member.ask("POST", "/me/photo", JPEG, "image/jpeg").status == 201

    shown = member.ask("GET", "/me/photo")
    assert (shown.body, shown.headers["content-type"]) == (JPEG, "image/jpeg")
    assert member.ask("GET", "/me").json()["photo"] == "image/jpeg"
    assert (data / "photos" / str(member.number)).read_bytes() == JPEG


@pytest.mark.parametrize(
    ("content", "name", "type"),
    [
        (b"<?php system('id'); ?>", "me.png", "image/png"),
        (JPEG, "me.png", "image/png"),
        (GIF, "me.gif", "image/gif"),
    ],
    ids=["no photo", "not the type it says", "a type that is not taken"],
)
def test_what_is_no_photo_is_refused(member: Member, content: bytes, name: str, type: str) -> None:
    """By its content, whatever it is called."""
    assert error_of(member.send(content, name, type)) == (415, "unsupported_media_type")
    assert error_of(member.ask("GET", "/me/photo")) == (404, "no_photo")


def test_a_photo_has_2_mb_at_most(member: Member) -> None:
    """One byte more is refused."""
    assert member.send(png(2 * MIB)).status == 201
    assert error_of(member.send(png(2 * MIB + 1))) == (413, "payload_too_large")


def test_a_form_with_far_more_is_refused_before_it_is_sent(server: Running) -> None:
    """Also to somebody whom the application would not let send anything."""
    answer = Client(server).announce("POST", "/me/photo", 3 * MIB, {"content-type": FORM})

    assert error_of(answer) == (413, "payload_too_large")


def test_photos_come_in_one_at_a_time(server: Running, member: Member, data: Path) -> None:
    """The second waits until the first is there."""
    other, answers = join(Client(server)), list[Response]()
    waiting = threading.Thread(target=lambda: answers.append(other.send(PHOTO)))
    length = {"content-length": str(len(PHOTO))}

    with member.client.begin(
        "POST", "/me/photo", member.headers("image/png") | length
    ) as connection:
        connection.send(PHOTO[:10_000])
        assert member.ask("GET", "/me").status == 200
        waiting.start()
        waiting.join(0.3)
        assert answers == []
        connection.send(PHOTO[10_000:])
        assert connection.getresponse().status == 201
    waiting.join(10.0)

    assert [answer.status for answer in answers] == [201]
    assert all(path.name.isdecimal() for path in (data / "photos").iterdir())


def test_a_member_has_20_uploads(server: Running) -> None:
    """From whatever address; then the next in 3 minutes, while another goes on from the same."""
    member, addresses = join(Client(server)), [Client(server) for _ in range(2)]
    answers = [
        Member(addresses[number % 2], member.number, member.key).send(PHOTO) for number in range(21)
    ]

    assert {answer.status for answer in answers[:20]} == {201}
    assert error_of(answers[20]) == (429, "rate_limited")
    assert 170 <= int(answers[20].headers["retry-after"]) <= 180
    assert join(addresses[0]).send(PHOTO).status == 201


def test_an_address_has_100_requests(server: Running) -> None:
    """With whatever keys it invents."""
    client = Client(server)
    answers = [
        client.ask("POST", "/me/photo", b"", {"x-member-key": str(number)}) for number in range(101)
    ]

    assert {error_of(answer) for answer in answers[:100]} == {(401, "unknown_member")}
    assert error_of(answers[100]) == (429, "rate_limited")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", (404, "not_found")),
        ("PUT", "/me", (405, "method_not_allowed")),
        ("POST", "/members", (422, "bad_name")),
        ("GET", "/me", (401, "unknown_member")),
    ],
)
def test_all_errors_have_one_shape(
    server: Running, method: str, path: str, expected: tuple[int, str]
) -> None:
    """Those of Flask too, which keep their headers."""
    answer = Client(server).ask(method, path)

    assert error_of(answer) == expected
    assert ("allow" in answer.headers) == (answer.status == 405)


def test_a_form_above_5_mb_is_refused(server: Running) -> None:
    """By what it announces."""
    answer = Client(server).announce("POST", "/members", 5 * MIB + 1, FIELDS)

    assert error_of(answer) == (413, "payload_too_large")
