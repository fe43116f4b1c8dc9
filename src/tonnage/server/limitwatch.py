"""The limit, which may move while the server runs, and where it is met.

Reads it again when told to, moves the marks and the meter with it, and has the kernel wake the
supervisor where a mark is passed, as far as the kernel offers that: else it looks at intervals
alone. Keeps the room that the plan set aside. Decides nothing about the level: that is
:class:`tonnage.server.watch.Watch`'s.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING

from tonnage.errors import TonnageError, UsageError
from tonnage.governor.levels import Marks, marks_for
from tonnage.host.limits import Limit, discover_limit
from tonnage.host.usage import meter_for
from tonnage.host.wakeups import open_wakeups
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.budget.plan import Plan
    from tonnage.host.wakeups import Wakeup
    from tonnage.server.reactor import Reactor
    from tonnage.server.watch import Watch
    from tonnage.settings import MemorySettings, Settings

logger = logging.getLogger("tonnage.supervisor")


def marks_of(limit_bytes: int, settings: MemorySettings) -> Marks:
    """Return the marks that *settings* put on the way to the limit."""
    return marks_for(
        limit_bytes,
        warning=settings.warning_at,
        critical=settings.critical_at,
        exhausted=settings.exhausted_at,
        free_floor_bytes=settings.free_floor_bytes,
    )


def displaced(marks: Marks, settings: MemorySettings) -> list[str]:
    """Return, in words, which marks do not lie where *settings* put them."""
    wanted = (
        ("--warning-at", settings.warning_at, marks.warning_bytes),
        ("--critical-at", settings.critical_at, marks.critical_bytes),
    )
    return [
        f"{option} {mark} is not below the next mark: {format_bytes(used)} is used instead"
        for option, mark, used in wanted
        if mark.of(marks.limit_bytes) > used
    ]


class LimitWatch:
    """Follows the limit. Everything it works with is handed in."""

    def __init__(
        self,
        *,
        settings: Settings,
        limit: Limit,
        plan: Plan,
        watch: Watch,
        reactor: Reactor,
        pids: Callable[[], Iterable[int]],
    ) -> None:
        """Take the limit as it is found; nothing is listened to yet.

        Args:
            settings: where the limit comes from, and where the marks are.
            limit: as it was found at the start.
            plan: what it was divided into.
            watch: is told of another limit.
            reactor: waits for the kernel.
            pids: returns the processes whose memory counts.
        """
        #: The limit that holds.
        self.limit = limit
        #: What of the kernel's notifications is not to be had, and why.
        self.notes: list[str] = []
        self._settings = settings
        self._plan = plan
        self._watch = watch
        self._reactor = reactor
        self._pids = pids
        self._wakeups: list[Wakeup] = []
        self._on_mark: Callable[[], object] = lambda: None

    @property
    def wakeups(self) -> tuple[str, ...]:
        """What of the kernel's is listened to, by name."""
        return tuple(wakeup.name for wakeup in self._wakeups)

    def refresh(self) -> None:
        """Read the limit again, and follow it if it has moved."""
        memory = self._settings.memory
        try:
            limit = discover_limit(memory.limit_bytes, self._settings.origin("memory"))
            if self.limit.own_cgroup is not None and limit.own_cgroup is None:
                # Nobody leaves all groups: no descriptor is left to ask them with.
                raise UsageError("the memory cgroups cannot be read")
            if (limit.bytes, limit.kind) == (self.limit.bytes, self.limit.kind):
                return
            meter = meter_for(limit, self._pids)
        except TonnageError as error:
            logger.warning("the memory limit cannot be read again, the last one holds: %s", error)
            return
        logger.warning("the memory limit changed: %s", limit.describe())
        self.limit = limit
        self._watch.meter.close()
        # The reserve of the plan keeps its size; what is gained or lost is room for requests.
        reserve = self._plan.limit_bytes - self._plan.ceiling_bytes
        ceiling_bytes = max(limit.bytes - reserve, limit.bytes // 2)
        self._watch.retarget(meter, marks_of(limit.bytes, memory), ceiling_bytes)
        self._listen()

    def listen(self, on_mark: Callable[[], object]) -> None:
        """Have *on_mark* called from now on when the kernel says that a mark is passed."""
        self._on_mark = on_mark
        self._listen()

    def close(self) -> None:
        """Listen to nothing any more."""
        for wakeup in self._wakeups:
            self._reactor.unregister(wakeup)
            wakeup.close()
        self._wakeups = []

    def _listen(self) -> None:
        self.close()
        marks = self._watch.marks
        self._wakeups, self.notes = open_wakeups(
            self.limit,
            (marks.warning_bytes, marks.critical_bytes, marks.exhausted_bytes),
            os.environ,
        )
        for wakeup in self._wakeups:
            self._reactor.register(
                wakeup, functools.partial(self._on_wakeup, wakeup), wakeup.events
            )

    def _on_wakeup(self, wakeup: Wakeup) -> None:
        if wakeup.drain():
            self._on_mark()
            return
        logger.warning("the kernel's %s is gone; looking at intervals instead", wakeup.name)
        self._reactor.unregister(wakeup)
        self._wakeups.remove(wakeup)
        wakeup.close()
