"""The inquest: what was known when a worker died, or a request ran out of memory, is gathered.

The same for a program of the application's that the brake had to end: its worker goes on.

Has to come before the worker's slot is wiped. The report is written by
:mod:`tonnage.server.blackbox`, and people are told by log and alert.
"""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.flight import read_flight
from tonnage.governor.statistics import NANOSECONDS, read_statistics
from tonnage.ops.alertpolicy import PROGRAM_BRAKED, WORKER_DIED
from tonnage.server.facts import Death, Incident
from tonnage.server.postmortem import Cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.server.blackbox import BlackBox, Filed
    from tonnage.server.braking import Brake
    from tonnage.server.crew import Member
    from tonnage.server.watch import Watch

logger = logging.getLogger("tonnage.supervisor")

# Whom the kernel kills has ended by then. A kill that no worker's death has followed was of another
# process in the cgroup, and explains no later death.
_FOLLOWS_SECONDS: Final = 5.0


_OF_MEMORY: Final = frozenset((Cause.OOM.value, Cause.BRAKE.value))


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

    def on_kills(self, count: int) -> None:
        """Note that the kernel's counter has moved by *count*."""
        self._kills += count
        self._counted_seconds = self._clock()
        logger.error("the kernel killed %d process(es) in our cgroup for want of memory", count)

    def on_death(self, member: Member, status: int | None) -> bool:
        """Report on the end of *member*, if nobody had asked for it; return whether it was memory.

        That is, whether the kernel or the brake ended it since memory ran out.
        """
        killed = self._brake.killed
        if killed is not None and killed[0] == member.pid:
            member.killed, self._brake.killed = killed[1], None
        if not _is_unexpected(member, status):
            return False
        # The kernel's counter is read at the next look; it may have moved with this very death.
        new = self._watch.count_kills()
        if new:
            self.on_kills(new)
        elif self._clock() - self._counted_seconds > _FOLLOWS_SECONDS:
            self._kills = 0
        now = int(self._clock() * NANOSECONDS)
        slot = self._page.slots[member.index]
        death = Death(
            worker=member.index,
            pid=member.pid,
            wait_status=status,
            statistics=read_statistics(self._page, now),
            age_seconds=self._clock() - member.asked_seconds,
            kernel_kills=self._kills,
            kill=member.killed,
            memory_errors=slot.memory_errors,
            data_limit_bytes=slot.data_limit_bytes,
            failure=member.failure,
            in_flight=read_flight(self._page, member.index, now),
        )
        if member.killed is None and status is not None and _signal(status) == signal.SIGKILL:
            self._kills = max(0, self._kills - 1)
        return self._report(death, WORKER_DIED).cause in _OF_MEMORY

    def on_braked(self) -> None:
        """Report on the program that the brake has just ended, if any: nobody else hears of it."""
        ended, self._brake.ended = self._brake.ended, None
        if ended is None:
            return
        now = int(self._clock() * NANOSECONDS)
        death = Death(
            worker=ended.worker,
            pid=None,
            wait_status=int(signal.SIGKILL),
            statistics=read_statistics(self._page, now),
            kill=ended.kill,
            program=ended.program,
        )
        if ended.worker is not None:
            slot = self._page.slots[ended.worker]
            death = replace(
                death,
                pid=slot.pid,
                memory_errors=slot.memory_errors,
                data_limit_bytes=slot.data_limit_bytes,
                in_flight=read_flight(self._page, slot.index, now),
            )
        self._report(death, PROGRAM_BRAKED, program=ended.program.name)

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

    def on_memory_error(self, member: Member, message: dict[str, Any]) -> None:
        """Report that a request of *member* ran out of memory, and the worker went on."""
        now = int(self._clock() * NANOSECONDS)
        slot = self._page.slots[member.index]
        self._box.incident(
            Incident(
                worker=member.index,
                pid=member.pid,
                statistics=read_statistics(self._page, now),
                route=message["route"],
                line=message["line"],
                grown_bytes=message["grown_bytes"],
                answered=message["answered"],
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
