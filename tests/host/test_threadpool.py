"""Threads where there is no memory for another: work is done by those there, or never begun."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator

import pytest
from tests.support.forking import fork, status_of

from tonnage.host.threadpool import FrugalThreadPool


class Room:
    """Room for so many threads more, as ``Thread.start`` of a worker finds it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads = 0
        start = threading.Thread.start

        def start_with_room(thread: threading.Thread) -> None:
            if not self.threads:
                raise MemoryError("there is no room for another thread")
            self.threads -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_with_room)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """Have no room for any thread."""
    return Room(monkeypatch)


@pytest.fixture
def pool() -> Iterator[FrugalThreadPool]:
    """Yield a pool of four, without a thread."""
    with FrugalThreadPool(4) as pool:
        yield pool


def test_work_goes_on_in_the_threads_that_there_are(room: Room, pool: FrugalThreadPool) -> None:
    """In its turn, while there is no memory for a second one."""
    room.threads = 1
    go_on = threading.Event()
    first = pool.submit(go_on.wait, 5)
    others = [pool.submit(threading.get_ident) for _ in range(3)]

    assert not any(each.done() for each in others)
    go_on.set()

    assert first.result(5)
    assert len({each.result(5) for each in others}) == 1


def test_what_is_refused_is_never_done(room: Room, pool: FrugalThreadPool) -> None:
    """Who was told that it failed may try again, and has it done once."""
    done: list[int] = []
    with pytest.raises(MemoryError):
        pool.submit(done.append, 1)

    room.threads = 4
    pool.submit(done.append, 2).result(5)

    assert done == [2]


def test_where_there_is_room_there_are_as_many_threads_as_work(
    room: Room, pool: FrugalThreadPool
) -> None:
    """Up to what was allowed, and with no more for having a first one."""
    room.threads = 100
    barrier = threading.Barrier(5)
    futures = [pool.submit(barrier.wait, 5) for _ in range(4)]
    barrier.wait(5)

    assert {each.result(5) for each in futures} <= set(range(5))
    assert room.threads == 96


def test_after_its_end_nothing_is_taken(room: Room) -> None:
    """As with any pool, and no thread is started for it."""
    room.threads = 1
    pool = FrugalThreadPool(1)
    pool.shutdown()

    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
    assert room.threads == 1


def test_where_the_system_allows_no_more_threads_work_goes_on_too() -> None:
    """As below ``pids.max``, where Python raises a RuntimeError."""

    def story() -> None:
        go_on, pool = threading.Event(), FrugalThreadPool(9)
        first = pool.submit(go_on.wait, 5)
        if not os.getuid():
            # Of root nobody counts the threads.
            os.setresuid(65_533, 65_533, 65_533)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        with pytest.raises(RuntimeError, match="new thread"):
            threading.Thread().start()

        others = [pool.submit(go_on.wait, 5) for _ in range(6)]

        go_on.set()
        assert first.result(5)
        assert all(each.result(5) for each in others)

    assert status_of(fork(story)) == 0
