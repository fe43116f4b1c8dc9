"""Fibuca, started as its README says: photos come in one at a time, and become cards."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from PIL import Image
from tests.examples.client import BEHIND_A_PROXY, Client
from tests.examples.databases import sqlite_url
from tests.examples.portraits import finished, padded, portrait, write_model
from tests.support.server import ROOT, Response, Running
from tests.web.path.uploads.forms import FORM_TYPE, GIF, file_part, form

from tonnage.units import MIB

pytestmark = pytest.mark.real

FORM = FORM_TYPE.decode()
FIELDS = {"content-type": "application/x-www-form-urlencoded"}
PHOTO = portrait()
PNG = portrait(format="PNG")
#: Of its portrait: 35 x 45 mm, at 300 dots per inch.
PASSPORT = (413, 531)


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """Yield where members and photos are kept: on a disk, which pytest's directory may not be."""
    with TemporaryDirectory(prefix="fibuca-", dir="/var/tmp") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    """Yield the backend with its own settings."""
    env = {
        "FIBUCA_DATA": str(data),
        "DATABASE_URL": sqlite_url(data),
        "FIBUCA_MODEL": str(write_model(data / "dark.onnx")),
    }
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

    def send(self, content: bytes, name: str = "me.jpg", type: str = "image/jpeg") -> Response:
        """Send a file as the page's form does."""
        body = form(file_part("photo", name, content, type))
        return self.ask("POST", "/me/photo", body, FORM)

    def done(self, sent: Response) -> dict[str, Any]:
        """Wait until the job of a photo is over; return what is then said of it."""
        return finished(self.ask, sent)

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
    """To the route that takes them; style and script are within it."""
    page = Client(server).get("/")

    assert page.headers["content-type"].startswith("text/html")
    assert b'action="me/photo" enctype="multipart/form-data"' in page.body
    assert b"--brand" in page.body
    assert b"followed()" in page.body


def test_a_photo_becomes_a_portrait(member: Member, data: Path) -> None:
    """From a form or raw, before white; the photo itself is not kept."""
    job = member.done(member.send(PHOTO))
    assert (job["status"], job["picture"]["type"]) == ("done", "image/jpeg")

    shown = member.ask("GET", "/me/photo")
    assert shown.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(shown.body)) as picture:
        assert abs(picture.width / picture.height - 35 / 45) < 0.01
        assert picture.width <= PASSPORT[0]
        assert picture.getpixel((2, 2)) == pytest.approx((255, 255, 255), abs=10)
    assert (data / "photos" / f"{member.number}.jpg").read_bytes() == shown.body
    assert member.ask("GET", "/me").json()["photo"] == "image/jpeg"

    raw = member.ask("POST", "/me/photo", portrait(700, 900, "PNG"), "image/png")
    assert member.done(raw)["status"] == "done"
    assert member.ask("GET", "/me/photo").body != shown.body


def test_a_card_can_be_looked_at_and_printed(member: Member) -> None:
    """When there is a photo; with the portrait on it."""
    assert error_of(member.ask("GET", "/me/card.png")) == (404, "no_photo")
    assert member.done(member.send(PHOTO))["status"] == "done"

    shown = member.ask("GET", "/me/card.png")
    assert shown.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(shown.body)) as card:
        assert card.size == (1011, 638)
        # The face, in the middle of the portrait; nothing else has that colour.
        assert card.getpixel((213, 380)) == pytest.approx((107, 63, 42), abs=20)
    printed = member.ask("GET", "/me/card.pdf")
    assert printed.headers["content-type"] == "application/pdf"
    assert printed.body.startswith(b"%PDF-")


def test_a_job_can_be_stopped(member: Member) -> None:
    """Nothing comes of it then; one that nobody knows is not there."""
    sent = member.send(PHOTO)
    path = f"/me/photo/jobs/{sent.json()['id']}"
    stopped = member.ask("DELETE", path)

    assert stopped.status == 204
    assert member.ask("GET", path).json()["status"] in ("cancelled", "running", "expired")
    assert error_of(member.ask("GET", "/me/photo/jobs/none")) == (404, "no_such_job")
    assert error_of(Client(member.client.server).get(path)) == (401, "unknown_member")


def test_a_job_is_its_members_alone(member: Member) -> None:
    """Others are told nothing of it, and cannot stop it."""
    sent, other = member.send(PHOTO), join(member.client)
    path = f"/me/photo/jobs/{sent.json()['id']}"
    for method in ("GET", "DELETE"):
        assert error_of(other.ask(method, path)) == (404, "no_such_job")
    assert member.done(sent)["status"] == "done"


def test_who_leaves_while_a_portrait_is_made_has_none(member: Member, data: Path) -> None:
    """Nor is there one anywhere else."""
    sent = member.send(PHOTO)
    assert member.ask("DELETE", "/me").status == 204
    # Jobs are made one at a time: when the next one is done, this one is over.
    other = join(member.client)
    assert other.done(other.send(PHOTO))["status"] == "done"
    assert sent.status == 202
    assert not list((data / "photos").glob(f"{member.number}.*"))


@pytest.mark.parametrize(
    ("content", "name", "type", "expected"),
    [
        (b"<?php system('id'); ?>", "me.png", "image/png", (415, "unsupported_media_type")),
        (PHOTO, "me.png", "image/png", (415, "unsupported_media_type")),
        (GIF, "me.gif", "image/gif", (415, "unsupported_media_type")),
        (PHOTO[:300], "me.jpg", "image/jpeg", (422, "picture_damaged")),
        (PHOTO[:-1000], "me.jpg", "image/jpeg", (422, "picture_damaged")),
        (PNG[:-1000], "me.png", "image/png", (422, "picture_damaged")),
    ],
    ids=[
        "no photo",
        "not the type it says",
        "a type that is not taken",
        "cut off",
        "cut off late",
        "a PNG cut off",
    ],
)
def test_what_is_no_photo_is_refused(
    member: Member, content: bytes, name: str, type: str, expected: tuple[int, str]
) -> None:
    """By its content, whatever it is called."""
    assert error_of(member.send(content, name, type)) == expected
    assert error_of(member.ask("GET", "/me/photo")) == (404, "no_photo")


def test_a_photo_with_nobody_in_it_fails(member: Member) -> None:
    """It is taken, and then told; the card stays as it was."""
    blank = io.BytesIO()
    Image.new("RGB", (300, 300), "white").save(blank, "JPEG")
    job = member.done(member.send(blank.getvalue()))

    assert (job["status"], job["problem"]["status"]) == ("failed", 422)
    assert error_of(member.ask("GET", "/me/photo")) == (404, "no_photo")


def test_a_photo_has_2_mb_at_most(member: Member) -> None:
    """One byte more is refused."""
    assert member.send(padded(PHOTO, 2 * MIB)).status == 202
    assert error_of(member.send(padded(PHOTO, 2 * MIB + 1))) == (413, "payload_too_large")


def test_a_form_with_far_more_is_refused_before_it_is_sent(server: Running) -> None:
    """Also to somebody whom the application would not let send anything."""
    answer = Client(server).announce("POST", "/me/photo", 3 * MIB, {"content-type": FORM})

    assert error_of(answer) == (413, "payload_too_large")


def test_photos_come_in_one_at_a_time(server: Running, member: Member) -> None:
    """The second waits until the first is there."""
    other, answers = join(Client(server)), list[Response]()
    waiting = threading.Thread(target=lambda: answers.append(other.send(PHOTO)))
    length = {"content-length": str(len(PHOTO))}

    with member.client.begin(
        "POST", "/me/photo", member.headers("image/jpeg") | length
    ) as connection:
        connection.send(PHOTO[:10_000])
        assert member.ask("GET", "/me").status == 200
        waiting.start()
        waiting.join(0.3)
        assert answers == []
        connection.send(PHOTO[10_000:])
        assert connection.getresponse().status == 202
    waiting.join(10.0)

    assert [answer.status for answer in answers] == [202]


def test_a_member_has_20_uploads(server: Running) -> None:
    """From whatever address; then the next in 3 minutes, while another goes on from the same.

    What is no photo counts too, and nobody need wait for it here.
    """
    member, addresses = join(Client(server)), [Client(server) for _ in range(2)]
    answers = [
        Member(addresses[number % 2], member.number, member.key).send(b"none")
        for number in range(21)
    ]

    assert {answer.status for answer in answers[:20]} == {415}
    assert error_of(answers[20]) == (429, "rate_limited")
    assert 170 <= int(answers[20].headers["retry-after"]) <= 180
    assert join(addresses[0]).send(PHOTO).status == 202


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
        # There is no office where nothing says what its key is.
        ("GET", "/office/applications", (401, "not_the_office")),
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
