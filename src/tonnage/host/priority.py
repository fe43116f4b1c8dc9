"""A higher scheduling priority for the process that has to look while all processors are busy.

Twenty programs that fill memory at once on two processors kept the supervisor from looking for
200 ms, and the kernel killed 3 of them; with :data:`NICENESS` it killed none. A shorter time slice
(``sched_setattr``), which needs no privilege, made no difference.

It takes a privilege (``CAP_SYS_NICE``, or ``RLIMIT_NICE``), which root has on a host, but not in
every container. Sources: sched(7), setpriority(2).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

#: On the scale of nice(1), where -20 is first.
NICENESS: Final = -15


def look_first() -> None:
    """Raise the priority of this process, not of those that it forks, as far as that is allowed.

    A priority that the user has chosen (``nice tonnage run``) stays.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) == 0 and os.sched_getscheduler(0) == os.SCHED_OTHER:
            policy = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
