"""A worker is replaced and nobody notices: by its count of requests, on demand, and by SIGHUP.

The application takes more than a second to import, which a fork of the zygote does not.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.promises.load import Kind, Load, run
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running, clean_environment
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = [pytest.mark.real, pytest.mark.alone]

APP = "benchmarks.slow:app"
PER_SECOND = 500
READY_SECONDS = 0.15
# On a machine that is busy with other things; less than an import takes.
BUSY_SECONDS = 1.0
IMPORT_SECONDS = "1.2"


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.soak), 2])
def test_after_so_many_requests(workers: int) -> None:
    """Each worker is replaced after 400 or so: many times in five seconds at 500/s."""
    options = ("--max-requests", "400")
    found, pids, _ = _served(workers, 5.0, *options)

    _nothing_failed(found)
    assert len(pids) >= workers + 3


def test_on_demand() -> None:
    """`tonnage recycle` replaces every worker, one after the other."""

    def recycle(server: Running) -> None:
        command = [sys.executable, "-m", "tonnage", "recycle", "--control", str(server.control)]
        subprocess.run(command, env=clean_environment(), timeout=20, check=True)

    found, pids, log = _served(2, 4.0, then=recycle)

    _nothing_failed(found)
    assert len(pids) == 4
    _soon_ready(log)


def test_by_sighup() -> None:
    """The application is imported anew, while the old workers serve; then each is replaced."""
    found, pids, log = _served(2, 6.5, then=lambda server: server.send(signal.SIGHUP))

    _nothing_failed(found)
    assert len(pids) == 4
    _soon_ready(log)


def _served(
    workers: int, seconds: float, *options: str, then: Callable[[Running], object] | None = None
) -> tuple[Load, set[int], str]:
    """Serve PER_SECOND requests for *seconds*, and do *then* after one of them.

    Returns the load, the workers that were seen, and the log.
    """
    pytest.importorskip("fastapi")
    need_cgroup()
    with (
        MemoryBox(512 * MIB) as box,
        Running(
            APP,
            *("--workers", str(workers), *options),
            box=box,
            env={"IMPORT_SECONDS": IMPORT_SECONDS},
        ) as server,
    ):
        pids = set(server.worker_pids())

        async def main() -> Load:
            load = Load(server.port, [Kind("trivial", "/")], clients=50, per_second=PER_SECOND)
            load.start()
            await load.keep_going(1.0)
            if then is not None:
                then(server)
            for _ in range(int((seconds - 1.0) * 10)):
                await load.keep_going(0.1)
                pids.update(server.worker_pids())
            await load.stop()
            return load

        load = run(main())
        await_true(lambda: len(server.worker_pids()) == workers, "as many workers as before")
        assert box.kills() == 0
        return load, pids, server.log


def _nothing_failed(found: Load) -> None:
    tally = found.tallies["trivial"]
    assert (tally.broken, tally.other, tally.refused) == (0, 0, 0)
    assert tally.ok > PER_SECOND


def _soon_ready(log: str) -> None:
    """From the decision until the new worker accepts."""
    took = [float(found) for found in re.findall(r'"ready_seconds": ?([0-9.]+)', log)]
    assert len(took) == 2
    assert min(took) <= READY_SECONDS
    assert max(took) <= BUSY_SECONDS
