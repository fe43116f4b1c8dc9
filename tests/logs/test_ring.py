"""The last lines of a process in shared memory: what is written is read, whole and in order."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator

import pytest
from tests.support.forking import fork, status_of

from tonnage.errors import StoreError
from tonnage.host import commons
from tonnage.host.commons import Region
from tonnage.logs import ring
from tonnage.logs.ring import MOST_LINE_BYTES, RING_BYTES, Ring, lines_ever, read, region_of


@pytest.fixture(autouse=True)
def fresh(own_commons: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have shared memory of our own, and no ring."""
    monkeypatch.setattr(ring, "_ring", None)


@pytest.fixture
def region() -> Region:
    """Return a ring's pages."""
    return region_of("worker 0")


def texts(region: Region, position: int = 0) -> list[bytes]:
    """Return the lines that are there."""
    return [noted.line for noted in read(region, position)]


def test_lines_are_read_as_they_were_written(region: Region) -> None:
    """With their time and number, without their line break."""
    writer = Ring(region)
    assert list(read(region)) == []
    writer.write(b"one\n", 12.5)
    writer.write(b"two, which \xc3\xa9 ends\n", 13.0)
    writer.write(b"", 14.0)

    found = list(read(region))
    assert [(each.time, each.number, each.line) for each in found] == [
        (12.5, 0, b"one"),
        (13.0, 1, "two, which é ends".encode()),
        (14.0, 2, b""),
    ]
    assert lines_ever(region) == 3
    assert list(read(region, found[0].end)) == found[1:]
    assert list(read(region, found[-1].end)) == []
    assert list(read(region, number=2)) == found[2:]


def test_the_newest_lines_are_kept_and_each_reader_gets_all_that_are(region: Region) -> None:
    """Whatever their lengths; what was overwritten can be told from the numbers."""
    writer, chance = Ring(region), random.Random(7)
    written: list[bytes] = []
    position, got = 0, 0
    for round_number in range(400):
        for _ in range(chance.randrange(30)):
            longest = MOST_LINE_BYTES if chance.random() < 0.01 else 300
            line = bytes([65 + len(written) % 26]) * chance.randrange(longest)
            writer.write(line, float(len(written)))
            written.append(line)
        found = list(read(region, position))
        assert [each.line for each in found] == written[got:], round_number
        if found:
            position, got = found[-1].end, len(written)
    kept = list(read(region))
    assert [each.line for each in kept] == written[-len(kept) :]
    assert sum(len(each.line) for each in kept) > RING_BYTES * 0.7
    assert kept[0].number == len(written) - len(kept)


def test_a_long_line_is_cut(region: Region) -> None:
    """Its beginning is kept, and the lines around it."""
    writer = Ring(region)
    for line in (b"before", b"x" * 10**6, b"after"):
        writer.write(line, 0.0)
    assert texts(region) == [b"before", b"x" * MOST_LINE_BYTES, b"after"]


@pytest.mark.parametrize("position", [-1, 5, 999, 10**12])
def test_a_position_that_makes_no_sense_is_no_failure(region: Region, position: int) -> None:
    """At most there are no lines, and never others than were written."""
    writer = Ring(region)
    written = [b"line %d" % number for number in range(50)]
    for line in written:
        writer.write(line, 0.0)
    assert set(texts(region, position)) <= set(written)


def test_a_line_that_is_broken_is_not_read(region: Region) -> None:
    """Its sum tells."""
    writer = Ring(region)
    for line in (b"first", b"second"):
        writer.write(line, 0.0)
    place = bytes(region.bytes).index(b"second")
    region.bytes[place] = ord("S")
    assert texts(region) == [b"first"]


@pytest.mark.parametrize("word", [0, 1])
@pytest.mark.parametrize("value", [2**63, 2**40 + 5, RING_BYTES * 2])
def test_what_a_crash_has_written_is_no_trap(region: Region, word: int, value: int) -> None:
    """Readers find nothing, and a successor begins anew."""
    Ring(region).write(b"before", 0.0)
    region.words[word] = value
    assert list(read(region)) == []
    writer = Ring(region)
    writer.write(b"after", 0.0)
    assert texts(region)[-1:] == [b"after"]


def test_a_successor_goes_on_behind_the_dead(region: Region) -> None:
    """In the same ring, whose lines stay."""
    assert status_of(fork(lambda: _log(b"the first worker's"))) == 0
    assert texts(region) == [b"the first worker's"]
    ring.keep("worker 0")
    ring.note(b"the second worker's\n")
    assert texts(region) == [b"the first worker's", b"the second worker's"]


def _log(line: bytes) -> None:
    ring.keep("worker 0")
    ring.note(line)


def test_a_forked_child_writes_into_no_ring_of_its_parents(region: Region) -> None:
    """Nor does a process that never had one."""
    ring.note(b"nobody's")
    ring.keep("worker 0")

    assert status_of(fork(lambda: ring.note(b"the child's"))) == 0
    ring.note(b"ours")
    assert texts(region) == [b"ours"]


def test_of_several_names_the_first_is_taken_that_nobody_writes() -> None:
    """The last one in any case."""
    first, second = region_of("zygote"), region_of("second zygote")
    ring.keep("zygote", "second zygote")
    ring.note(b"old")

    def child() -> None:
        ring.keep("zygote", "second zygote")
        ring.note(b"new")

    assert status_of(fork(child)) == 0
    assert (texts(first), texts(second)) == ([b"old"], [b"new"])


def test_where_there_is_no_room_there_is_no_ring() -> None:
    """And nothing fails."""
    held = commons.open_commons()
    held.share("all of it", commons.COMMONS_BYTES - (1 << 16) - (1 << 15))
    with pytest.raises(StoreError):
        region_of("worker 0")
    ring.keep("worker 0")
    ring.note(b"on stderr alone\n")


def test_a_log_call_in_the_middle_of_a_line_is_left_out(region: Region) -> None:
    """A signal handler that logs does not tear the line that is being written."""
    writer = Ring(region)

    def tracer(frame: object, event: str, argument: object) -> None:
        if event == "call" and getattr(frame, "f_code").co_name == "_make_room":  # noqa: B009
            sys.setprofile(None)
            writer.write(b"in between", 0.0)

    sys.setprofile(tracer)
    try:
        writer.write(b"whole", 0.0)
    finally:
        sys.setprofile(None)
    assert texts(region) == [b"whole"]


@pytest.fixture
def busy(region: Region) -> Iterator[Region]:
    """Yield a ring that another process fills as fast as it can."""

    def write() -> None:
        writer, number = Ring(region), 0
        while True:
            writer.write(b"%d " % number * (1 + number % 60), 0.0)
            number += 1

    pid = fork(write)
    yield region
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_lines_are_whole_while_another_process_writes(busy: Region) -> None:
    """Neither torn nor out of order, however often the ring goes round meanwhile."""
    position, last, rounds = 0, -1, 0
    while rounds < 200 or last < 5000:
        for noted in read(busy, position):
            assert noted.line == b"%d " % noted.number * (1 + noted.number % 60)
            assert noted.number > last
            position, last = noted.end, noted.number
        rounds += 1
