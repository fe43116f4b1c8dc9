"""The supervisor looks first, also while the others keep every processor busy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.support.server import Running

from tonnage.host.priority import NICENESS
from tonnage.host.processes import descendants

pytestmark = pytest.mark.real


def niceness(pid: int) -> int:
    """Return the niceness of process *pid*."""
    return os.getpriority(os.PRIO_PROCESS, pid)


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_the_supervisor_alone_comes_first(preload: str) -> None:
    """Where it may: else, it is like the others."""
    ours = niceness(0)
    raising = [sys.executable, "-c", "import os; os.nice(-15)"]
    may_raise = ours == 0 and not subprocess.run(raising, capture_output=True).returncode
    with Running("tests.promises.apps:app", "--memory", "512M", preload) as server:
        assert niceness(server.pid) == (NICENESS if may_raise else ours)
        assert {niceness(pid) for pid in descendants(server.pid)} == {ours}


def test_a_priority_that_the_user_has_chosen_stays() -> None:
    """For all processes."""
    code = "import os, sys; os.nice(5); os.execvp(sys.argv[1], sys.argv[1:])"
    with Running("tests.promises.apps:app", wrapper=(sys.executable, "-c", code)) as server:
        assert {niceness(pid) for pid in [server.pid, *descendants(server.pid)]} == {5}
