"""Leaks, followed from the supervisor: suspected, confirmed and told.

Whether a worker leaks is decided by :mod:`tonnage.governor.leaks`, from what it holds after its
collections; this asks for collections where one is suspected, and keeps the answers. Which lines
leak is for :mod:`tonnage.server.leaks.tracing`. Does not recycle
(:mod:`tonnage.server.recycling`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.costs import RouteCost
from tonnage.governor.leaks import Leak, LeakWatch, Point, bytes_per_request, when_full_seconds
from tonnage.governor.levels import Level
from tonnage.governor.page import MAX_ROUTES
from tonnage.ops.alertpolicy import LEAK_FOUND
from tonnage.server.leaks.tracing import Tracing
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tonnage.governor.page import SharedPage
    from tonnage.governor.reclaim import Reclaimed
    from tonnage.server.asking import Asking
    from tonnage.server.crew import Crew, Member
    from tonnage.server.watch import Reading

logger = logging.getLogger("tonnage.supervisor")

_GLANCE_SECONDS: Final = 1.0
# Collections so close together tell of one moment: a burst brings three, one for each level.
_MERGE_SECONDS: Final = 0.3
_RUNNING_BYTES: Final = 16 * MIB


class Leaking:
    """What is known of leaks: one entry for each worker."""

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
        self._told: set[int] = set()
        self.tracing: Final = Tracing(
            page, crew, speed=self.bytes_per_second, loosen=loosen, clock=clock
        )

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
        self.tracing.tend()

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
        self.tracing.forget(member)

    def state(self) -> dict[str, Any]:
        """Return what is known, for people and machines."""
        return {
            "state": self.tracing.state,
            "leaks": [_as_json(leak) for leak in self._leaks.values()],
            "bytes_per_request": bytes_per_request(self._leaks.values()),
            "report": self.tracing.found,
            "text": self.tracing.text or self._summary(),
            "detail": self.tracing.detail,
        }

    def _summary(self) -> str:
        if not self._leaks:
            return "no worker is known to leak"
        return "\n".join(_sentence(leak) for leak in self._leaks.values())

    def _tell(self, leak: Leak, room_bytes: int) -> None:
        text = _sentence(leak)
        left = when_full_seconds(leak, room_bytes)
        logger.warning(
            "%s; at this pace memory is full in %.0f s",
            text,
            left,
            extra={"fields": _as_json(leak)},
        )
        self._alert(LEAK_FOUND, text, _as_json(leak) | self._only_route())
        if self._report:
            self.tracing.owe()

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
