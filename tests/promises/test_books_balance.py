"""The books balance: the lines of the ledger add up to what is used, and that to the kernel's."""

from __future__ import annotations

from typing import Any

import pytest
from tests.promises.load import Storm, storm
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

from tonnage.host.processes import read_rollup
from tonnage.units import MIB

pytestmark = pytest.mark.real

APP = "tests.promises.apps:app"
LINES = ("supervisor", "zygote", "workersShared", "workersOwn", "jobs", "unexplained")


@pytest.mark.cgroup2
def test_the_ledger_adds_up_to_what_the_kernel_charges() -> None:
    """At rest, after some work, with every process measured."""
    need_cgroup()
    with MemoryBox(512 * MIB) as box, Running(APP, "--workers", "2", box=box) as server:
        found: Storm = storm(server, clients=8, seconds=0.5 * SLOWNESS)
        assert found.count(lambda tally: tally.ok) > 0
        await_true(lambda: _all_measured(server), "each process measured", 10.0)

        # What was just freed is seen with the next look, a second later at most.
        now = await_true(lambda: _settled(server, box), "the figure of the kernel", 5.0)
        ledger = now["ledger"]

        assert sum(ledger[line] for line in LINES) == pytest.approx(ledger["used"], abs=0.5)
        assert ledger["used"] == now["used"]
        assert ledger["used"] + ledger["cache"] == pytest.approx(ledger["charged"], abs=0.5)
        # Page tables, sockets and the kernel's other structures for five processes; and the file
        # pages that others had read before are charged to them, and so missing here.
        assert abs(ledger["unexplained"]) < 0.25 * ledger["used"]


def test_without_a_cgroup_the_tree_itself_is_counted() -> None:
    """A limit of the user's own is held against the sum of the processes' shares."""
    with Running(APP, "--memory", "512M", "--workers", "2") as server:
        await_true(lambda: _all_measured(server), "each process measured", 10.0)
        assert server.health_memory()["measured"] == "PSS of our processes"
        # A worker is first measured as it is forked, when it shares nearly all that it then copies.
        # That is seen with its next turn, a moment later: at rest there is one turn a second.
        await_true(lambda: _counts_shares(server), "the sum of the shares", 5.0)


def _counts_shares(server: Running) -> bool:
    now = server.health_memory()
    shares = pytest.approx(sum(read_rollup(pid).pss_bytes for pid in server.tree()) / MIB, rel=0.15)
    return bool(now["used"] == shares and now["memory"]["rss"] == shares)


def _settled(server: Running, box: MemoryBox) -> dict[str, Any] | None:
    now = server.health_memory()
    return now if abs(now["used"] * MIB - box.usage()) < 8 * MIB else None


def _all_measured(server: Running) -> bool:
    now = server.ask_supervisor("/health/memory").json()
    parts = [now["ledger"]["supervisor"], now["ledger"]["zygote"]]
    return all(parts) and all(worker["pss"] for worker in now["workers"])
