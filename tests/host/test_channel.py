"""Messages between the processes: whole, bounded, with descriptors, and an end that is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tonnage.host.channel import LONGEST_BYTES, Channel


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    """Yield two ends; reading the second does not wait."""
    ours, theirs = Channel.pair()
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_keep_their_boundaries(pair: tuple[Channel, Channel]) -> None:
    """Two that were sent in a row are two."""
    ours, theirs = pair
    ours.send("hello", pid=7)
    ours.send("ready")

    assert theirs.receive() == ({"kind": "hello", "pid": 7}, [])
    assert theirs.receive() == ({"kind": "ready"}, [])


def test_all_that_is_there_is_read_before_the_end(pair: tuple[Channel, Channel]) -> None:
    """A process that has ended may have said why."""
    ours, theirs = pair
    ours.send("hello", pid=7)
    ours.send("failed", error="no database")
    assert [message["kind"] for message in theirs.messages()] == ["hello", "failed"]
    assert list(theirs.messages()) == []

    ours.send("kept")
    ours.close()

    last = theirs.messages()
    assert next(last) == {"kind": "kept"}
    with pytest.raises(EOFError):
        next(last)


def test_nothing_there_is_none(pair: tuple[Channel, Channel]) -> None:
    """Not an error, and nothing that is waited for."""
    assert pair[1].receive() is None


def test_descriptors_travel_with_a_message(pair: tuple[Channel, Channel]) -> None:
    """The other end gets its own copies, as a worker gets a connection."""
    ours, theirs = pair
    reader, writer = os.pipe()
    ours.send("connection", fds=(writer,))
    os.close(writer)

    received = theirs.receive()

    assert received is not None
    message, (copy,) = received
    os.write(copy, b"through the copy")
    os.close(copy)
    assert message == {"kind": "connection"}
    assert os.read(reader, 100) == b"through the copy"
    os.close(reader)


def test_the_end_of_the_other_side_is_noticed(pair: tuple[Channel, Channel]) -> None:
    """After what was sent before it, which is not lost."""
    ours, theirs = pair
    ours.send("kept")
    ours.close()

    assert theirs.receive() == ({"kind": "kept"}, [])
    with pytest.raises(EOFError):
        theirs.receive()


def test_sending_to_an_end_that_is_gone_returns_false(pair: tuple[Channel, Channel]) -> None:
    """Whoever sends learns of it, without an exception or a signal."""
    ours, theirs = pair
    theirs.close()

    assert ours.send("stop") is False


def test_an_end_that_does_not_read_holds_nobody_up(pair: tuple[Channel, Channel]) -> None:
    """Once the socket is full, sending returns False instead of waiting."""
    ours, _ = pair
    ours.setblocking(False)
    sent = 0
    while ours.send("reclaim", padding="x" * 1000):
        sent += 1
        assert sent < 10_000

    assert sent > 0


@pytest.mark.parametrize("character", ["x", "é", '"'])
def test_a_message_that_is_too_long_arrives_shortened(
    pair: tuple[Channel, Channel], character: str
) -> None:
    """Its texts are cut; cutting the encoded message would leave nothing that can be read."""
    ours, theirs = pair
    ours.send("failed", usage=True, error=character * LONGEST_BYTES)

    received = theirs.receive()

    assert received is not None
    message, _ = received
    assert message["kind"] == "failed"
    assert message["usage"] is True
    assert set(message["error"]) == {character}
    assert 1000 <= len(message["error"]) < LONGEST_BYTES
