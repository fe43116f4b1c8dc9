"""A worker tells what has changed, in messages that the channel takes, until they are taken."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, Never

import pytest

from tonnage.governor.page import SharedPage
from tonnage.host.channel import Dialogue
from tonnage.ops.figures.counting import Counting
from tonnage.ops.figures.records import MOST_ROUTES, StoreFigures
from tonnage.ops.figures.stores import Stores
from tonnage.ops.figures.telling import EVERY_SECONDS, Counted, Telling
from tonnage.server.figures import Figuring
from tonnage.web.routes import ROUTE


class Post:
    """A channel that takes so many messages."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.messages: list[Counted] = []

    def send(self, message: Counted) -> bool:
        """Take a message, if there is room."""
        if self.room <= 0:
            return False
        self.room -= 1
        self.messages.append(message)
        return True

    def take(self) -> list[str]:
        """Return what the routes are called that were told of since, in order."""
        told = [row[0] for message in self.messages for row in message.routes]
        self.messages.clear()
        return told


def _count(counting: Counting, *names: str) -> None:
    for name in names:
        counting.count({ROUTE: name, "method": "GET", "path": name[4:], "headers": []}, 200, 0.01)


def _telling(counting: Counting, post: Post, said: Iterable[StoreFigures] = ()) -> Telling:
    return Telling(counting, post.send, Stores(lambda: iter(said)))


def test_what_has_changed_is_told_once_a_second() -> None:
    """And nothing where nothing has."""
    post, counting = Post(), Counting()
    telling = _telling(counting, post)
    _count(counting, "GET /a", "GET /b")

    telling.beat(10.0)
    assert post.take() == ["GET /a", "GET /b"]

    _count(counting, "GET /b")
    telling.beat(10.0 + EVERY_SECONDS / 2)
    assert post.messages == []
    telling.beat(10.0 + EVERY_SECONDS)
    assert post.take() == ["GET /b"]
    telling.beat(10.0 + 2 * EVERY_SECONDS)
    assert post.messages == []


def test_what_is_not_taken_is_told_a_second_later() -> None:
    """With what has come since."""
    post, counting = Post(room=0), Counting()
    telling = _telling(counting, post)
    _count(counting, "GET /a")
    assert not telling.tell()

    post.room = 9
    _count(counting, "GET /a")
    assert telling.tell()

    assert post.messages[0].routes[0][:2] == ["GET /a", [0, 2, 0, 0, 0]]


def test_of_several_messages_each_is_told_for_itself() -> None:
    """The first was taken; the others follow."""
    post, counting = Post(room=1), Counting()
    telling = _telling(counting, post)
    _count(counting, *(f"GET /{number}{'é' * 99}" for number in range(49)))
    everything = [tally.name for tally in counting.tallies()]

    assert not telling.tell()
    first = post.take()
    post.room = 99
    assert telling.tell()

    assert 0 < len(first) < len(everything)
    assert first + post.take() == everything


def test_no_message_is_longer_than_a_channel_takes() -> None:
    """However long names are, and whatever they are made of; the sum is the same at the end."""
    workers: Dialogue[Counted, Never] = Dialogue(Counted, Never)
    ours, theirs = workers.pair()
    counting, figuring = Counting(), Figuring(SharedPage(2))
    theirs.setblocking(False)

    def send(message: Counted) -> bool:
        taken = ours.send(message)
        received = theirs.receive()
        assert received is not None
        figuring.heard(0, received[0])
        return taken

    said = [StoreFigures("cache", str(n) + "\U0001f600" * 160, {"hits": n}) for n in range(9)]
    for number in range(2 * MOST_ROUTES):
        scope: dict[str, Any] = {ROUTE: f"GET {number}", "path": "/", "headers": []}
        path = f"/{number}/" + "\U0001f600" * 300
        scope = {**scope, "route": SimpleNamespace(path=path)}
        counting.count(scope, 200, 0.123456789)
    try:
        assert Telling(counting, send, Stores(lambda: iter(said))).tell()
    finally:
        ours.close()
        theirs.close()

    assert sum(route.requests for route in figuring.figures().routes) == 2 * MOST_ROUTES
    assert len(figuring.figures().stores) == 9


def test_a_last_word_waits_for_room_for_a_while() -> None:
    """The supervisor may be busy; a worker that ends has no other second."""
    post, counting = Post(room=0), Counting()
    telling = _telling(counting, post)
    _count(counting, "GET /a")
    refused = 0

    def send(message: Counted) -> bool:
        nonlocal refused
        refused += 1
        post.room = int(refused == 3)
        return post.send(message)

    telling = Telling(counting, send, Stores(lambda: iter(())))

    assert telling.tell(patience_seconds=60)
    assert post.take() == ["GET /a"]


@pytest.mark.parametrize("now", [{"entries": 2}, {}])
def test_stores_are_told_when_they_change(now: dict[str, float]) -> None:
    """A count, or only what is now."""
    said = [StoreFigures("cache", "c", {"hits": 1}, {"entries": 1})]
    post = Post()
    telling = _telling(Counting(), post, said)
    assert telling.tell()
    assert telling.tell()
    assert len(post.messages) == 1

    said[:] = [StoreFigures("cache", "c", {"hits": 1}, now)]
    assert telling.tell()

    assert post.messages[1].stores == [["cache", "c", {"hits": 1}, now, False]]
