"""Ids of requests: taken from a proxy or made, and where they are found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.path.talk import ask, hello, say
from tests.web.path.wsgiserver import ask as ask_wsgi

from tonnage.config import load_settings
from tonnage.logs.context import current, request_id
from tonnage.rates.table import RateTable
from tonnage.web.path.fromsettings import with_path
from tonnage.web.path.middleware import Tonnage
from tonnage.web.path.wsgi import TonnageWSGI
from tonnage.web.respond import Receive, Scope, Send


@pytest.fixture(autouse=True)
def _no_request() -> Iterator[None]:
    """Begin and end without one: a thread keeps the id of its last WSGI request."""
    token = current.set(None)
    yield
    current.reset(token)


OWN = (b"X-Request-ID", b"the application's")


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the ids as the application finds them, and with one of its own."""
    found = {"scope": scope.get("tonnage.request_id"), "context": request_id()}
    await say(send, json.dumps(found).encode(), headers=[(b"content-type", b"a/b"), OWN])


def show_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """Do the same."""
    found = {"scope": environ.get("tonnage.request_id"), "context": request_id()}
    headers = [("Content-Type", "a/b"), ("X-Request-ID", "the application's")]
    start_response("200 OK", headers)
    return [json.dumps(found).encode()]


SANE = ("a", "x" * 128, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "Root=1-678912.33:a/b+c~@_")
SENSELESS = ("", "x" * 129, "two words", 'a"b', "a\nb", "é", "a;b", "<b>", "a,b")


@pytest.mark.parametrize("sent", SANE)
def test_an_id_that_makes_sense_is_kept(sent: str) -> None:
    """Whoever asks can find their request in our log."""
    reply = ask(Tonnage(show, request_ids=True), headers={"x-request-id": sent})
    assert reply.json() == {"scope": sent, "context": sent}
    assert reply.headers["x-request-id"] == sent

    answer = ask_wsgi(TonnageWSGI(show_wsgi, request_ids=True), X_Request_ID=sent)
    assert answer.json() == {"scope": sent, "context": sent}
    assert answer.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", SENSELESS)
def test_one_that_makes_none_is_replaced(sent: str) -> None:
    """It would end up in logs, and in headers."""
    reply = ask(Tonnage(show, request_ids=True), headers={"x-request-id": sent})
    made = reply.headers["x-request-id"]
    assert len(made) == 32
    assert int(made, 16) >= 0
    assert reply.json() == {"scope": made, "context": made}


def test_each_request_has_its_own() -> None:
    """However many there are."""
    app = Tonnage(show, request_ids=True)
    assert len({ask(app).headers["x-request-id"] for _ in range(100)}) == 100


def test_there_is_one_header() -> None:
    """The application's is replaced, so that log and client agree."""
    reply = ask(Tonnage(show, request_ids=True))
    names = [name.lower() for name, _ in reply.start["headers"]]
    assert names.count(b"x-request-id") == 1


def test_a_refusal_has_it_too() -> None:
    """Of the limits, and of the rate; beside the headers that these have."""
    table = RateTable(8)
    app = Tonnage(hello, request_ids=True, max_body=3, rate_limit="1/h", rate_store=table)
    headers = {"x-request-id": "mine", "content-length": "4"}
    large = ask(app, "POST /", headers)
    assert (large.status, large.headers["x-request-id"]) == (413, "mine")
    often = ask(app, "POST /", headers)
    assert (often.status, often.headers["x-request-id"]) == (429, "mine")
    assert "retry-after" in often.headers

    table = RateTable(8)
    wsgi = TonnageWSGI(show_wsgi, request_ids=True, rate_limit="1/h", rate_store=table)
    for status in (200, 429):
        answer = ask_wsgi(wsgi, X_Request_ID="mine")
        assert (answer.status, answer.headers["x-request-id"]) == (status, "mine")


def test_without_the_option_nothing_is_different() -> None:
    """What the application sets stays, and is its own."""
    reply = ask(Tonnage(show), headers={"x-request-id": "mine"})
    assert reply.json() == {"scope": None, "context": None}
    assert OWN in reply.start["headers"]


def test_the_option_of_the_server(tmp_path: Path) -> None:
    """--request-ids, and TONNAGE_REQUEST_IDS."""
    settings = load_settings({}, {"TONNAGE_REQUEST_IDS": "true"}, tmp_path).path
    app = with_path(show, settings, may_compress=lambda: True, shape=None)
    assert ask(app, headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"
