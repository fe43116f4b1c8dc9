"""Fibuca and its naive twin: the same routes, the same answers, on databases of the same content.

What only one of them has, its limits, is in ``test_fibuca.py``.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.examples.databases import migrate
from tests.examples.naive import naive
from tests.examples.portraits import finished, padded, portrait
from tests.support.disk import on_a_disk
from tests.support.postgres import postgres_urls
from tests.support.server import (
    ROOT,
    Response,
    Running,
    connection_to,
    exchange,
)
from tests.web.path.uploads.forms import FORM_TYPE, GIF, field_part, file_part, form

from tonnage.errors import ModelError
from tonnage.images.background.models import DEFAULT, model_of
from tonnage.images.background.places import found as model_file
from tonnage.units import MIB

pytestmark = pytest.mark.real

HERE = ROOT / "examples" / "fibuca"
OFFICE_KEY = "the key of these tests"
# More than anybody asks for.
UNHURRIED = ("--rate-limit", "1000000/1m")
# Two workers, so that what one does is the other's too.
GUNICORN = ("--workers=2", "--no-control-socket")
FORM = FORM_TYPE.decode()
FIELDS = "application/x-www-form-urlencoded"
PHOTO = portrait(1240, 1600)

# Requests that follow each other: method, path, and the fields of a form. Whoever has joined sends
# the key from then on.
Step = tuple[str, str, dict[str, str] | None]
JOIN: Step = ("POST", "/members", {"name": "Asha"})
JOURNEYS: dict[str, list[Step]] = {
    "a stranger": [
        ("GET", "/", None),
        ("GET", "/me", None),
        ("DELETE", "/me", None),
        ("GET", "/me/photo", None),
        ("POST", "/me/photo", None),
        ("GET", "/me/photo/jobs/none", None),
        ("DELETE", "/me/photo/jobs/none", None),
        ("GET", "/me/card.png", None),
        ("GET", "/me/applications", None),
        ("POST", "/me/applications", {"kind": "single", "statement": "I am one."}),
        ("POST", "/members", None),
        ("POST", "/members", {"name": "x" * 101}),
        ("POST", "/members", {"name": "\0"}),
        ("GET", "/office/applications", None),
        ("GET", "/office/applications/1", None),
        ("PUT", "/me", None),
        ("GET", "/nowhere", None),
    ],
    "a member": [
        JOIN,
        ("GET", "/me", None),
        ("GET", "/me/photo", None),
        ("GET", "/me/photo/jobs/none", None),
        ("GET", "/me/card.png", None),
        ("GET", "/me/card.pdf", None),
        ("GET", "/me/card.gif", None),
        ("DELETE", "/me", None),
        ("GET", "/me", None),
    ],
    "an applicant": [
        JOIN,
        ("GET", "/me/applications", None),
        ("POST", "/me/applications", {"kind": "family", "statement": "We are four."}),
        ("POST", "/me/applications", {"kind": "single", "statement": "I am one."}),
        ("POST", "/me/applications", {"kind": "royal", "statement": "We are one."}),
        ("POST", "/me/applications", {"kind": "single"}),
        ("POST", "/me/applications", {"kind": "single", "statement": "x" * 4001}),
        ("GET", "/me/applications", None),
        ("GET", "/me/applications?after=nonsense", None),
        ("GET", "/office/applications", None),
        ("DELETE", "/me", None),
        ("GET", "/office/applications", None),
    ],
    "the office": [
        ("GET", "/office/applications", None),
        ("GET", "/office/applications?after=nonsense", None),
        ("GET", "/office/applications/1", None),
        ("GET", "/office/applications/3000", None),
        ("GET", "/office/applications/2000000000", None),
        ("GET", "/office/applications/3000000000", None),
    ],
}


@dataclass
class Visitor:
    """Somebody who asks one of the two."""

    url: str
    office_key: str = OFFICE_KEY
    key: str = ""

    def ask(
        self, method: str, path: str, body: bytes | None = None, type: str = FIELDS
    ) -> Response:
        """Send a request with the keys."""
        headers = {"content-type": type, "x-member-key": self.key, "x-office-key": self.office_key}
        with connection_to(self.url, 20.0) as connection:
            return exchange(connection, method, path, body, headers)

    def travel(self, steps: list[Step]) -> list[tuple[str, int, Any]]:
        """Take *steps*; return what each was, its status, and what was answered."""
        answered = []
        for method, path, fields in steps:
            answer = self.ask(method, path, urlencode(fields or {}).encode())
            answered.append((f"{method} {path}", answer.status, said(answer)))
            if (method, path, answer.status) == ("POST", "/members", 201):
                self.key = answer.json()["key"]
        return answered

    def join(self) -> None:
        """Become a member."""
        self.travel([JOIN])

    def send(self, content: bytes, type: str = "image/jpeg") -> Response:
        """Send a photo as the page's form does."""
        return self.ask("POST", "/me/photo", form(file_part("photo", "me", content, type)), FORM)


def said(answer: Response) -> Any:
    """Return what an answer says, but for what cannot be the same."""
    if not answer.headers.get("content-type", "").endswith("json"):
        return answer.body
    return without_chance(answer.json())


def without_chance(found: Any) -> Any:
    """Return *found* with what was drawn or just happened taken out, and words for people."""
    match found:
        case dict():
            return {name: _same(name, value) for name, value in found.items()}
        case list():
            return [without_chance(each) for each in found]
    return found


def _same(name: str, value: Any) -> Any:
    is_drawn = name in ("key", "detail", "bytes") or (name == "id" and isinstance(value, str))
    if is_drawn or (name == "next" and value is not None):
        return "..."
    if name == "sent_at" and time.time() - datetime.fromisoformat(value).timestamp() < 3600:
        return "now"
    return without_chance(value)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield where both are, each with a database of its own."""
    with ExitStack() as stack:
        make_url = stack.enter_context(postgres_urls())
        places = [
            stack.enter_context(on_a_disk(tmp_path_factory.mktemp(name)))
            for name in ("ours", "naive")
        ]
        ours, theirs = (
            {
                "FIBUCA_DATA": str(place),
                "FIBUCA_OFFICE_KEY": OFFICE_KEY,
                "DATABASE_URL": make_url(),
            }
            for place in places
        )
        migrate("fibuca", ours)
        migrate("fibuca", theirs)
        served = stack.enter_context(Running(*UNHURRIED, cwd=HERE, env=ours))
        yield served.url, stack.enter_context(naive("fibuca", theirs, places[1] / "log", GUNICORN))


@pytest.mark.parametrize("journey", JOURNEYS)
def test_both_answer_the_same(urls: tuple[str, str], journey: str) -> None:
    """Status and body, step by step."""
    office_key = "" if journey == "a stranger" else OFFICE_KEY
    ours, theirs = (Visitor(url, office_key).travel(JOURNEYS[journey]) for url in urls)

    for one, other in zip(ours, theirs, strict=True):
        assert one == other


def test_pages_follow_each_other(urls: tuple[str, str]) -> None:
    """Each by its own cursor, to the end."""
    ours, theirs = (pages(Visitor(url)) for url in urls)

    assert ours == theirs
    assert [len(page) for page in ours] == [20, 20, 1]


def pages(visitor: Visitor) -> list[list[int]]:
    """Send 41 applications, and return the ids on each page of them."""
    visitor.join()
    apply: Step = ("POST", "/me/applications", {"kind": "youth", "statement": "I am 12."})
    visitor.travel([apply] * 41)
    found, place = [], ""
    while True:
        page = visitor.ask("GET", f"/me/applications{place}").json()
        found.append([each["id"] for each in page["applications"]])
        if page["next"] is None:
            visitor.ask("DELETE", "/me")
            return found
        place = f"?after={page['next']}"


@pytest.mark.parametrize(
    ("body", "type", "expected"),
    [
        (form(file_part("photo", "me", GIF, "image/gif")), FORM, 415),
        (form(file_part("photo", "me", b"<?php ?>", "image/png")), FORM, 415),
        (b"text", "text/plain", 415),
        (padded(PHOTO, 2 * MIB + 1), "image/jpeg", 413),
        (form(field_part("photo", b"none")), FORM, 400),
    ],
    ids=["a GIF", "no picture", "text", "too large", "no file"],
)
def test_both_refuse(urls: tuple[str, str], body: bytes, type: str, expected: int) -> None:
    """What is no photo, with the same word."""
    refused = []
    for visitor in map(Visitor, urls):
        visitor.join()
        answer = visitor.ask("POST", "/me/photo", body, type)
        refused.append((answer.status, said(answer)))

    assert refused[0][0] == expected
    ours, theirs = (without_numbers(each) for _, each in refused)
    assert ours == theirs


def without_numbers(problem: dict[str, Any]) -> dict[str, Any]:
    """Return what every problem has; a library's may say more."""
    return {name: problem[name] for name in ("type", "title", "status", "error")}


@pytest.mark.skipif(importlib.util.find_spec("rembg") is None, reason="needs rembg")
def test_a_photo_becomes_a_card(urls: tuple[str, str]) -> None:
    """By a job that is known to its member, and can be forgotten."""
    try:
        model_file(model_of(DEFAULT))
    except ModelError as error:
        pytest.skip(str(error))
    ours, theirs = (followed(Visitor(url)) for url in urls)

    assert ours == theirs
    assert ours[0]["status"] == "done"


def followed(visitor: Visitor) -> list[Any]:
    """Send a photo; return what is said of it, and of what is made of it."""
    visitor.join()
    sent = visitor.send(PHOTO)
    job = finished(visitor.ask, sent)
    card = [visitor.ask("GET", path) for path in ("/me/photo", "/me/card.png", "/me/card.pdf")]
    path = f"/me/photo/jobs/{job['id']}"
    forgotten = visitor.ask("DELETE", path).status, said(visitor.ask("GET", path))
    gone = visitor.ask("DELETE", "/me").status, visitor.ask("GET", path).status
    types = [(each.status, each.headers["content-type"]) for each in card]
    return [without_chance(job), types, forgotten, gone]
