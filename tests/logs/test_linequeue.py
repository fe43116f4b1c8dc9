"""What waits, what goes, and that the sum is right."""

from __future__ import annotations

import random

import pytest

from tonnage.logs.linequeue import LINE_OVERHEAD_BYTES, LineQueue


def queue_for(lines: int) -> LineQueue:
    """Return a queue with room for so many lines of three bytes."""
    return LineQueue(most_bytes=lines * (3 + LINE_OVERHEAD_BYTES))


def put(queue: LineQueue, *lines: bytes) -> None:
    """Put lines; those that begin with E are serious. Each comes a second after the last."""
    for number, line in enumerate(lines):
        queue.put(line, is_serious=line.startswith(b"E"), now=100.0 + number)


def take_all(queue: LineQueue) -> bytes:
    """Return all that waits."""
    taken = b""
    while (batch := queue.take(4096)) is not None:
        taken += batch.data
    return taken


def test_lines_leave_in_the_order_in_which_they_came() -> None:
    """Serious ones too."""
    queue = queue_for(9)
    put(queue, b"a1\n", b"E2\n", b"a3\n", b"E4\n", b"E5\n", b"a6\n")
    assert take_all(queue) == b"a1\nE2\na3\nE4\nE5\na6\n"
    assert (len(queue), queue.bytes, queue.dropped_lines) == (0, 0, 0)


def test_when_it_is_full_new_lines_are_dropped() -> None:
    """What came first says what led to it."""
    queue = queue_for(2)
    put(queue, b"a1\n", b"a2\n", b"a3\n", b"a4\n")
    batch = queue.take(4096)
    assert batch is not None
    assert (batch.data, batch.lines) == (b"a1\na2\n", 2)
    assert (batch.dropped_lines, batch.dropped_since) == (2, 102.0)


def test_what_was_dropped_is_told_once() -> None:
    """And from then on anew."""
    queue = queue_for(1)
    put(queue, b"a1\n", b"a2\n")
    queue.take(4096)
    put(queue, b"a3\n")
    batch = queue.take(4096)
    assert batch is not None
    assert batch.dropped_lines == 0
    assert queue.dropped_lines == 1


def test_a_serious_line_takes_the_place_of_the_oldest_usual_ones() -> None:
    """As many as it needs; and of none that is serious."""
    queue = queue_for(3)
    put(queue, b"E1\n", b"a2\n", b"a3\n", b"E4\n")
    assert queue.dropped_lines == 1
    put(queue, b"E5\n", b"E6\n")
    assert queue.dropped_lines == 3
    assert take_all(queue) == b"E1\nE4\nE5\n"


def test_the_number_of_lines_is_bounded_too() -> None:
    """Empty ones are objects as well."""
    queue = LineQueue(most_lines=2)
    put(queue, b"\n", b"\n", b"\n")
    assert len(queue) == 2


def test_pieces_are_of_whole_lines() -> None:
    """Of as many as fit, or of one that is too long."""
    queue = LineQueue()
    put(queue, b"aaa\n", b"bbb\n", b"c" * 20 + b"\n", b"ddd\n")
    pieces = [batch.data for batch in iter(lambda: queue.take(8), None)]
    assert pieces == [b"aaa\nbbb\n", b"c" * 20 + b"\n", b"ddd\n"]


@pytest.mark.parametrize("seed", range(5))
def test_every_line_is_accounted_for(seed: int) -> None:
    """Put is taken, waiting or dropped, and the bytes are those of what waits."""
    chance = random.Random(seed)
    queue = LineQueue(most_bytes=5000, most_lines=20)
    emitted = taken = 0
    for _ in range(3000):
        if chance.random() < 0.7:
            line = b"x" * chance.randrange(600) + b"\n"
            queue.put(line, is_serious=chance.random() < 0.2, now=0.0)
            emitted += 1
        else:
            batch = queue.take(chance.randrange(1, 2000))
            taken += batch.lines if batch is not None else 0
        assert emitted == taken + len(queue) + queue.dropped_lines
        assert queue.bytes <= 5000
        assert len(queue) <= 20
    queue.drop_all(0.0)
    assert (len(queue), queue.bytes) == (0, 0)
    assert emitted == taken + queue.dropped_lines
