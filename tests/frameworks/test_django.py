"""Django by both of its doors: a view that writes, an asynchronous one, an upload."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.frameworks.asking import UPLOAD_BYTES, chunked, names_after_words, statuses, upload
from tests.support.server import Running

pytestmark = pytest.mark.real

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def server(request: pytest.FixtureRequest, site: dict[str, str]) -> Iterator[Running]:
    """Yield the site with two workers; the block's end asserts a clean stop."""
    target = f"tests.frameworks.django_site.{request.param}:application"
    with Running(target, "--workers", "2", "--memory", "512M", env=site) as running:
        yield running


def test_a_view_answers(server: Running) -> None:
    """Synchronous, thus in a thread at both doors."""
    assert server.get("/").body == b"hello"


def test_an_asynchronous_view_answers(server: Running) -> None:
    """At the WSGI door Django runs a loop of its own for it."""
    assert server.get("/slow").body == b"waited"


def test_notes_written_at_once_are_all_there(server: Running) -> None:
    """Threads of two workers write to one database."""
    texts = [f"note {number} of {server.port}" for number in range(24)]

    def write(text: str) -> int:
        body = f"text={text.replace(' ', '+')}".encode()
        return server.request("POST", "/notes", body, FORM).status

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(write, texts)) == [201] * len(texts)
    assert set(texts) <= set(server.get("/notes").json()["notes"])


def test_an_upload_arrives_whole(server: Running) -> None:
    """Django reads it in parts of 64 KB."""
    assert upload(server).json() == {"name": "a.bin", "bytes": UPLOAD_BYTES}


def test_a_body_in_chunks_arrives_whole(server: Running) -> None:
    """At the WSGI door too, where Django reads only as far as a length was said."""
    assert chunked(server, "/count", b"ab", b"c").json() == {"bytes": 3}


def test_more_requests_than_threads_are_answered(server: Running) -> None:
    """At the ASGI door Django makes a thread for each, at the other there is a bounded pool."""
    assert statuses(server, "/hold?mb=1&ms=10", clients=24, requests=48) == {200: 48}


def test_an_unknown_host_is_refused_by_django(server: Running) -> None:
    """The Host header arrives as it was sent."""
    assert server.get("/", Host="elsewhere.example").status == 400


def test_a_route_has_the_name_that_it_is_written_with(server: Running) -> None:
    """Whatever word stands in the path: or each would have figures of its own."""
    assert names_after_words(server, "/posts") == {"GET /posts/<slug:slug>"}
