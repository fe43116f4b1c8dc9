"""A flood of events for a writer whose sink stands still: bounded, and every one accounted for.

The short form of ``python -m benchmarks flood``, in a container of 128 MB.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from benchmarks import flood, flooding
from tests.support.cgroup import need_cgroup

from tonnage.units import MIB

pytestmark = pytest.mark.real

EVENTS = 100_000


@pytest.mark.parametrize("policy", flood.POLICIES)
def test_a_flood_stays_within_bounds_and_is_accounted_for(policy: str, tmp_path: Path) -> None:
    """Dropped and counted, or waited for, or spooled; each that was taken is stored once."""
    need_cgroup()
    disk = os.environ.get("TONNAGE_TEST_DISK") or str(tmp_path)
    found = flood.flooded(policy, EVENTS, 128 * MIB, disk)
    assert flood.faults(found) == []
    seen: dict[str, Any] = {
        "drop": found["after"]["totalDropped"] == EVENTS - flooding.MAX_RECORDS,
        "wait": found["most_waiting"] > 50,
        "spool": found["before"]["spooled"] > EVENTS // 2,
    }
    assert seen[policy]
