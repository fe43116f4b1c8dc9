"""The demonstration app, as `make run` starts it: each route does what its page says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from examples.hello.app import MIB, Pages
from tests.support.server import Running

from tonnage.governor.consumers import registry

real = pytest.mark.real

PLENTY = b"0123456789abcdef" * 65536


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Yield the app in the budget that `make run` gives it, with one worker to leak in."""
    command = ("app:app", "--app-dir", "examples/hello", "--memory", "512M", "--workers", "1")
    with Running(*command) as running:
        yield running


@real
@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", {"hello": "world"}),
        ("/work?mb=8&ms=1", {"held_mb": 8}),
        ("/work-sync?mb=4&ms=1", {"held_mb": 4}),
        ("/stuck?seconds=0.01", {"stuck_seconds": 0.01}),
    ],
)
def test_a_route_answers(server: Running, path: str, answer: dict[str, object]) -> None:
    """With what it did."""
    assert server.get(path).json() == answer


@real
def test_what_leaks_is_counted_until_it_is_forgotten(server: Running) -> None:
    """It shows in the worker's own memory."""
    assert [server.get("/leak?kb=8192").json()["leaked_kb"] for _ in range(3)][-1] == 24576
    assert server.health_memory()["workers"][0]["held"] >= 20
    assert server.request("POST", "/leak/forget").json() == {"forgotten": 3}


@real
def test_an_upload_is_counted_and_hashed(server: Running) -> None:
    """Chunk by chunk, as it comes."""
    answer = server.request("POST", "/upload", body=PLENTY).json()

    assert answer == {"bytes": len(PLENTY), "sha256": hashlib.sha256(PLENTY).hexdigest()}


@real
def test_events_are_streamed(server: Running) -> None:
    """One after the other."""
    body = server.get("/stream?events=3&every=0.01").body

    assert body == b"data: 1\n\ndata: 2\n\ndata: 3\n\n"


@real
def test_a_page_is_made_once(server: Running) -> None:
    """And found in the cache from then on."""
    answers = [server.get("/page/home?kb=64").json() for _ in range(2)]

    assert [answer["was_cached"] for answer in answers] == [False, True]
    assert [answer["cache_kb"] for answer in answers] == [64, 64]


def test_the_cache_is_bounded_and_gives_way() -> None:
    """The page used longest ago goes first."""
    pages = Pages(most_bytes=30)
    for title in ("a", "b", "c", "a", "d"):
        if pages.get(title) is None:
            pages.put(title, bytearray(10))
    assert [pages.get(title) is not None for title in "abcd"] == [True, False, True, True]
    pages.put("a", bytearray(5))
    pages.put("huge", bytearray(31))
    assert pages.used_bytes == 0

    pages.put("e", bytearray(10))
    pages.put("f", bytearray(10))
    assert pages.shrink(15) == 10
    assert (pages.used_bytes, pages.get("e")) == (10, None)


def test_the_cache_is_registered() -> None:
    """By the import alone; the server calls its shrink."""
    from examples.hello import app

    app.pages.put("home", bytearray(MIB))
    held = {use.name: use.used_bytes for use in registry.uses()}

    assert held[app.pages.name] == MIB
    assert registry.shrink(app.pages.name, 0) == MIB
    assert app.pages.used_bytes == 0
