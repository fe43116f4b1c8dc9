"""Recovery is certain: when the load goes, the level is OK again within seconds."""

from __future__ import annotations

import pytest
from tests.promises.load import storm
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = pytest.mark.real

APP = "tests.promises.apps:app"


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
