"""What the supervisor answers to whoever collects figures: Prometheus's text, the originals' JSON.

    front.views.add(Metrics(page, figures, "production").views())

Who may ask is decided by whoever asks here. An answer has less than 256 KB whatever the application
is, since its parts are bounded (:mod:`~tonnage.ops.metrics.server`,
:mod:`~tonnage.ops.metrics.requests`, :mod:`~tonnage.ops.metrics.stores`), and takes a few
milliseconds. Nothing is kept of it but the names of routes and stores that have been told. What
makes it is imported on the first look.
"""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Final

from tonnage import __version__
from tonnage.answer import Answer
from tonnage.governor.statistics import read_statistics
from tonnage.ops.places import METRICS, METRICS_JSON

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import Header, SharedPage
    from tonnage.governor.statistics import Statistics
    from tonnage.ops.figures.records import Figures
    from tonnage.ops.metrics.named import Named

_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Both answers, and what has been told in them."""

    def __init__(
        self,
        page: SharedPage,
        figures: Callable[[], Figures],
        environment: str,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin; nothing is made before somebody asks.

        Args:
            page: the shared page.
            figures: returns what the whole server has counted.
            environment: ``production`` or ``development``.
            clock: monotonic nanoseconds.
            wall_clock: unix seconds.
        """
        self._page = page
        self._figures = figures
        self._environment = environment
        self._clock = clock
        self._wall_clock = wall_clock
        # Of routes and of stores, made on the first look.
        self._named: tuple[Named, Named] | None = None
        self._started: float | None = None

    def views(self) -> dict[str, Callable[[str], Answer]]:
        """Return what answers each path of the metrics, given the query of a GET.

        The paths are the supervisor's own; where on the application's port they are is told by
        :mod:`tonnage.ops.places`.
        """
        return {METRICS: self._text, METRICS_JSON: self._summary}

    def _text(self, query: str) -> Answer:
        """Answer a collector; it may put into the query what it likes."""
        from tonnage.ops.metrics.family import render
        from tonnage.ops.metrics.requests import cost_families, request_families
        from tonnage.ops.metrics.server import server_families
        from tonnage.ops.metrics.stores import store_families

        routes, stores = self._told_before()
        figures = self._figures()
        # One after the other: a family is gone when the next one is made.
        now = self._now()
        families = chain(
            server_families(now, _marks(self._page.header), self._started_unix_seconds(now)),
            request_families(figures, routes),
            cost_families(self._page, figures.routes),
            store_families(figures.stores, stores),
        )
        return Answer(200, render(families), content_type=_TEXT)

    def _summary(self, query: str) -> Answer:
        """Answer with the originals' JSON."""
        import json

        from tonnage.ops.metrics.summary import summary

        found = summary(
            self._now(),
            self._figures(),
            environment=self._environment,
            version=__version__,
            unix_seconds=self._wall_clock(),
        )
        return Answer(200, json.dumps(found, separators=(",", ":")).encode())

    def _now(self) -> Statistics:
        return read_statistics(self._page, self._clock())

    def _started_unix_seconds(self, now: Statistics) -> float:
        """Return when the server was started: always the same, or all would seem to begin anew."""
        if self._started is None:
            self._started = self._wall_clock() - now.uptime_seconds
        return self._started

    def _told_before(self) -> tuple[Named, Named]:
        if self._named is None:
            from tonnage.ops.metrics.named import Named
            from tonnage.ops.metrics.requests import MOST_ROUTE_BYTES
            from tonnage.ops.metrics.stores import MOST_STORE_BYTES

            self._named = Named(MOST_ROUTE_BYTES), Named(MOST_STORE_BYTES)
        return self._named


def _marks(header: Header) -> dict[str, int]:
    return {
        "warning": header.warning_bytes,
        "critical": header.critical_bytes,
        "exhausted": header.exhausted_bytes,
    }
