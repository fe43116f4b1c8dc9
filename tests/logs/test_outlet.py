"""The way out of a process, with a reader that is slow, absent or gone."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
from tests.support.forking import fork, status_of
from tests.support.threadroom import ThreadRoom
from tests.support.waiting import await_true

from tonnage.logs.application import Handler
from tonnage.logs.linequeue import MOST_BYTES
from tonnage.logs.lines import Lines
from tonnage.logs.masking import Mask
from tonnage.logs.outflow import WAIT_SECONDS, WHOLE_BYTES, Outflow
from tonnage.logs.outlet import Outlet


def notice(lines: int, since: float) -> bytes:
    """Return the line about those that were dropped."""
    assert abs(time.time() - since) < 60
    return f"dropped {lines}\n".encode()


class Pipe:
    """A pipe in the place of stdout."""

    def __init__(self) -> None:
        self.reading, self.fd = os.pipe()
        os.set_blocking(self.reading, False)

    def text(self) -> str:
        """Return what has come since the last call."""
        try:
            return os.read(self.reading, 2**20).decode()
        except BlockingIOError:
            return ""

    def read_until(self, outlet: Outlet) -> str:
        """Return what comes until *outlet* has nothing left."""
        said: list[str] = []

        def is_out() -> bool:
            said.append(self.text())
            return outlet.statistics().queued_lines == 0

        await_true(is_out, "all lines")
        return "".join((*said, self.text()))


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Yield a pipe."""
    pipe = Pipe()
    yield pipe
    for fd in (pipe.reading, pipe.fd):
        os.close(fd)


@pytest.fixture
def outlet(pipe: Pipe) -> Iterator[Outlet]:
    """Yield an outlet into the pipe, whose thread ends with the test."""
    outlet = Outlet(pipe.fd, notice)
    yield outlet
    pipe.text()
    outlet.close()


LINE = b"x" * 999 + b"\n"


def put(outlet: Outlet, lines: int, *, line: bytes = LINE, is_serious: bool = False) -> None:
    """Put so many lines."""
    for _ in range(lines):
        outlet.put(line, is_serious=is_serious)


def is_right(outlet: Outlet) -> bool:
    """Return whether the sum is right."""
    found = outlet.statistics()
    return found.emitted_lines == found.written_lines + found.dropped_lines + found.queued_lines


async def test_a_request_does_not_wait_for_the_reader(pipe: Pipe, outlet: Outlet) -> None:
    """What is too much is dropped, and told of when there is a reader again."""
    began = time.monotonic()
    put(outlet, 5000)
    # Not once the time that a line waits where nobody else would; 250 s for all of them.
    assert time.monotonic() - began < 5000 * WAIT_SECONDS / 10

    stuck = outlet.statistics()
    assert stuck.emitted_lines == 5000
    assert stuck.dropped_lines > 3500
    assert MOST_BYTES * 0.9 < stuck.queued_bytes <= MOST_BYTES
    assert is_right(outlet)

    lines = pipe.read_until(outlet).splitlines()
    notices = [line for line in lines if line[0] != "x"]
    # Some were on their way before the pipe was full.
    assert 1 <= len(notices) <= 20
    assert sum(int(line.split()[1]) for line in notices) == stuck.dropped_lines
    assert len(lines) - len(notices) == outlet.statistics().written_lines
    assert is_right(outlet)


def test_lines_of_several_processes_do_not_mix(pipe: Pipe) -> None:
    """A pipe takes each piece whole, and a piece is of whole lines."""

    async def put_all(outlet: Outlet, who: bytes) -> None:
        for number in range(300):
            outlet.put(who * (number * 13 % 4000) + b"\n")

    def child(who: str) -> None:
        outlet = Outlet(pipe.fd, notice)
        asyncio.run(put_all(outlet, who.encode()))
        assert outlet.flush(10.0)
        assert outlet.close() == 0

    children = [fork(partial(child, who)) for who in "abc"]
    said = ""

    def all_have_ended() -> bool:
        nonlocal said
        said += pipe.text()
        return len(said) >= sum(3 * (number * 13 % 4000 + 1) for number in range(300))

    await_true(all_have_ended, "all lines")
    assert [status_of(pid) for pid in children] == [0, 0, 0]
    for who in "abc":
        lines = [line for line in said.splitlines() if line.startswith(who)]
        assert lines == [who * (number * 13 % 4000) for number in range(1, 300)]


async def test_errors_are_kept(pipe: Pipe, outlet: Outlet) -> None:
    """Of what is too much, what is no error goes first."""
    put(outlet, 2000)
    put(outlet, 100, line=b"error\n", is_serious=True)
    put(outlet, 2000)
    assert pipe.read_until(outlet).count("error\n") == 100


async def test_at_the_end_nobody_waits_for_long(outlet: Outlet) -> None:
    """What nobody reads is dropped, and counted."""
    put(outlet, 500)
    began = time.monotonic()
    dropped = outlet.close(0.05)
    assert time.monotonic() - began < 1.0
    found = outlet.statistics()
    assert dropped == found.dropped_lines > 0
    # What the thread is just writing is neither.
    assert found.queued_lines <= 4
    assert is_right(outlet)


async def test_all_is_out_at_the_end_where_somebody_reads(pipe: Pipe, outlet: Outlet) -> None:
    """In the order in which it came."""
    for number in range(50):
        outlet.put(f"{number}\n".encode())
    assert outlet.close() == 0
    assert pipe.text().split() == [str(number) for number in range(50)]
    put(outlet, 1, line=b"later\n")
    assert outlet.flush()
    assert pipe.text() == "later\n"


async def test_a_reader_who_has_gone_costs_nothing() -> None:
    """Lines go nowhere, and are counted."""
    reading, fd = os.pipe()
    os.close(reading)
    outlet = Outlet(fd, notice)
    put(outlet, 1000)
    assert outlet.flush()
    outlet.close()
    os.close(fd)
    assert outlet.statistics().dropped_lines == 1000


def test_outside_of_a_loop_lines_are_written_at_once(pipe: Pipe, outlet: Outlet) -> None:
    """With a short wait where there is no room, once; and without a thread."""
    began = time.monotonic()
    put(outlet, 200)
    assert WAIT_SECONDS <= time.monotonic() - began < 200 * WAIT_SECONDS / 4
    found = outlet.statistics()
    assert (found.written_lines, found.dropped_lines) == (64, 136)
    assert pipe.text().count("\n") == 64
    outlet.put(b"again\n")
    assert pipe.text() == "dropped 136\nagain\n"


def test_a_long_line_comes_after_the_notice_of_those_that_were_dropped(pipe: Pipe) -> None:
    """They do not fit into one piece: where there is room for neither, it is one of them."""
    outflow = Outflow(pipe.fd, notice, 0.0)
    # As long as a page of the pipe: not a byte fits any more.
    while outflow.write(b"x" * (WHOLE_BYTES - 1) + b"\n"):
        pass
    long = b"y" * WHOLE_BYTES + b"\n"
    assert not outflow.write(long)
    pipe.text()
    assert outflow.write(long)
    assert pipe.text() == f"dropped 2\n{long.decode()}"


async def test_when_python_ends_it_is_said_how_many_lines_nobody_read(
    outlet: Outlet, caplog: pytest.LogCaptureFixture
) -> None:
    """The application's handler is closed then, and waits for nobody."""
    handler = Handler(Lines(as_json=True, mask=Mask()), outlet)
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "x" * 1000, (), None)
    for _ in range(500):
        handler.emit(record)
    handler.close()
    (said,) = caplog.messages
    dropped = outlet.statistics().dropped_lines
    assert said.startswith(f"{dropped} lines of the application's log were not written")
    assert dropped > 100


async def test_the_log_goes_on_after_a_moment_without_memory(pipe: Pipe) -> None:
    """What the thread had in hand is lost then, and counted."""
    fails = iter([True])

    def notice_or_fail(lines: int, since: float) -> bytes:
        if next(fails, False):
            raise MemoryError
        return notice(lines, since)

    outlet = Outlet(pipe.fd, notice_or_fail)
    put(outlet, 5000)
    pipe.read_until(outlet)
    assert is_right(outlet)
    put(outlet, 1, line=b"later\n")
    assert pipe.read_until(outlet).endswith("later\n")
    assert outlet.close() == 0


async def test_lines_that_come_while_it_is_closed_begin_one_thread(outlet: Outlet) -> None:
    """The one before ends, though it may be told so when another has begun already."""

    def threads() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if each.name == "tonnage-logs"}

    others = threads()  # of other tests, and they may end meanwhile
    for _ in range(300):
        outlet.put(b"before\n")
        outlet.close()
    outlet.put(b"after\n")
    await_true(lambda: len(threads() - others) == 1, "the end of the others")


def test_where_no_thread_can_be_started_lines_are_written_at_once(pipe: Pipe) -> None:
    """By a thread when there is room; no request fails for a line of the log."""

    async def log() -> None:
        room, outlet = ThreadRoom(), Outlet(pipe.fd, notice)
        outlet.put(b"at once\n")
        assert outlet.statistics().written_lines == 1
        room.is_there = True
        outlet.put(b"by a thread\n")
        assert outlet.close() == 0

    assert status_of(fork(lambda: asyncio.run(log()))) == 0
    assert pipe.text() == "at once\nby a thread\n"
