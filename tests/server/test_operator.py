"""What people can ask of the running server, and what they are answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.scene import KILLED, NOBODY, Whole, refusal, scene

from tonnage.governor.levels import Level
from tonnage.server.messages import Clear, Reclaim, Trace
from tonnage.units import MIB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Whole]:
    """Two workers, and a directory for reports."""
    with scene(Whole, reports=tmp_path / "reports") as made:
        made.look(100)
        yield made


def test_a_reclaim_is_asked_for_and_asked_about(server: Whole) -> None:
    """Caches included, whatever the level."""
    assert server.operator.reclaimed() == {}
    assert server.operator.reclaim() == 2
    assert server.messages(0)[0] == Reclaim(Level.CRITICAL, 0, "asked for")
    assert server.operator.reclaimed()["state"] == "running"

    server.reclaimed(0, 10)
    server.reclaimed(1, 20)

    found = server.operator.reclaimed()
    assert (found["state"], found["freed_bytes"]) == ("done", 30 * MIB)


def test_one_worker_is_replaced(server: Whole) -> None:
    """And the sentence says which."""
    assert server.operator.recycle(1) == "worker 1 is being replaced"

    server.look(100)
    assert server.replaced() == [1]


def test_all_are_replaced_in_turn(server: Whole) -> None:
    """And the sentence says how many."""
    assert server.operator.recycle(None) == "2 worker(s) are replaced, one after the other"

    server.look(100)
    assert len(server.replaced()) == 1


def test_a_worker_that_has_ended_counts_as_well(server: Whole) -> None:
    """It is not there to be replaced, and its successor is a fresh one in any case."""
    server.dies(0, KILLED)

    assert server.operator.recycle(None) == (
        "1 worker(s) are replaced, one after the other; 1 had ended, and start(s) anew anyway"
    )


def test_a_worker_that_is_not_there_is_refused(server: Whole) -> None:
    """With the numbers that there are."""
    assert refusal(lambda: server.operator.recycle(7)) == ("there is no worker 7; there are: 0, 1")
    server.dies(0, KILLED)
    assert refusal(lambda: server.operator.recycle(0)) == "there is no worker 0; there are: 1"


def test_without_workers_nothing_is_replaced(server: Whole) -> None:
    """Each of them has just died."""
    for index in (0, 1):
        server.dies(index, KILLED)

    assert "no worker" in refusal(lambda: server.operator.recycle(None))
    assert refusal(lambda: server.operator.recycle(0)).endswith("there are: none")


def test_a_server_that_stops_replaces_nobody(server: Whole) -> None:
    """All or one."""
    server.page.header.stopping = 1

    for worker in (None, 0):
        said = refusal(lambda worker=worker: server.operator.recycle(worker))  # type: ignore[misc]
        assert said.startswith("the server is stopping")


def test_a_trace_is_begun_with_what_is_free(server: Whole) -> None:
    """A quarter of it, 64 MB at most, may go into tracing."""
    assert server.operator.trace_leaks(0, 5.0) == (f"worker 0 (pid {NOBODY + 1}) is traced for 5 s")

    (message,) = server.messages(0)
    assert message == Trace(5.0, 64 * MIB)
    assert server.operator.leaks()["state"] == "running"


def test_without_room_no_trace_is_begun(server: Whole) -> None:
    """It would bring about what it is to explain."""
    server.look(500)

    assert refusal(lambda: server.operator.trace_leaks(None, 5.0)) == (
        "tracing needs 16 MB of free memory, and 12 MB is free: try again when there is less load"
    )
    assert server.operator.leaks()["state"] == "idle"


def test_reports_are_listed_and_read(server: Whole) -> None:
    """The newest first; one that is not there is none."""
    assert server.operator.postmortems() == []
    server.dies(0, KILLED)

    (listed,) = server.operator.postmortems()
    assert listed["worker"] == 0
    found = server.operator.postmortem(listed["name"])
    assert found is not None
    assert found["summary"] == listed["summary"]
    assert found["application"] == listed["application"]
    assert f"  application: {listed['application']}\n" in found["text"]
    assert listed["is_own"]
    assert server.operator.postmortem("nothing") is None


def test_all_workers_are_told_to_clear_their_caches(server: Whole) -> None:
    """One of them, or all."""
    assert server.operator.clear_caches("events") == "2 worker(s) clear the caches called 'events'"
    assert server.operator.clear_caches(None) == "2 worker(s) clear all caches"

    expected = [Clear("events"), Clear(None)]
    assert server.messages(0) == server.messages(1) == expected


def test_without_workers_no_cache_is_cleared(server: Whole) -> None:
    """And that is said."""
    for index in (0, 1):
        server.dies(index, KILLED)

    assert refusal(lambda: server.operator.clear_caches(None)).startswith("there is no worker")
