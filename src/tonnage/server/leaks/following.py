"""Leaks, followed from the supervisor: suspected, confirmed, told, and traced to their lines.

Whether a worker leaks is decided by :mod:`tonnage.governor.leaks`, from what it holds after its
collections; this asks for collections where one is suspected, and keeps the answers. Tracing runs
in one worker at a time (:mod:`tonnage.server.leaks.trace`), for a bounded time and with a budget.
Does not recycle (:mod:`tonnage.server.recycling`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ActionError
from tonnage.governor.costs import RouteCost
from tonnage.governor.leaks import Leak, LeakWatch, Point, merge
from tonnage.governor.levels import Level
from tonnage.governor.page import MAX_ROUTES
from tonnage.ops.alertpolicy import LEAK_FOUND
from tonnage.server.actions import LONGEST_TRACE_SECONDS
from tonnage.server.messages import Trace
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tonnage.governor.page import SharedPage
    from tonnage.governor.reclaim import Reclaimed
    from tonnage.server.asking import Asking
    from tonnage.server.crew import Crew, Member
    from tonnage.server.leaks.trace import TraceReport
    from tonnage.server.watch import Reading

logger = logging.getLogger("tonnage.supervisor")

_GLANCE_SECONDS: Final = 1.0
# Collections so close together tell of one moment: a burst brings three, one for each level.
_MERGE_SECONDS: Final = 0.3
_RUNNING_BYTES: Final = 16 * MIB
# tracemalloc and one snapshot may take so much of what is free ...
_BUDGET_SHARE: Final = 1 / 4
# ... within these bounds. The least is enough for some 20,000 blocks: where large objects leak, all
# that a trace of 10 s sees, and where small ones do, enough of them to know the line.
_BUDGET_BYTES: Final = (4 * MIB, 64 * MIB)
TRACE_SECONDS: Final = 10.0
# A trace that has not reported so long after its end will not.
_OVERDUE_SECONDS: Final = 15.0
# An automatic report is made for one leak, and again after so long.
_AGAIN_SECONDS: Final = 3600.0
# So many traces are begun for it, if the worker has to end before there is anything to see.
_MOST_TRIES: Final = 3


class Leaking:
    """What is known of leaks. One entry for each worker, and the last report."""

    def __init__(
        self,
        page: SharedPage,
        crew: Crew,
        *,
        asking: Asking,
        report: bool,
        alert: Callable[[str, str, dict[str, Any]], object],
        loosen: Callable[[int], object],
        clock: Callable[[], float],
    ) -> None:
        """Know nothing yet.

        Args:
            page: where the workers' slots are.
            crew: the workers.
            asking: has workers collect.
            report: whether a leak that is found is traced without being asked.
            alert: told, with a kind, a sentence and figures, of a leak.
            loosen: takes the fuse of a slot's worker away.
            clock: monotonic seconds.
        """
        self._page = page
        self._crew = crew
        self._asking = asking
        self._report = report
        self._alert = alert
        self._loosen = loosen
        self._clock = clock
        self._watch = LeakWatch()
        self._leaks: dict[int, Leak] = {}
        self._least: dict[int, int] = {}
        self._collected_seconds: dict[int, float] = {}
        self._glance_at = clock() + _GLANCE_SECONDS
        self._traced: Member | None = None
        self._trace_ends = 0.0
        self._found: TraceReport | None = None
        self._text = ""
        self._detail = ""
        self._reported_seconds = float("-inf")
        self._told: set[int] = set()
        # Traces that may still be begun for the automatic report that is owed; 0: none is.
        self._tries_left = 0
        self._told_no_room = False

    @property
    def traced(self) -> int | None:
        """The slot of the worker that is being traced."""
        return None if self._traced is None else self._traced.index

    def bytes_per_second(self, index: int) -> float:
        """Return how fast the worker of slot *index* leaks; 0: it does not, as far as is known."""
        found = self._leaks.get(index)
        return 0.0 if found is None else found.bytes_per_second

    def glance(self, readings: Mapping[int, Reading], room_bytes: int) -> None:
        """Note what each worker holds; about once a second, ask for a collection on suspicion."""
        for index, reading in readings.items():
            slot = self._page.slots[index]
            # What running requests hold is no leak: under a load that is all there is to hold.
            own = max(0, reading.private_bytes - slot.baseline_bytes - slot.taken_bytes)
            self._least[index] = min(own, self._least.get(index, own))
        now = self._clock()
        if now < self._glance_at:
            return
        least, self._least = self._least, {}
        for member in self._crew.serving():
            if member.index not in least or member.pid is None:
                continue
            requests = self._page.slots[member.index].requests
            point = Point(now, requests, least[member.index])
            if self._watch.suspect(member.index, member.pid, point, room_bytes=room_bytes):
                # Most of what grows is no leak: what a collection leaves will tell.
                self._asking.ask(member, Level.OK, 0, "it grows")
        self._glance_at = now + self._watch.pace_seconds()
        self._check_trace(now)
        self._make_report()

    def collected(self, member: Member, reclaimed: Reclaimed, room_bytes: int) -> None:
        """Take in what *member* holds after a collection."""
        if member.pid is None or self._page.slots[member.index].taken_bytes > _RUNNING_BYTES:
            # What large requests hold just now is not told from a leak for certain.
            return
        now = self._clock()
        if now - self._collected_seconds.get(member.index, float("-inf")) < _MERGE_SECONDS:
            return  # several reclaims of one moment are one point
        self._collected_seconds[member.index] = now
        point = Point(now, reclaimed.requests, reclaimed.own_bytes)
        leak = self._watch.note(member.index, member.pid, point, room_bytes=room_bytes)
        if leak is None:
            self._leaks.pop(member.index, None)
            return
        self._leaks[member.index] = leak
        if leak.pid not in self._told:
            self._told = {each.pid for each in self._leaks.values()}
            self._tell(leak, room_bytes)

    def forget(self, member: Member) -> None:
        """Drop what is known of a worker that has ended."""
        self._watch.forget(member.index)
        self._leaks.pop(member.index, None)
        self._least.pop(member.index, None)
        self._collected_seconds.pop(member.index, None)
        if self._traced is member:
            self._end_trace("the worker ended before the trace was over; see `tonnage postmortem`")

    def trace(self, index: int | None, seconds: float, free_bytes: int) -> str:
        """Begin to trace one worker; return a sentence that says so.

        Raises:
            ActionError: another trace runs, there is no such worker, or no room.
        """
        if self._traced is not None:
            raise ActionError(
                f"worker {self._traced.index} is being traced already: ask again when it is done"
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
        self._traced, self._trace_ends = member, self._clock() + seconds + _OVERDUE_SECONDS
        self._found, self._text, self._detail = None, "", ""
        return f"worker {member.index} (pid {member.pid}) is traced for {seconds:g} s"

    def heard_report(self, member: Member, report: TraceReport) -> None:
        """Take in the report of a trace."""
        from tonnage.server.leaks.report import render

        if member is self._traced:
            self._traced = None
        if report["lines"] or report["ended"] != "early":
            # Else the worker had to end before there was anything to see: another is traced.
            self._reported_seconds = self._clock()
            self._tries_left = 0
        self._found, self._text = report, render(report)
        write = logger.warning if report["lines"] else logger.info
        write("%s", self._text)

    def state(self) -> dict[str, Any]:
        """Return what is known, for people and machines."""
        merged = merge(self._leaks.values())
        state = "running" if self._traced else "done" if self._found else "idle"
        return {
            "state": state,
            "leaks": [_as_json(leak) for leak in self._leaks.values()],
            "bytes_per_request": merged.bytes_per_request if merged else 0.0,
            "report": self._found,
            "text": self._text or self._summary(),
            "detail": self._detail,
        }

    def _summary(self) -> str:
        if not self._leaks:
            return "no worker is known to leak"
        return "\n".join(_sentence(leak) for leak in self._leaks.values())

    def _choose(self, index: int | None) -> Member:
        serving = self._crew.serving()
        if index is None and serving:
            slots = self._page.slots
            return max(
                serving,
                key=lambda each: (
                    self.bytes_per_second(each.index),
                    slots[each.index].requests,
                ),
            )
        for member in serving:
            if member.index == index:
                return member
        numbers = ", ".join(str(member.index) for member in serving) or "none"
        raise ActionError(f"there is no worker {index} that serves; those that do: {numbers}")

    def _tell(self, leak: Leak, room_bytes: int) -> None:
        text = _sentence(leak)
        left = self._watch.when_full_seconds(leak, room_bytes)
        logger.warning(
            "%s; at this pace memory is full in %.0f s",
            text,
            left,
            extra={"fields": _as_json(leak)},
        )
        self._alert(LEAK_FOUND, text, _as_json(leak) | self._only_route())
        if not self._report or self._clock() - self._reported_seconds <= _AGAIN_SECONDS:
            return
        if not self._tries_left:
            self._tries_left, self._told_no_room = _MOST_TRIES, False
        self._make_report()

    def _make_report(self) -> None:
        """Begin the trace for an automatic report, if one is owed and there is room for it now.

        Where a leak has filled memory there is none until the worker has been recycled; its
        successor runs the same code. At CRITICAL whoever is traced would be recycled at once.
        """
        header = self._page.header
        if not self._tries_left or self._traced is not None or header.level >= Level.CRITICAL:
            return
        try:
            said = self.trace(None, TRACE_SECONDS, header.limit_bytes - header.used_bytes)
        except ActionError as error:
            if not self._told_no_room:
                logger.warning("the leak is not traced yet, but as soon as it can be: %s", error)
            self._told_no_room = True
            return
        self._tries_left -= 1
        logger.info("%s", said)

    def _only_route(self) -> dict[str, str]:
        """Return the route that leaks, as a field, if there is no other that it could be.

        What a worker holds does not say which of several routes left it.
        """
        page = self._page
        # Some 1 ms for the whole table, which is looked through when a leak is told.
        rows = (row for row in range(MAX_ROUTES) if page.cost_names(row)[0])
        seen = [
            page.cost_name(row)
            for row in rows
            if RouteCost("", page.cost_numbers(row)).total_observations
        ]
        return {"route": seen[0]} if len(seen) == 1 else {}

    def _check_trace(self, now: float) -> None:
        if self._traced is not None and now >= self._trace_ends:
            self._end_trace("the worker has not reported in time; it may be stuck in a call")

    def _end_trace(self, why: str) -> None:
        self._traced, self._detail = None, why
        logger.warning("the trace for leaks ended without a report: %s", why)


def _sentence(leak: Leak) -> str:
    if leak.bytes_per_request:
        pace = f"{leak.bytes_per_request / 1024:.1f} KB a request"
    else:
        pace = "independently of requests"
    return (
        f"worker {leak.index} (pid {leak.pid}) leaks {pace}, {format_bytes(leak.bytes_per_second)} "
        f"a second: {format_bytes(leak.grown_bytes)} in {leak.seconds:.0f} s and "
        f"{leak.requests} requests"
    )


def _as_json(leak: Leak) -> dict[str, Any]:
    return {
        "worker": leak.index,
        "pid": leak.pid,
        "bytes_per_request": round(leak.bytes_per_request, 1),
        "bytes_per_second": round(leak.bytes_per_second, 1),
        "grown_bytes": leak.grown_bytes,
        "requests": leak.requests,
        "seconds": round(leak.seconds, 1),
        "confidence": round(leak.confidence, 2),
    }
