"""Where the supervisor has no file descriptor left, a server goes on as it is."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = pytest.mark.real

APP = "tests.server.working:app"
# More than come free where a worker or a zygote ends, and few enough to wait for the others.
GONE = 5


@contextmanager
def no_descriptor_left(pid: int) -> Iterator[None]:
    """Have process *pid* be unable to open anything inside."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    most = len(os.listdir(f"/proc/{pid}/fd")) - GONE
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, hard))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("options", [(), ("--no-preload",)])
def test_the_other_worker_serves_until_there_is_one(options: tuple[str, ...]) -> None:
    """Then there are two again."""
    with Running(APP, "--workers", "2", *options) as server:
        first, second = server.worker_pids()
        with no_descriptor_left(server.pid):
            os.kill(first, signal.SIGKILL)

            await_true(lambda: "for a worker: Too many open files" in server.log, "a start failed")
            assert server.get("/").status == 200
        await_true(lambda: len(server.worker_pids()) == 2, "the worker is replaced", 20.0)
        assert second in server.worker_pids()


def test_the_limit_stays_what_it_was() -> None:
    """The group sets it, and cannot be asked; what the user allows beyond that is none."""
    need_cgroup()
    options = ("--workers", "1", "--memory", "1G")
    with MemoryBox(512 * MIB) as box, Running(APP, *options, box=box) as server:
        assert server.health_memory()["memory"]["limit"] == 512
        with no_descriptor_left(server.pid):
            await_true(lambda: "the memory limit c" in server.log, "it was asked again", 20.0)
        assert "cannot be read again, the last one holds" in server.log
        assert server.health_memory()["memory"]["limit"] == 512


def test_the_workers_serve_until_there_is_one_for_a_zygote() -> None:
    """The application is imported again when that can be."""
    with Running(APP, "--workers", "2") as server:
        (first, second), zygote = server.worker_pids(), server.zygote_pid()
        with no_descriptor_left(server.pid):
            os.kill(zygote, signal.SIGKILL)

            await_true(lambda: "application: Too many open files" in server.log, "a start failed")
            assert server.get("/").status == 200
        assert server.worker_pids() == [first, second]
        os.kill(first, signal.SIGKILL)
        await_true(lambda: len(server.worker_pids()) == 2, "the worker is replaced", 20.0)
