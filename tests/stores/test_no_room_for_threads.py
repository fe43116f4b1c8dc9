"""Where no thread can be started: who wants one is told, and all goes on when there is room."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.stores.spool.disks import drained, spool_in
from tests.stores.writer.sinks import Kept
from tests.support.clock import Clock
from tests.support.descriptors import open_descriptors
from tests.support.disk import on_a_disk
from tests.support.forking import fork, status_of
from tests.support.threadroom import ThreadRoom
from tests.support.waiting import await_true

from tonnage import BatchWriter, Cache
from tonnage.stores.background import background
from tonnage.stores.flights import MOST_REFRESHING

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def test_a_stale_value_is_given_out_and_made_anew_when_there_is_room() -> None:
    """However often there was none."""

    def story() -> None:
        clock = Clock()
        cache: Cache[str] = Cache(ttl=60, stale=60, clock=clock)
        cache.set("a", "old")
        clock.seconds += 70
        room = ThreadRoom()
        for _ in range(MOST_REFRESHING + 1):
            assert cache.get_or_make("a", lambda: "new") == "old"
        room.is_there = True
        assert cache.get_or_make("a", lambda: "new") == "old"
        await_true(lambda: cache.get("a") == "new", "it is made anew")

    assert status_of(fork(story)) == 0


@pytest.mark.parametrize("durable", [False, True])
def test_a_writer_takes_nothing_that_it_could_not_deliver(tmp_path: Path, *, durable: bool) -> None:
    """And delivers what it takes then."""

    def story() -> None:
        room, sink = ThreadRoom(), Kept()
        writer = BatchWriter(
            "events", sink, flush_seconds=0.001, durable=durable, spool_dir=directory
        )
        with pytest.raises(MemoryError, match="no room for another thread"):
            writer.put({"n": 0})
        assert writer.statistics().total_added == 0
        room.is_there = True
        assert writer.put({"n": 1})
        await_true(lambda: sink.numbers == [1], "it is delivered")

    with on_a_disk(tmp_path) as directory:
        assert status_of(fork(story)) == 0


def test_a_spool_takes_nothing_that_it_could_not_write(tmp_path: Path) -> None:
    """And writes what it takes then."""

    def story() -> None:
        room, spool = ThreadRoom(), spool_in(tmp_path)
        with pytest.raises(MemoryError, match="no room for another thread"):
            spool.put([{"number": 0}])
        assert (spool.on_the_way, spool.on_the_way_bytes) == (0, 0)
        room.is_there = True
        spool.put([{"number": 1}], timeout_seconds=10)
        assert [record for _, record in asyncio.run(drained(spool))] == [{"number": 1}]

    assert status_of(fork(story)) == 0


def test_the_loop_beside_requests_leaves_nothing_open_that_could_not_begin() -> None:
    """Who asks for it again and again does not run out of files."""

    def story() -> None:
        room = ThreadRoom()
        before = open_descriptors()
        for _ in range(3):
            with pytest.raises(MemoryError):
                background()
        assert open_descriptors() == before
        room.is_there = True
        assert background().start(asyncio.sleep(0, "begun")).result(10) == "begun"

    assert status_of(fork(story)) == 0
