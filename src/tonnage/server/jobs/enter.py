"""From the zygote's fork to the job: what a process must let go of before it runs one.

It keeps neither the port nor the zygote's channel, tells its owner which process it is, and is
:mod:`tonnage.jobs.child`'s from there on.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from tonnage.host.channel import Channel
from tonnage.jobs.call import Call
from tonnage.jobs.child import run_job

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def enter_job(control: int, data: int, message: dict[str, Any], closed: Iterable[int]) -> int:
    """Run the job of *message*, with the descriptors *control* and *data*; return the exit status.

    *closed*: descriptors of the zygote's that are not a job's.
    """
    for fd in closed:
        os.close(fd)
    channel = Channel(socket.socket(fileno=control))
    channel.send("forked", pid=os.getpid())
    return run_job(channel, socket.socket(fileno=data), Call.from_fields(message))
