"""Which lines leak, traced in one worker at a time: when asked to, and by itself for a leak.

The trace itself runs in the worker (:mod:`tonnage.server.leaks.trace`), for a bounded time and with
a budget; here it is begun, awaited, and its report kept.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from tonnage.errors import ActionError
from tonnage.governor.levels import Level
from tonnage.server.actions import LONGEST_TRACE_SECONDS, USUAL_TRACE_SECONDS
from tonnage.server.messages import Trace
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.server.crew import Crew, Member
    from tonnage.server.leaks.trace import TraceReport

logger = logging.getLogger("tonnage.supervisor")

# tracemalloc and one snapshot may take so much of what is free ...
_BUDGET_SHARE: Final = 1 / 4
# ... within these bounds. The least is enough for some 20,000 blocks: where large objects leak, all
# that a trace of 10 s sees, and where small ones do, enough of them to know the line.
_BUDGET_BYTES: Final = (4 * MIB, 64 * MIB)
# A trace that has not reported so long after its end will not.
_OVERDUE_SECONDS: Final = 15.0
# An automatic report is made for one leak, and again after so long.
_AGAIN_SECONDS: Final = 3600.0
# So many traces are begun for it, if the worker has to end before there is anything to see.
_MOST_TRIES: Final = 3


class Tracing:
    """At most one trace, and the report of the last."""

    def __init__(
        self,
        page: SharedPage,
        crew: Crew,
        *,
        speed: Callable[[int], float],
        loosen: Callable[[int], object],
        clock: Callable[[], float],
    ) -> None:
        """Trace nobody yet.

        Args:
            page: where the workers' slots are.
            crew: the workers.
            speed: how fast the worker of a slot leaks, in bytes per second.
            loosen: takes the fuse of a slot's worker away.
            clock: monotonic seconds.
        """
        self._page = page
        self._crew = crew
        self._speed = speed
        self._loosen = loosen
        self._clock = clock
        self._member: Member | None = None
        self._overdue_seconds = 0.0
        #: The last report, and its text; why there is none.
        self.found: TraceReport | None = None
        self.text = ""
        self.detail = ""
        self._reported_seconds = float("-inf")
        # Traces that may still be begun for the automatic report that is owed; 0: none is.
        self._tries_left = 0
        self._told_no_room = False

    @property
    def traced(self) -> int | None:
        """The slot of the worker that is being traced."""
        return None if self._member is None else self._member.index

    @property
    def state(self) -> str:
        """How it stands, in one word: ``running``, ``done`` or ``idle``."""
        return "running" if self._member else "done" if self.found else "idle"

    def begin(self, index: int | None, seconds: float, free_bytes: int) -> str:
        """Begin to trace one worker; return a sentence that says so.

        Raises:
            ActionError: another trace runs, there is no such worker, or no room.
        """
        if self._member is not None:
            raise ActionError(
                f"worker {self._member.index} is being traced already: ask again when it is done"
            )
        if not 0 < seconds <= LONGEST_TRACE_SECONDS:
            raise ActionError(f"trace for at most {LONGEST_TRACE_SECONDS:g} s")
        member = self._choose(index)
        least, most = _BUDGET_BYTES
        budget = min(most, int(free_bytes * _BUDGET_SHARE))
        if budget < least:
            raise ActionError(
                f"tracing needs {format_bytes(int(least / _BUDGET_SHARE))} of free memory, and "
                f"{format_bytes(free_bytes)} is free: try again when there is less load"
            )
        self._loosen(member.index)
        if not member.channel.send(Trace(seconds, budget)):
            raise ActionError(f"worker {member.index} does not answer: try another one")
        self._member, self._overdue_seconds = member, self._clock() + seconds + _OVERDUE_SECONDS
        self.found, self.text, self.detail = None, "", ""
        return f"worker {member.index} (pid {member.pid}) is traced for {seconds:g} s"

    def heard(self, member: Member, report: TraceReport) -> None:
        """Take in the report of a trace."""
        from tonnage.server.leaks.report import render

        if member is self._member:
            self._member = None
        if report["lines"] or report["ended"] != "early":
            # Else the worker had to end before there was anything to see: another is traced.
            self._reported_seconds = self._clock()
            self._tries_left = 0
        self.found, self.text = report, render(report)
        write = logger.warning if report["lines"] else logger.info
        write("%s", self.text)

    def forget(self, member: Member) -> None:
        """Take note that *member* has ended."""
        if self._member is member:
            self._give_up("the worker ended before the trace was over; see `tonnage postmortem`")

    def owe(self) -> None:
        """Have a leak that was found traced, unless that was done of late."""
        if self._clock() - self._reported_seconds <= _AGAIN_SECONDS:
            return
        if not self._tries_left:
            self._tries_left, self._told_no_room = _MOST_TRIES, False
        self._make_report()

    def tend(self) -> None:
        """Give up a trace that is overdue, and begin the one that is owed; regularly."""
        if self._member is not None and self._clock() >= self._overdue_seconds:
            self._give_up("the worker has not reported in time; it may be stuck in a call")
        self._make_report()

    def _choose(self, index: int | None) -> Member:
        serving = self._crew.serving()
        if index is None and serving:
            slots = self._page.slots
            return max(
                serving,
                key=lambda each: (
                    self._speed(each.index),
                    slots[each.index].requests,
                ),
            )
        for member in serving:
            if member.index == index:
                return member
        numbers = ", ".join(str(member.index) for member in serving) or "none"
        raise ActionError(f"there is no worker {index} that serves; those that do: {numbers}")

    def _make_report(self) -> None:
        """Begin the trace for an automatic report, if one is owed and there is room for it now.

        Where a leak has filled memory there is none until the worker has been recycled; its
        successor runs the same code. At CRITICAL whoever is traced would be recycled at once.
        """
        header = self._page.header
        if not self._tries_left or self._member is not None or header.level >= Level.CRITICAL:
            return
        try:
            said = self.begin(None, USUAL_TRACE_SECONDS, header.limit_bytes - header.used_bytes)
        except ActionError as error:
            if not self._told_no_room:
                logger.warning("the leak is not traced yet, but as soon as it can be: %s", error)
            self._told_no_room = True
            return
        self._tries_left -= 1
        logger.info("%s", said)

    def _give_up(self, why: str) -> None:
        self._member, self.detail = None, why
        logger.warning("the trace for leaks ended without a report: %s", why)
