"""What a worker's process sets up for itself, just after the fork, before it serves.

Its name, its signals, its random numbers, its place in the kernel's choice of whom to kill, and
that it does not outlive the supervisor. And what a process that the application forks from it
leaves behind.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.host import reins
from tonnage.host.descriptors import close_served
from tonnage.host.prctl import end_with_parent, name_process
from tonnage.host.stacks import bound_stacks
from tonnage.logs import ring

if TYPE_CHECKING:
    from tonnage.server.assignment import Assignment
    from tonnage.server.messages import SupervisorChannel

# Workers are the kernel's first choice, the supervisor its last: it must live to explain.
OOM_SCORE: Final = 500


def settle_process(assignment: Assignment) -> None:
    """Make this process the worker of *assignment*."""
    name_process(f"tonnage-w{assignment.index}")
    ring.keep(f"worker {assignment.index}")
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # Ctrl-C reaches the whole process group; the supervisor alone decides what follows.
        signal.signal(ignored, signal.SIG_IGN)
    _await_parent(assignment.supervisor_pid)
    end_with_parent(signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    random.seed()
    if "numpy" in sys.modules and "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    bound_stacks()


def leave_in_child(assignment: Assignment, channel: SupervisorChannel) -> None:
    """Let go of port, clients and signals in a process that the application has forked.

    Its signals would reach our event loop through the pipe that both have; and what the fuse
    keeps for this worker is not meant for it: the brake looks after programs.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    reins.limit_data(0, reins.UNLIMITED)
    close_served(assignment.listening, channel.fileno())


def _await_parent(supervisor_pid: int) -> None:
    """Wait until the process in between has ended and the supervisor has become the parent."""
    deadline = time.monotonic() + 1.0
    while os.getppid() != supervisor_pid and time.monotonic() < deadline:
        time.sleep(0.0005)
