"""What people ask of the running server, over the control socket, carried out.

The words and the HTTP are :mod:`tonnage.server.actions`'; this finds who does it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tonnage.errors import ActionError
from tonnage.governor.levels import Level
from tonnage.governor.recycle import Reason
from tonnage.server.messages import Clear

if TYPE_CHECKING:
    from tonnage.governor.page import SharedPage
    from tonnage.server.crew import Crew
    from tonnage.server.keeper import Keeper
    from tonnage.server.postmortem.blackbox import BlackBox


class Operator:
    """The actions; see :class:`tonnage.server.actions.Operator` for what each promises."""

    def __init__(self, page: SharedPage, crew: Crew, keeper: Keeper, box: BlackBox) -> None:
        self._page = page
        self._crew = crew
        self._keeper = keeper
        self._box = box

    def reclaim(self) -> int:
        """Ask every worker to give memory back, caches included."""
        return self._keeper.rounds.begin(Level.CRITICAL, "asked for", is_asked=True)

    def reclaimed(self) -> dict[str, Any]:
        """Return what came of the last reclaim."""
        last = self._keeper.rounds.last
        return {} if last is None else last.as_json()

    def recycle(self, worker: int | None) -> str:
        """Begin to replace *worker*, or all in turn."""
        if self._page.header.stopping:
            raise ActionError("the server is stopping: nothing is replaced any more")
        recycler = self._keeper.recycler
        if worker is None:
            count = recycler.want_all(Reason.ASKED)
            if not count:
                raise ActionError("no worker serves just now: try again in a moment")
            missing = self._page.header.desired_workers - count
            more = f"; {missing} had ended, and start(s) anew anyway" if missing > 0 else ""
            return f"{count} worker(s) are replaced, one after the other{more}"
        if not recycler.want(worker, Reason.ASKED):
            live = ", ".join(str(slot.index) for slot in self._page.live_slots()) or "none"
            raise ActionError(f"there is no worker {worker}; there are: {live}")
        return f"worker {worker} is being replaced"

    def trace_leaks(self, worker: int | None, seconds: float) -> str:
        """Begin to trace a worker."""
        header = self._page.header
        free_bytes = header.limit_bytes - header.used_bytes
        return self._keeper.leaking.tracing.begin(worker, seconds, free_bytes)

    def leaks(self) -> dict[str, Any]:
        """Return what is known of leaks."""
        return self._keeper.leaking.state()

    def clear_caches(self, name: str | None) -> str:
        """Have the workers empty the caches called *name*, or all."""
        # Each is told, although one could tell the others: that one may be stuck. And not posted
        # from here: a worker that was stopped for its growth may hold the lock that this needs.
        told = self._crew.tell(Clear(name))
        if not told:
            raise ActionError("there is no worker to ask: none is ready yet, or all are ending")
        what = "all caches" if name is None else f"the caches called {name!r}"
        return f"{told} worker(s) clear {what}"

    def postmortems(self) -> list[dict[str, Any]]:
        """Return the reports, newest first."""
        return [
            asdict(listed) | {"is_own": self._box.is_own(listed)} for listed in self._box.reports()
        ]

    def postmortem(self, name: str) -> dict[str, Any] | None:
        """Return the report *name*."""
        return self._box.read(name)
