"""Room for workers to start: asked before each start, told to people where there is none.

The judgement is :mod:`tonnage.governor.starts`'s, what a start takes is learned by
:mod:`tonnage.server.recycling`. Where there were never more, the server goes on with those that
fit, until SIGHUP; where there were, the next one waits until there is room again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tonnage.governor.starts import Start, judge_start
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from tonnage.governor.page import SharedPage
    from tonnage.server.crew import Crew
    from tonnage.server.recycling import Recycler
    from tonnage.server.watch import Watch

logger = logging.getLogger("tonnage.supervisor")


class StartRoom:
    """Asked whether a missing worker may start."""

    def __init__(self, page: SharedPage, crew: Crew, watch: Watch, recycler: Recycler) -> None:
        self._page = page
        self._crew = crew
        self._watch = watch
        self._recycler = recycler
        # That one waits was told, since the last start.
        self._was_told = False

    def may_start(self) -> bool:
        """Return whether a worker may start now; the crew may be smaller afterwards."""
        members = self._crew.members.values()
        if any(member.is_replaced for member in members):
            # Judged when the replacement began, which waits for its successor.
            return True
        serving = sum(member.is_ready for member in members)
        free_bytes = self._free_bytes() if serving else 0
        verdict = judge_start(
            serving=serving,
            starting=len(members) - serving,
            start_bytes=self._recycler.start_bytes if self._recycler.fresh_bytes else 0,
            free_bytes=free_bytes,
        )
        if verdict is Start.NOW:
            self._was_told = False
        elif verdict is Start.WITH_ROOM and len(members) == serving:
            self._do_without(serving, free_bytes)
        return verdict is Start.NOW

    def _free_bytes(self) -> int:
        # Not the last look's: the worker that has just become ready may not be in it.
        used_bytes = self._watch.used_bytes_now()
        header = self._page.header
        return header.limit_bytes - (header.used_bytes if used_bytes is None else used_bytes)

    def _do_without(self, serving: int, free_bytes: int) -> None:
        wanted, what_then = self._crew.size, "the next one waits until there is room"
        if serving >= self._crew.most_ready:
            self._crew.resize(serving)
            what_then = "the server goes on with these, until SIGHUP or a restart"
        elif self._was_told:
            return
        self._was_told = True
        logger.warning(
            "%d of %d workers have room: a start needs %s, %s are free; %s (what is loaded at"
            " import all workers share, what is loaded at startup each has for itself)",
            serving,
            wanted,
            format_bytes(self._recycler.start_bytes),
            format_bytes(max(0, free_bytes)),
            what_then,
        )
