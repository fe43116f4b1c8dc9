"""Holding a real process: a limit on its data, stopping it, ending it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.support.process import data_limit, is_stopped
from tests.support.waiting import await_true

from tonnage.host import reins
from tonnage.host.processes import descendants
from tonnage.units import MIB

# No process has such a number: the kernel gives 2**22 at most.
NOBODY = 1 << 30


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that does nothing."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_limit_is_set_moved_and_taken_away(sleeper: subprocess.Popen[bytes]) -> None:
    """Only the soft one, so that the process itself can raise it for a moment."""
    _, hard = resource.prlimit(sleeper.pid, resource.RLIMIT_DATA)
    for limit in (400 * MIB, 300 * MIB, reins.UNLIMITED):
        assert reins.limit_data(sleeper.pid, limit)
        assert data_limit(sleeper.pid) == limit

    assert resource.prlimit(sleeper.pid, resource.RLIMIT_DATA)[1] == hard


@pytest.mark.parametrize("limit", [400 * MIB, reins.UNLIMITED])
def test_a_limit_is_never_above_the_hard_one(sleeper: subprocess.Popen[bytes], limit: int) -> None:
    """Which somebody else has set, and which only root could raise."""
    resource.prlimit(sleeper.pid, resource.RLIMIT_DATA, (100 * MIB, 200 * MIB))

    assert reins.limit_data(sleeper.pid, limit)
    assert resource.prlimit(sleeper.pid, resource.RLIMIT_DATA) == (200 * MIB, 200 * MIB)


def test_an_allocation_above_the_limit_fails_in_python() -> None:
    """As a MemoryError, after which the process goes on; what fits is given."""
    program = (
        "import sys\n"
        "from tonnage.host.processes import Statm\n"
        "from tonnage.host.reins import limit_data\n"
        "import os\n"
        "data = Statm(os.getpid()).read().data_bytes\n"
        "assert limit_data(0, data + 64 * 2**20)\n"
        "fits = bytearray(32 * 2**20)\n"
        "try:\n"
        "    bytearray(100 * 2**20)\n"
        "except MemoryError:\n"
        "    print('failed')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )

    assert ended.stdout == "failed\n"


def test_a_stopped_process_goes_on_when_it_is_resumed(sleeper: subprocess.Popen[bytes]) -> None:
    """And not before."""
    assert reins.stop(sleeper.pid)
    await_true(lambda: is_stopped(sleeper.pid), "it is stopped")

    assert reins.resume(sleeper.pid)
    await_true(lambda: not is_stopped(sleeper.pid), "it goes on")


def test_a_stopped_process_can_be_ended(sleeper: subprocess.Popen[bytes]) -> None:
    """Without resuming it: it is not to allocate any more."""
    reins.stop(sleeper.pid)

    assert reins.end(sleeper.pid)
    assert sleeper.wait(5.0) == -signal.SIGKILL


def test_who_has_ended_holds_no_memory_also_while_nobody_has_reaped_it(
    sleeper: subprocess.Popen[bytes],
) -> None:
    """A zombie, and one whose number nobody has."""
    assert not reins.has_ended(sleeper.pid)
    reins.end(sleeper.pid)

    await_true(lambda: reins.has_ended(sleeper.pid), "it has ended")
    sleeper.wait(5.0)
    assert reins.has_ended(NOBODY)


def test_who_is_gone_cannot_be_held() -> None:
    """That is no error: processes end at any moment."""
    assert not reins.limit_data(NOBODY, MIB)
    assert [act(NOBODY) for act in (reins.stop, reins.resume, reins.end)] == [False] * 3


def test_a_mark_goes_to_all_that_a_process_starts() -> None:
    """Forked, run anew, in another session: it stays."""
    run_two = (
        "import subprocess, sys; from tonnage.host import reins; assert reins.mark(7);"
        "subprocess.run(['setsid', 'sleep', '60'])"
    )
    assert reins.mark_of(os.getpid()) is None
    assert reins.mark_of(NOBODY) is None
    with subprocess.Popen([sys.executable, "-c", run_two]) as process:
        below = await_true(lambda: descendants(process.pid), "what it has started")
        assert {reins.mark_of(pid) for pid in (process.pid, *below)} == {7}
        for pid in (*below, process.pid):
            assert reins.end(pid)
