"""The owner's handle on the process of a job: what it says, what it holds, and its end.

Does not decide when it ends (:mod:`tonnage.jobs.line`) nor why it has
(:mod:`tonnage.server.jobs.ends`). All that a job's process has started is ended with it, also what
has left its session and its parents: it bears the job's mark (:func:`tonnage.host.reins.mark`).
Where there can be no mark, since the hard limit of core files is low, that is as far as it is
known: its process group, and what was below it at the last look.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from tonnage.host import reins
from tonnage.host.processes import descendants, parent_pid
from tonnage.jobs.messages import Finish
from tonnage.server.jobs.holding import Holding

if TYPE_CHECKING:
    from tonnage.jobs.messages import JobChannel, Over


class Child:
    """One process, from the moment it was asked for."""

    def __init__(self, number: int, channel: JobChannel, generation: int) -> None:
        """Take hold of a process.

        Args:
            number: what the line calls it.
            channel: its control channel.
            generation: which import of the application it has.
        """
        self.number = number
        self.channel = channel
        self.generation = generation
        #: Which process it is; None: it has yet to say.
        self.pid: int | None = None
        #: The most that it was seen to hold; it knows better itself, and says so at the end.
        self.peak_bytes = 0
        #: What it said of its job when that was over; None: it is not.
        self.said: Over | None = None
        #: Why we have ended it; empty: we have not.
        self.killed = ""
        #: Whether a report has told of its end, so that nobody else need.
        self.is_logged = False
        #: What it held, in words, when it was ended for that.
        self.held = ""
        #: When it is to be killed if it has not ended by itself; None: it was not told to end.
        self.kill_at: float | None = None
        #: What it holds; None: that cannot be read, or not yet.
        self.holding: Holding | None = None

    def is_process(self, pid: int) -> None:
        """Learn which process it is."""
        self.pid = pid
        if self.holding is None:
            with suppress(OSError):
                self.holding = Holding(pid)

    def settled(self) -> None:
        """Count what it holds from here on: it is about to call its function."""
        if self.holding is not None:
            self.holding.begin()

    def held_bytes(self, *, exactly: bool = False) -> int:
        """Return what it and all that it has started hold of their own; 0 once they are gone."""
        if self.holding is None:
            return 0
        held_bytes = self.holding.exact_bytes() if exactly else self.holding.held_bytes()
        self.peak_bytes = max(self.peak_bytes, held_bytes)
        return held_bytes

    def look_below(self) -> None:
        """Look at what it has started."""
        if self.holding is not None:
            self.holding.look_below()

    def tell_to_end(self, kill_at: float) -> None:
        """Have it end by itself, or be killed later."""
        self.kill_at = kill_at
        if not self.channel.send(Finish()):
            self.kill()

    def kill(self) -> None:
        """End it at once, with all that it has started; harmless if it is gone."""
        if self.pid is None:
            # It has not begun, and ends when it finds its channel closed.
            return
        # Stopped, it starts nothing while we look.
        reins.stop(self.pid)
        self.look_below()
        reins.end(self.pid)
        self.end_left()

    def end_left(self) -> None:
        """End what the process has left behind."""
        if self.pid is None:
            return
        self._end_marked(self.pid)
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(0) != self.pid:
                os.killpg(self.pid, signal.SIGKILL)
        below = self.holding.pids_below() if self.holding is not None else []
        for pid in below:
            with suppress(OSError):
                # Only what is ours: its number may be another process's by now.
                if parent_pid(pid) in (self.pid, os.getpid(), *below):
                    reins.end(pid)

    def _end_marked(self, mark: int) -> None:
        ended: set[int] = set()
        # One may have forked another before it was ended; none does afterwards.
        while found := {p for p in descendants(os.getpid()) if reins.mark_of(p) == mark} - ended:
            for pid in found:
                reins.end(pid)
            ended |= found

    def close(self) -> None:
        """Let go of a process that has ended."""
        self.end_left()
        self.channel.close()
        if self.holding is not None:
            self.holding.close()
            self.holding = None
