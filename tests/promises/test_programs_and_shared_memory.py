"""What requests take outside of their worker: as much as fits, and the kernel rests."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running

from tonnage.units import MIB

pytestmark = pytest.mark.real

APP = "tests.promises.programs_app:app"
ENDED = -signal.SIGKILL


@contextmanager
def served(reports: Path) -> Iterator[tuple[MemoryBox, Running]]:
    """Yield a server with one worker in 512 MB, and its box."""
    pytest.importorskip("starlette")
    need_cgroup()
    with (
        MemoryBox(512 * MIB) as box,
        Running(APP, "--workers", "1", "--report-dir", str(reports), box=box) as server,
    ):
        yield box, server


@pytest.mark.parametrize(("count", "mb", "least"), [(4, 150, 1), (10, 100, 1), (3, 100, 3)])
def test_programs_that_start_at_once_end_as_far_as_they_do_not_fit(
    tmp_path: Path, count: int, mb: int, least: int
) -> None:
    """The others finish; whoever is ended has one report, and the worker goes on."""
    with served(tmp_path) as (box, server):
        ends: list[int] = []
        for _ in range(2):
            found = server.get(f"/programs?count={count}&mb={mb}").json()
            assert found.count(0) >= least
            ends += found

        assert box.kills() == 0
        assert set(ends) <= {0, ENDED}
        reports = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
        pids = [report["program"]["pid"] for report in reports]
        assert len(pids) == len(set(pids)) == min(ends.count(ENDED), 20)
        assert server.get("/programs?count=0&mb=0").json() == []


def test_shared_memory_that_fits_costs_nobody_a_worker(tmp_path: Path) -> None:
    """However fast it grows; 100 MB stay free."""
    with served(tmp_path) as (box, server):
        for _ in range(3):
            assert server.get("/shared?mb=330").json() == 330

        assert box.kills() == 0
        assert not list(tmp_path.glob("*.json"))


def test_a_program_outgrows_the_fuse_that_its_worker_had(tmp_path: Path) -> None:
    """When it was started, half of the memory was taken; when it grows, that is free again."""
    with served(tmp_path) as (box, server):
        assert server.get("/hold?mb=230").json() == 0

        assert box.kills() == 0
