"""The inquest: what was known when a worker died, or a request ran out of memory, is gathered.

The same for a program of the application's that the brake had to end, or that the kernel has killed
as it seems: its worker goes on.

Has to come before the worker's slot is wiped. The report is written by
:mod:`tonnage.server.postmortem.blackbox`, and people are told by log and alert.
"""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.flight import read_flight
from tonnage.governor.statistics import DEATHS, NANOSECONDS, read_statistics
from tonnage.ops.alertpolicy import PROGRAM_BRAKED, WORKER_DIED
from tonnage.server.postmortem.cause import Cause
from tonnage.server.postmortem.facts import Death, Incident, Program
from tonnage.server.programs import Started

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.flight import Flights
    from tonnage.governor.page import SharedPage
    from tonnage.server.braking import Brake
    from tonnage.server.crew import Member
    from tonnage.server.jobs.job import Killed
    from tonnage.server.messages import RanOut
    from tonnage.server.postmortem.blackbox import BlackBox, Filed
    from tonnage.server.watch import Watch

logger = logging.getLogger("tonnage.supervisor")

# Whom the kernel kills has ended by then. A kill that no worker's death has followed was of another
# process in the cgroup, and explains no later death.
_FOLLOWS_SECONDS: Final = 2.0
# What no worker's death has explained until then was a program's.
_UNCLAIMED_SECONDS: Final = 0.5
# Programs that may be what the kernel has killed.
_MOST_LOST: Final = 16

_OF_MEMORY: Final = frozenset((Cause.OOM.value, Cause.BRAKE.value))


@dataclass(frozen=True, slots=True)
class _Lost:
    """A program that was gone when the kernel's counter moved, and what its worker was doing."""

    started: Started
    in_flight: Flights | None


class Inquest:
    """Gathers the facts, and has them reported."""

    def __init__(
        self,
        page: SharedPage,
        watch: Watch,
        brake: Brake,
        box: BlackBox,
        *,
        alert: Callable[[str, str, dict[str, Any]], object],
        clock: Callable[[], float],
    ) -> None:
        self._page = page
        self._watch = watch
        self._brake = brake
        self._box = box
        self._alert = alert
        self._clock = clock
        # Kills by the kernel that no death has explained yet, and when the last was counted.
        self._kills = 0
        self._counted_seconds = 0.0
        # At most _MOST_LOST.
        self._lost: list[_Lost] = []

    def on_kills(self, count: int) -> None:
        """Note that the kernel's counter has moved by *count*."""
        self._count_kills(count)
        logger.error("the kernel killed %d process(es) in our cgroup for want of memory", count)

    def on_death(self, member: Member, status: int | None) -> bool:
        """Report on the end of *member*, if nobody had asked for it; return whether it was memory.

        That is, whether the kernel or the brake ended it since memory ran out.
        """
        member.killed = self._brake.take_killed(member.pid) or member.killed
        if not _is_unexpected(member, status):
            return False
        # The kernel's counter is read at the next look; it may have moved with this very death.
        new = self._watch.take_kills()
        if new:
            self.on_kills(new)
        self._forget_explained()
        ago = self._clock() - self._counted_seconds
        now = int(self._clock() * NANOSECONDS)
        slot = self._page.slots[member.index]
        death = Death(
            worker=member.index,
            pid=member.pid,
            wait_status=status,
            statistics=read_statistics(self._page, now),
            age_seconds=self._clock() - member.asked_seconds,
            kernel_kills=self._kills,
            kills_seconds=ago if self._kills else 0.0,
            # Where more was counted than programs are gone, this one was counted too.
            rivals=len(self._lost) if len(self._lost) >= self._kills else 0,
            kill=member.killed,
            memory_errors=slot.memory_errors,
            data_limit_bytes=slot.data_limit_bytes,
            failure=member.failure,
            in_flight=read_flight(self._page, member.index, now),
        )
        cause = self._report(death, WORKER_DIED).cause
        self._page.header.note_death(DEATHS.index(cause if cause in DEATHS else "unknown"))
        is_killed = status is not None and _signal(status) == signal.SIGKILL
        if member.killed is None and is_killed and cause != Cause.SIGNAL.value:
            self._kills = max(0, self._kills - 1)
            self._forget_explained()
        return cause in _OF_MEMORY

    def claim_kill(self) -> bool:
        """Return whether the kernel has killed a process just now, which an isolated job's was."""
        new = self._watch.take_kills()
        if new > 1:
            self.on_kills(new)
        elif new:
            # The report on the job tells.
            self._count_kills(new)
        self._forget_explained()
        if not self._kills:
            return False
        self._kills -= 1
        return True

    def on_job_killed(self, killed: Killed) -> bool:
        """Report on a job's process that a signal has ended, not sent by us; return True."""
        name = f"the job {killed.function}"
        program = Program(killed.pid, name, killed.age_seconds, is_job=True)
        self._report_program(
            Started(program, None),
            None,
            wait_status=killed.status,
            kernel_kills=int(killed.is_kernels),
        )
        return True

    def on_programs_ended(self) -> None:
        """Report on the programs that have just been ended: nobody else hears of it.

        The one that the brake has ended, if any, and those that the kernel has killed, once no
        worker's death has explained what it has counted.
        """
        ended = self._brake.take_ended()
        if ended is not None:
            flights = self._flights(ended.started.worker)
            self._report_program(ended.started, flights, kill=ended.kill)
        if self._kills and self._clock() - self._counted_seconds >= _UNCLAIMED_SECONDS:
            self._note_lost()
            for at, lost in enumerate(self._lost[: self._kills]):
                self._report_program(
                    lost.started,
                    lost.in_flight,
                    kernel_kills=self._kills,
                    rivals=max(0, len(self._lost) - max(at + 1, self._kills)),
                )
            self._kills = max(0, self._kills - len(self._lost))
            self._lost = []

    def _count_kills(self, count: int) -> None:
        self._forget_explained()
        self._kills += count
        self._counted_seconds = self._clock()
        self._note_lost()

    def _forget_explained(self) -> None:
        """Forget what was counted so long ago that no end to come can explain it."""
        if not self._kills or self._clock() - self._counted_seconds > _FOLLOWS_SECONDS:
            self._kills, self._lost = 0, []

    def _note_lost(self) -> None:
        """Note which programs are gone: the kernel does not tell whom it has killed."""
        for started in self._brake.programs.gone()[: _MOST_LOST - len(self._lost)]:
            self._lost.append(_Lost(started, self._flights(started.worker)))

    def _flights(self, worker: int | None) -> Flights | None:
        if worker is None:
            return None
        return read_flight(self._page, worker, int(self._clock() * NANOSECONDS))

    def _report_program(self, started: Started, in_flight: Flights | None, **facts: Any) -> None:
        death = Death(
            worker=started.worker,
            pid=None,
            statistics=read_statistics(self._page, int(self._clock() * NANOSECONDS)),
            program=started.program,
            **{"wait_status": int(signal.SIGKILL)} | facts,
        )
        if started.worker is not None and in_flight is not None:
            slot = self._page.slots[started.worker]
            death = replace(
                death,
                pid=slot.pid,
                memory_errors=slot.memory_errors,
                data_limit_bytes=slot.data_limit_bytes,
                in_flight=in_flight,
            )
        self._report(death, PROGRAM_BRAKED, program=started.program.name)

    def _report(self, death: Death, kind: str, **fields: Any) -> Filed:
        """Have *death* reported, log it, and tell people."""
        filed = self._box.write(death)
        where = f"; the report is {filed.path}" if filed.path else ""
        logger.error("%s%s", filed.summary, where)
        fields |= {
            "worker": death.worker,
            "cause": filed.cause,
            "report": str(filed.path or ""),
            "level": death.statistics.level.name,
        }
        self._alert(kind, filed.summary, fields)
        return filed

    def on_memory_error(self, member: Member, ran_out: RanOut) -> None:
        """Report that a request of *member* ran out of memory, and the worker went on."""
        now = int(self._clock() * NANOSECONDS)
        slot = self._page.slots[member.index]
        self._box.incident(
            Incident(
                worker=member.index,
                pid=member.pid,
                statistics=read_statistics(self._page, now),
                route=ran_out.route,
                line=ran_out.line,
                grown_bytes=ran_out.grown_bytes,
                left_bytes=ran_out.left_bytes,
                was_freed=ran_out.was_freed,
                answered=ran_out.answered,
                memory_errors=slot.memory_errors,
                data_limit_bytes=slot.data_limit_bytes,
                in_flight=read_flight(self._page, member.index, now),
            )
        )


def _is_unexpected(member: Member, status: int | None) -> bool:
    """Whether nobody had asked it to end, or it had to be made to."""
    if member.killed is not None or not member.is_leaving:
        return True
    return status is not None and _signal(status) not in (None, signal.SIGTERM)


def _signal(status: int) -> int | None:
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
