"""Messages between the processes: whole, bounded, with descriptors, and an end that is noticed."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import pytest

from tonnage.host.channel import LONGEST_BYTES, Channel, Dialogue


class Colour(IntEnum):
    """What is a number on the way."""

    RED = 1


@dataclass(frozen=True, slots=True)
class Note:
    """A message with fields."""

    text: str
    number: int = 0
    names: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that holds a record."""

    to: str
    note: Note


@dataclass(frozen=True, slots=True)
class Bell:
    """A message without fields."""


Down = Note | Letter | Bell

HOUSES: Dialogue[Down, Note] = Dialogue(Down, Note)

Pair = tuple[Channel[Down, Note], Channel[Note, Down]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Yield two ends; reading the second does not wait."""
    ours, theirs = HOUSES.pair()
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_keep_their_boundaries(pair: Pair) -> None:
    """Two that were sent in a row are two."""
    ours, theirs = pair
    ours.send(Note("hello", 7))
    ours.send(Bell())

    assert theirs.receive() == (Note("hello", 7), [])
    assert theirs.receive() == (Bell(), [])


def test_both_ends_speak(pair: Pair) -> None:
    """What is said up may be of one kind alone."""
    ours, theirs = pair
    theirs.send(Note("up"))

    assert ours.receive() == (Note("up"), [])


def test_a_message_arrives_as_it_was_sent(pair: Pair) -> None:
    """A record in it too, names that no encoding has, and a number that has a name."""
    ours, theirs = pair
    letter = Letter("\udcff", Note("é\n", Colour.RED, {"a": [None, 0.5]}))
    ours.send(letter)

    assert theirs.receive() == (letter, [])


def test_all_that_is_there_is_read_before_the_end(pair: Pair) -> None:
    """A process that has ended may have said why."""
    ours, theirs = pair
    ours.send(Bell())
    ours.send(Note("no database"))
    assert list(theirs.messages()) == [Bell(), Note("no database")]
    assert list(theirs.messages()) == []

    ours.send(Bell())
    ours.close()

    last = theirs.messages()
    assert next(last) == Bell()
    with pytest.raises(EOFError):
        next(last)


def test_nothing_there_is_none(pair: Pair) -> None:
    """Not an error, and nothing that is waited for."""
    assert pair[1].receive() is None


def test_descriptors_travel_with_a_message(pair: Pair) -> None:
    """The other end gets its own copies, as a worker gets a connection."""
    ours, theirs = pair
    reader, writer = os.pipe()
    ours.send(Bell(), fds=(writer,))
    os.close(writer)

    received = theirs.receive()

    assert received is not None
    message, (copy,) = received
    os.write(copy, b"through the copy")
    os.close(copy)
    assert message == Bell()
    assert os.read(reader, 100) == b"through the copy"
    os.close(reader)


def test_the_second_end_is_found_again_by_its_descriptor() -> None:
    """As a process does that was started with it."""
    ours, theirs = HOUSES.pair()
    again = HOUSES.second(os.dup(theirs.fileno()))
    theirs.close()
    ours.send(Bell())

    assert again.receive() == (Bell(), [])
    again.close()
    ours.close()


def test_the_end_of_the_other_side_is_noticed(pair: Pair) -> None:
    """After what was sent before it, which is not lost."""
    ours, theirs = pair
    ours.send(Bell())
    ours.close()

    assert theirs.receive() == (Bell(), [])
    with pytest.raises(EOFError):
        theirs.receive()


def test_sending_to_an_end_that_is_gone_returns_false(pair: Pair) -> None:
    """Whoever sends learns of it, without an exception or a signal."""
    ours, theirs = pair
    theirs.close()

    assert ours.send(Bell()) is False


def test_an_end_that_does_not_read_holds_nobody_up(pair: Pair) -> None:
    """Once the socket is full, sending returns False instead of waiting."""
    ours, _ = pair
    ours.setblocking(False)
    sent = 0
    while ours.send(Note("x" * 1000)):
        sent += 1
        assert sent < 10_000

    assert sent > 0


@pytest.mark.parametrize("character", ["x", "é", '"', "\U0001f4a5"])
def test_a_message_that_is_too_long_arrives_shortened(pair: Pair, character: str) -> None:
    """Its texts are cut; cutting the encoded message would leave nothing that can be read."""
    ours, theirs = pair
    ours.send(Note(character * LONGEST_BYTES, 7))

    received = theirs.receive()

    assert received is not None
    message, _ = received
    assert isinstance(message, Note)
    assert message.number == 7
    assert set(message.text) == {character}
    assert 1000 <= len(message.text) < LONGEST_BYTES


def test_a_message_that_cannot_be_shortened_is_not_sent(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut anywhere, it would not be understood; whoever sends learns of it."""
    ours, theirs = pair

    assert ours.send(Note("", 7, {"long": "x" * LONGEST_BYTES})) is False
    assert theirs.receive() is None
    assert "too long" in caplog.text


@pytest.mark.parametrize(
    "payload",
    [
        b'{"kind": "Stranger"}',
        b'{"kind": "Note"}',
        b'{"kind": "Letter", "to": "x", "note": {"number": 1}}',
        b'{"kind": "Note", "te',
        b'{"text": "x"}',
        b"[1]",
        b"7",
        b"\xff",
    ],
)
def test_what_is_not_understood_is_left_out(
    payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """And logged; what comes next is heard, and descriptors do not stay open."""
    caplog.set_level(logging.ERROR)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = HOUSES.second(theirs.detach())
    channel.setblocking(False)
    reader, writer = os.pipe()
    socket.send_fds(ours, [payload], [writer])
    ours.send(b'{"kind": "Note", "text": "next", "unknown": 1}')
    os.close(writer)

    assert list(channel.messages()) == [Note("next")]
    assert os.read(reader, 1) == b"", "the other copy of the pipe's end is still open"
    assert "not understood" in caplog.text
    os.close(reader)
    channel.close()
    ours.close()
