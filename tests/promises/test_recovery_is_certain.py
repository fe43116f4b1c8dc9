"""Recovery is certain: when the load goes, the level is OK again within seconds."""

from __future__ import annotations

import re

import pytest
from tests.promises.load import storm
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = [pytest.mark.real, pytest.mark.timed]

APP = "tests.promises.apps:app"
GREEDY = "benchmarks.greedy:app"


def test_after_an_overload_all_is_as_before() -> None:
    """The level is OK within five seconds, memory is given back, and the next one goes the same."""
    need_cgroup()
    with MemoryBox(512 * MIB) as box, Running(APP, box=box) as server:
        first = storm(server, seconds=3)
        await_true(lambda: server.get("/health").json()["status"] == "OK", "level OK", 5.0)
        await_true(lambda: box.usage() < 160 * MIB, "memory given back", 5.0)
        second = storm(server, seconds=3)

        assert box.kills() == 0
        assert second.count(lambda tally: tally.broken) == 0
        answered = [found.count(lambda tally: tally.ok) for found in (first, second)]
        assert answered[1] > 0.75 * answered[0]


def test_garbage_that_pins_the_allocator_does_not_keep_the_level_up() -> None:
    """One object in a thousand survives, which holds most of what was freed."""
    pytest.importorskip("fastapi")
    need_cgroup()
    with MemoryBox(512 * MIB) as box, Running(GREEDY, "--workers", "1", box=box) as server:
        assert server.get("/garbage?mb=400&one_in=1000").status == 200
        await_true(lambda: _level(server) != "OK", "memory is high", 2.0)

        await_true(lambda: _level(server) == "OK", "level OK", 10.0)
        assert server.get("/work?mb=100&ms=1").status == 200
        assert box.kills() == 0


def test_shedding_ends_though_the_allocator_holds_on() -> None:
    """With glibc as it comes: refusals at CRITICAL; then nobody asks, and the log says who gave."""
    need_cgroup()
    marks = ("--warning-at", "30%", "--critical-at", "40%")
    options = ("--allocator", "default", "--queue-seconds", "0.2", *marks)
    with MemoryBox(512 * MIB) as box, Running(APP, *options, box=box) as server:
        shed = storm(server, seconds=3)
        assert shed.count(lambda tally: tally.refused) > 0
        assert "-> CRITICAL" in server.log

        await_true(lambda: _level(server) == "OK", "level OK", 10.0)
        told = r"memory is OK again after .* [\d.]+ [KMG]?B came back (as|by) "
        await_true(lambda: re.search(told, server.log), "the line that says who gave")
        assert box.kills() == 0


def _level(server: Running) -> str:
    return str(server.get("/health").json()["status"])
