"""How a job ended, in one word and one sentence: told from facts, without I/O.

Sources of the facts: what we did ourselves, what the process said before it ended, its status, and
the kernel's counter of processes that it has killed for want of memory.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage.jobs.decisions import Refusal
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from tonnage.jobs.call import Call
    from tonnage.jobs.messages import Over


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended.

    Attributes:
        how: ``done``, ``raised``, ``exit``, ``signal``, ``deadline``, ``memory``, ``kernel``,
            ``cancelled`` or ``stopping``.
        text: a sentence for people; empty where it went well.
    """

    how: str
    text: str = ""


def judge(
    call: Call,
    *,
    killed: str,
    said: Over | None,
    status: int | None,
    is_kernels: bool,
    limit_bytes: int,
    held: str = "",
) -> End:
    """Return how a job has ended.

    Args:
        call: what it was.
        killed: why we have ended it; empty: we have not.
        said: what its process said when it was over; None: nothing.
        status: as ``os.waitpid`` has it; None where its process goes on, or never began.
        is_kernels: the kernel has killed a process for want of memory just then.
        limit_bytes: the memory limit that all share.
        held: what it held, in words, where it was ended for that.
    """
    if killed == "deadline":
        seconds = f"{call.timeout_seconds:g} s"
        return End("deadline", f"{call.function} took longer than {seconds} and was ended")
    if killed == "memory":
        may = f"more than the {format_bytes(call.memory_bytes)} that it may"
        return End("memory", f"{call.function} was ended: it held {held}, {may}; see memory=")
    if killed:
        return End(killed, f"{call.function} was ended: {_WHY.get(killed, killed)}")
    if said is not None:
        return End(said.how, said.text)
    if status is None:
        return End("exit", f"the process of {call.function} could not begin")
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return End("exit", f"the process of {call.function} ended with status {code}")
    if -code == signal.SIGKILL and is_kernels:
        return End(
            "kernel",
            f"the kernel killed the process of {call.function} for want of memory: it may hold "
            f"{format_bytes(call.memory_bytes)}, and the limit for all is "
            f"{format_bytes(limit_bytes)}",
        )
    return End("signal", f"the process of {call.function} was ended by {_name(-code)}")


def why_refused(call: Call, reason: Refusal, waits_for_memory: bool) -> str:
    """Return why a job did not get its turn, for those who can do something about it."""
    if reason is Refusal.QUEUE:
        return f"{call.function} was refused: as many jobs wait as may, see --job-queue"
    within = f"within {call.wait_seconds:g} s"
    if waits_for_memory:
        return f"{call.function} has not found its memory free {within}"
    return f"{call.function} has not had its turn {within}, see --job-slots"


_WHY = {
    "cancelled": "nobody waits for it any more",
    "stopping": "the server stops",
}


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
