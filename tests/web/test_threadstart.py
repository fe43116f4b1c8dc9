"""A thread is started only where there is memory to start it: in a process of its own."""

from __future__ import annotations

import _thread
import os
import resource
import threading

import pytest
from tests.support.forking import fork, status_of

from tonnage.host.processes import StatmSample
from tonnage.units import MIB
from tonnage.web.outofmemory import clear_frames
from tonnage.web.threadstart import make_room_for_threads
from tonnage.web.witness import listen

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Stillborn(threading.Thread):
    """Ends as one does whose first frame finds no memory."""

    def _bootstrap(self) -> None:
        raise SystemExit


def no_limit() -> StatmSample:
    """Return what is read where nothing is held."""
    return StatmSample(0, 0, 0)


def start_one() -> bool:
    """Return whether a thread has run."""
    ran = threading.Event()
    thread = threading.Thread(target=ran.set)
    thread.start()
    thread.join()
    return ran.is_set()


def free(error: BaseException | None) -> None:
    """Do what the guard does with an error that is no request's."""
    if error is not None:
        clear_frames(error)


def test_without_room_the_start_fails_instead_of_hanging() -> None:
    """With room, or without a limit, threads start as ever; with a limit it is told."""

    def story() -> None:
        data, told = [100 * MIB], []
        make_room_for_threads(lambda: StatmSample(0, 0, data[0]), lambda: told.append(True))
        assert start_one()
        assert not told
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit_bytes = 1 << 40
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))
        assert start_one()
        assert told == [True]
        data[0] = limit_bytes - MIB
        with pytest.raises(MemoryError, match="no room for another thread"):
            start_one()
        assert told == [True]

    assert status_of(fork(story)) == 0


def test_a_memory_error_that_is_being_handled_is_freed_first() -> None:
    """Its handler's thread starts with that memory."""

    def story() -> None:
        blocks: list[int] = []

        class Block:
            def __del__(self) -> None:
                blocks.append(len(blocks))

        def allocate() -> None:
            block = Block()
            raise MemoryError(block.__class__)

        def read() -> StatmSample:
            assert blocks == [0]
            return StatmSample(0, 0, 0)

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, hard))
        make_room_for_threads(read)
        listen(free)
        try:
            allocate()
        except MemoryError:
            assert start_one()

    assert status_of(fork(story)) == 0


def test_one_that_ends_before_it_begins_is_a_memory_error() -> None:
    """Who starts it does not wait for ever, and it is not listed."""

    def story() -> None:
        make_room_for_threads(no_limit)
        thread = Stillborn()
        with pytest.raises(MemoryError, match="to begin with"):
            thread.start()
        assert thread not in threading.enumerate()
        assert start_one()

    assert status_of(fork(story)) == 0


def test_it_is_found_beside_threads_that_python_does_not_know() -> None:
    """At the latest when the time is up."""

    def story() -> None:
        leave = threading.Event()

        class WithAnother(Stillborn):
            def _bootstrap(self) -> None:
                _thread.start_new_thread(leave.wait, ())
                super()._bootstrap()

        make_room_for_threads(no_limit, most_seconds=0.2)
        with pytest.raises(MemoryError, match="to begin with"):
            WithAnother().start()
        leave.set()

    assert status_of(fork(story)) == 0


def test_a_thread_is_not_started_twice() -> None:
    """As without."""

    def story() -> None:
        make_room_for_threads(no_limit)
        thread = threading.Thread(target=bool)
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="once"):
            thread.start()

    assert status_of(fork(story)) == 0
