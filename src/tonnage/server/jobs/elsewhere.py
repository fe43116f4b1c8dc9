"""The owner of jobs where there is no supervisor: scripts, other servers, tests.

``python -m tonnage.server.jobs.elsewhere FD`` is begun by the first process that wants a job, with
the other end of its channel, and ends when that is closed; all jobs end with it. It finds the
memory limit as a server does, and bounds jobs by what is free below it. The processes of jobs are
fresh interpreters, which import the function's module: there is no zygote to fork.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.budget.sizes import guard_bytes
from tonnage.config import load_settings
from tonnage.governor.levels import marks_for
from tonnage.governor.page import SharedPage
from tonnage.host.limits import discover_limit
from tonnage.host.prctl import adopt_orphans, name_process
from tonnage.host.processes import descendants, next_ended
from tonnage.host.usage import meter_for
from tonnage.jobs.messages import OWNERS
from tonnage.server.jobs.owner import Jobs
from tonnage.server.jobs.spawning import Fresh
from tonnage.server.reactor import Reactor, Signals
from tonnage.server.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.host.channel import Channel
    from tonnage.jobs.messages import FromCaller, ToCaller
    from tonnage.settings import Settings

# A look costs some 0.3 ms; without jobs there is none.
_LOOK_SECONDS: Final = 0.1
_IDLE_SECONDS: Final = 60.0


class Elsewhere:
    """The loop: hear the caller and the processes, look at memory, act."""

    def __init__(self, settings: Settings, caller: Channel[ToCaller, FromCaller]) -> None:
        """Make an owner of jobs for the process at the other end of *caller*."""
        self._caller = caller
        caller.setblocking(False)
        self._reactor = Reactor()
        page = SharedPage(slots=0)
        self._watch = _watch(settings, page)
        self._jobs = Jobs(
            settings.jobs,
            page=page,
            reactor=self._reactor,
            spawner=Fresh(os.environ),
            claim_kill=lambda: self._watch.take_kills() > 0,
            on_killed=lambda killed: False,
            clock=time.monotonic,
        )
        self._watch.read_jobs = self._jobs.read_held_bytes
        self._is_over = False

    def run(self) -> int:
        """Run until the caller is gone; return the exit status."""
        signals = Signals((signal.SIGCHLD, signal.SIGTERM))
        self._reactor.register(signals, partial(self._on_signals, signals))
        self._reactor.register(self._caller, self._hear)
        try:
            while not self._is_over:
                self._reactor.wait(self._pause_seconds())
                if self._jobs.next_seconds() is not None:
                    self._watch.look()
                    self._jobs.tend()
        finally:
            self._jobs.stop()
            self._watch.meter.close()
            signals.close()
        return 0

    def _pause_seconds(self) -> float:
        due = self._jobs.next_seconds()
        if due is None:
            return _IDLE_SECONDS
        return min(max(0.0, due - time.monotonic()), _LOOK_SECONDS)

    def _hear(self) -> None:
        try:
            received = self._caller.receive()
        except EOFError:
            self._is_over = True
            return
        if received is not None:
            # What is free has been read a while ago, or never.
            self._watch.look()
            self._jobs.on_message(self._caller, *received)

    def _on_signals(self, signals: Signals) -> None:
        self._is_over = self._is_over or signal.SIGTERM in signals.take()
        while (ended := next_ended()) is not None:
            self._jobs.reaped(*ended)


def _watch(settings: Settings, page: SharedPage) -> Watch:
    memory = settings.memory
    limit = discover_limit(memory.limit_bytes, settings.origin("memory"))
    marks = marks_for(
        limit.bytes,
        warning=memory.warning_at,
        critical=memory.critical_at,
        exhausted=memory.exhausted_at,
        free_floor_bytes=memory.free_floor_bytes,
    )
    ceiling_bytes = limit.bytes - guard_bytes(limit.bytes)
    return Watch(page, meter_for(limit, _pids), marks, ceiling_bytes, clock=time.monotonic)


def _pids() -> Iterable[int]:
    """Return the caller's whole tree, of which this process is one."""
    return [os.getppid(), *descendants(os.getppid())]


def main(arguments: list[str]) -> int:
    """Own the jobs of the process at the other end of the descriptor that *arguments* name."""
    name_process("tonnage-jobs")
    # Ctrl-C reaches the whole process group; whoever has asked for jobs decides what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    settings = load_settings({}, os.environ, Path.cwd())
    return Elsewhere(settings, OWNERS.second(int(arguments[0]))).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
