"""From the zygote's fork to the job: the process tells its owner which one it is.

It is :mod:`tonnage.jobs.child`'s from there on.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from tonnage.jobs.child import run_job
from tonnage.jobs.messages import JOBS, Forked

if TYPE_CHECKING:
    from tonnage.jobs.call import Call


def enter_job(control: int, data: int, call: Call) -> int:
    """Run the job of *call*, with the descriptors *control* and *data*; return the exit status."""
    channel = JOBS.second(control)
    channel.send(Forked(os.getpid()))
    return run_job(channel, socket.socket(fileno=data), call)
