"""What the supervisor answers to a browser: the page with its parts, and the figures it shows.

    live = LivePage(shared_page, to_json, figures, operator=..., plan=plan, name="127.0.0.1:8000")
    front.views.add(live.views("/tonnage"))      # path -> what answers its GET, given the query

Who may ask is decided by whoever asks here; the page's own files are
:mod:`tonnage.ops.page.files`'. Bounded: an answer has 256 KB at most, since its parts are bounded
(:mod:`tonnage.ops.page.state`), and nothing is kept of it. What is always kept, some 50 KB, are the
history and the events.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage import __version__
from tonnage.answer import Answer
from tonnage.governor.statistics import read_statistics
from tonnage.ops.answers import answer_json, answer_text, dumped, problem
from tonnage.ops.page import files
from tonnage.ops.page.events import Events
from tonnage.ops.page.history import History
from tonnage.ops.page.state import (
    Postmortems,
    history_row,
    leaks_of,
    marks_of,
    plan_of,
    stores_of,
    tank_of,
)
from tonnage.ops.query import QueryError, read_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.budget.plan import Plan
    from tonnage.governor.page import SharedPage
    from tonnage.governor.statistics import Statistics
    from tonnage.ops.figures.records import Figures
    from tonnage.ops.page.routes import Learned, Rates

#: How soon a browser asks again where an answer is one event and not a stream of them.
RETRY_MILLISECONDS: Final = 1000

_WRONG: Final = '<p class="wrong" role="alert">This is not the token.</p>'


class Asked(Protocol):
    """What is asked of the supervisor's operator."""

    def postmortems(self) -> list[dict[str, Any]]:
        """Return the reports, newest first."""

    def postmortem(self, name: str) -> dict[str, Any] | None:
        """Return the report *name* with its ``text``; None if there is none."""

    def leaks(self) -> dict[str, Any]:
        """Return what is known of leaks."""


@dataclass(slots=True)
class _Looking:
    """What is kept for those who look: made on the first look."""

    rates: Rates
    learned: Learned
    postmortems: Postmortems


class LivePage:
    """The page, its figures, and what it keeps to have a past."""

    def __init__(
        self,
        page: SharedPage,
        status: Callable[[Statistics], dict[str, Any]],
        figures: Callable[[], Figures],
        *,
        operator: Asked,
        plan: Plan,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep what is logged from now on; nothing else is done before somebody asks.

        Args:
            page: the shared page.
            status: returns statistics as ``/status`` has them.
            figures: returns what the whole server has counted.
            operator: knows of post-mortems and leaks.
            plan: the plan that the server runs by.
            name: what the server is called: its address.
            clock: monotonic seconds.
            wall_clock: unix seconds.
        """
        self._page = page
        self._status = status
        self._figures = figures
        self._operator = operator
        self._plan = plan
        self._name = name
        self._clock = clock
        self._wall_clock = wall_clock
        self._history = History()
        #: What is shown of the log.
        self.events = Events()
        self._looking: _Looking | None = None
        logging.getLogger("tonnage").addHandler(self.events)

    def close(self) -> None:
        """Keep no events any more."""
        logging.getLogger("tonnage").removeHandler(self.events)

    def note(self) -> None:
        """Note who holds what: to be called every :data:`~.history.EVERY_SECONDS`."""
        now = self._statistics()
        # Before the first readings are in, all would be unexplained.
        if now.used_bytes and now.supervisor_pss_bytes:
            self._history.note(history_row(now, self._wall_clock()))

    def views(self, *paths: str) -> dict[str, Callable[[str], Answer]]:
        """Return what answers each path at and below *paths*, given the query of a GET."""
        found: dict[str, Callable[[str], Answer]] = {}
        for path in filter(None, paths):
            found |= self._views_at(path)
        return found

    def _views_at(self, path: str) -> dict[str, Callable[[str], Answer]]:
        # Links are relative: a proxy may have the page below a path of its own.
        page = {"page": path.rpartition("/")[2]}
        found: dict[str, Callable[[str], Answer]] = {
            path: lambda query: files.send("page.html", page),
            f"{path}/login": _login,
            f"{path}/state": lambda query: answer_json(self.state()),
            f"{path}/live": lambda query: self._event(),
            f"{path}/history": lambda query: answer_json(self._history.as_json()),
            f"{path}/postmortem": self._postmortem,
        }
        return found | {f"{path}/{part}": partial(_part, part) for part in files.PARTS}

    def state(self) -> dict[str, Any]:
        """Return the state of the server; see :mod:`tonnage.ops.page.state`."""
        from tonnage.ops.page import routes

        now, seconds = self._statistics(), self._clock()
        figures, looking = self._figures(), self._look()
        return {
            "time": round(self._wall_clock(), 3),
            "server": {"name": self._name, "version": __version__, "pid": os.getpid()},
            "status": self._status(now),
            "marks": marks_of(self._page.header),
            "tank": tank_of(now),
            "routes": routes.shown(figures.routes, looking.rates, looking.learned, seconds),
            "stores": stores_of(figures.stores),
            "events": self.events.as_json(),
            "postmortems": looking.postmortems.newest(seconds),
            "plan": plan_of(self._plan),
            "leaks": leaks_of(self._operator.leaks()),
        }

    def _statistics(self) -> Statistics:
        return read_statistics(self._page, time.monotonic_ns())

    def _look(self) -> _Looking:
        if self._looking is None:
            from tonnage.ops.page.routes import Learned, Rates

            postmortems = Postmortems(self._operator.postmortems)
            self._looking = _Looking(Rates(), Learned(self._page), postmortems)
        return self._looking

    def _event(self) -> Answer:
        """Answer with the state as one event of a stream: the browser asks again by itself."""
        data = b"retry: %d\ndata: %b\n\n" % (RETRY_MILLISECONDS, dumped(self.state()))
        return Answer(200, data, content_type=b"text/event-stream")

    def _postmortem(self, query: str) -> Answer:
        name = read_query(query, "name").get("name")
        if name is None:
            raise QueryError("name= is to be that of a report, as the page lists them")
        # Whoever reads it lets no name lead out of the reports' directory.
        report = self._operator.postmortem(name)
        if report is None:
            return problem(404, "not_found", "the report is gone")
        return answer_text(str(report["text"]), files.HEADERS)


def _login(query: str) -> Answer:
    failed = read_query(query, "failed")
    return files.send("login.html", {"message": _WRONG if failed else ""})


def _part(name: str, query: str) -> Answer:
    return files.send(name)
