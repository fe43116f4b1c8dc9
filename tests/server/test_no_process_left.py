"""Where the system lets nobody start a process, as ``pids.max`` says, a server goes on as it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.server import Running
from tests.support.waiting import await_true

# Version 1's; where version 2 has the controller, it is rarely handed down.
PIDS = Path("/sys/fs/cgroup/pids")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.access(PIDS, os.W_OK), reason=f"makes a cgroup in {PIDS}"),
]


class ProcessBox:
    """A cgroup in which there may be so many processes and no more."""

    def __init__(self) -> None:
        self.path = PIDS / f"tonnage-{os.getpid()}"
        self.path.mkdir()

    def put(self, pids: list[int], most: str) -> None:
        """Have *pids* in it, and *most* processes at most."""
        for pid in pids:
            (self.path / "cgroup.procs").write_text(str(pid))
        (self.path / "pids.max").write_text(most)


@pytest.fixture
def box() -> Iterator[ProcessBox]:
    """Yield such a cgroup, which is removed once nobody is in it."""
    box = ProcessBox()
    yield box

    def is_removed() -> bool:
        with suppress(OSError):
            box.path.rmdir()
        return not box.path.exists()

    await_true(is_removed, "nobody is in the cgroup any more")


@pytest.mark.parametrize("options", [(), ("--no-preload",)])
def test_the_other_worker_serves_until_there_is_room(
    box: ProcessBox, options: tuple[str, ...]
) -> None:
    """Then there are two again."""
    with Running("tests.server.working:app", "--workers", "2", *options) as server:
        first, second = server.worker_pids()
        box.put(server.tree(), "1")

        os.kill(first, signal.SIGKILL)

        await_true(lambda: "no process can be started" in server.log, "a start has failed")
        assert server.get("/").status == 200
        assert server.worker_pids() == [second]
        box.put([], "max")
        await_true(lambda: len(server.worker_pids()) == 2, "the worker is replaced", 20.0)


def test_the_workers_serve_until_there_is_room_for_a_zygote(box: ProcessBox) -> None:
    """The application is imported again when that can be."""
    with Running("tests.server.working:app", "--workers", "2") as server:
        first, second = server.worker_pids()
        zygote = server.zygote_pid()
        box.put(server.tree(), "1")

        os.kill(zygote, signal.SIGKILL)

        await_true(lambda: "no process can be started" in server.log, "a start has failed")
        assert server.worker_pids() == [first, second]
        box.put([], "max")
        os.kill(first, signal.SIGKILL)
        await_true(lambda: len(server.worker_pids()) == 2, "the worker is replaced", 20.0)
        assert second in server.worker_pids()


def test_a_job_that_has_no_process_ends(box: ProcessBox) -> None:
    """Its caller is told; the next one is done, once there is room."""
    with Running("tests.server.working:app", "--workers", "1", "--no-preload") as server:
        box.put(server.tree(), "1")
        assert "could not begin" in str(server.get("/span?0").json())
        box.put([], "max")

        assert "result" in server.get("/span?0").json()
