"""One job on the owner's side, and what its caller is told of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage.jobs.messages import JobEnded, JobRefused

if TYPE_CHECKING:
    from tonnage.jobs.call import Call
    from tonnage.jobs.decisions import Refusal
    from tonnage.jobs.messages import CallerChannel
    from tonnage.server.jobs.child import Child
    from tonnage.server.jobs.ends import End


@dataclass(slots=True, eq=False)
class Job:
    """A job that waits or runs.

    Attributes:
        number: what the line calls it.
        caller: the channel to whoever has asked for it; None: that one is gone.
        id: what the caller calls it.
        call: what it is.
        data: our copy of the data socket's descriptor, until a process has it; then -1.
        child: its process; None: it waits.
        tries: how often a process was made for it.
        begun_seconds: since when its function runs.
    """

    number: int
    caller: CallerChannel | None
    id: int
    call: Call
    data: int
    child: Child | None = None
    tries: int = 0
    begun_seconds: float | None = None

    def close(self) -> None:
        """Let go of the data socket: its process has it, or nobody needs it any more."""
        if self.data >= 0:
            os.close(self.data)
            self.data = -1

    def tell_ended(self, end: End) -> None:
        """Say how it ended: the last word on it."""
        self.close()
        if self.caller is not None:
            self.caller.send(JobEnded(self.id, end.how, end.text))

    def tell_refused(self, reason: Refusal, text: str, retry_after_seconds: float) -> None:
        """Say that it does not run, and when it might: the last word on it."""
        self.close()
        if self.caller is not None:
            self.caller.send(JobRefused(self.id, reason, text, retry_after_seconds))

    def seconds(self, now_seconds: float) -> float:
        """Return for how long it has run."""
        return 0.0 if self.begun_seconds is None else now_seconds - self.begun_seconds


@dataclass(frozen=True, slots=True)
class Killed:
    """A job's process that a signal has ended, not sent by us.

    Attributes:
        pid: which.
        function: what it ran.
        age_seconds: how long it had run.
        status: as ``os.waitpid`` has it.
        is_kernels: the kernel has killed it for want of memory.
    """

    pid: int
    function: str
    age_seconds: float
    status: int
    is_kernels: bool
