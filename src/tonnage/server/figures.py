"""What all workers have counted, those that have ended too: the supervisor's sum.

    figuring.figures()         # of the whole server, since its start

Promises that no count ever falls: not when a worker is recycled, nor when it is killed or new code
is loaded. Requests, refused, waited and out of memory are read from the workers' slots, so they are
of this moment; routes and stores are as the workers have told them last, so up to a second old, and
of a worker that was killed its last second is missing. What is "now" is of live workers alone.

Does not ask anybody, and keeps no history. Bounded: as many routes and stores as
:mod:`tonnage.ops.figures.records` has, for each worker (100 routes are about 0.1 MB) and for all
that have ended together. A route that comes when there are so many counts as
:data:`~tonnage.ops.figures.records.OTHER`, a store is left out; those that have a place keep it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tonnage.ops.figures.records import (
    MOST_ROUTES,
    MOST_STORES,
    OTHER,
    Figures,
    RouteFigures,
    StoreFigures,
    sum_of,
)
from tonnage.ops.figures.telling import route_of, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.governor.page import SharedPage
    from tonnage.ops.figures.telling import Counted


@dataclass(slots=True)
class _Told:
    """What a worker has told last, by its own names."""

    routes: dict[str, RouteFigures] = field(default_factory=dict)
    stores: dict[tuple[str, str], StoreFigures] = field(default_factory=dict)


class Figuring:
    """The sum.

    Args:
        page: where workers have their slots, and the header what was in the slots of others.
        shared: yields what is counted in memory that all processes share.
    """

    def __init__(
        self, page: SharedPage, shared: Callable[[], Iterable[StoreFigures]] = lambda: ()
    ) -> None:
        self._page = page
        self._shared = shared
        self._told: defaultdict[int, _Told] = defaultdict(_Told)
        self._ended = Figures()
        # Those that have a place in the sum, for good.
        self._routes = {OTHER}
        self._stores: set[tuple[str, str]] = set()

    def heard(self, index: int, message: Counted) -> None:
        """Take in what the worker of slot *index* has told."""
        told = self._told[index]
        for route in map(route_of, message.routes):
            told.routes[route.name] = route
            if len(self._routes) < MOST_ROUTES:
                self._routes.add(route.name)
        for store in map(store_of, message.stores):
            key = store.kind, store.name
            if len(self._stores) < MOST_STORES:
                self._stores.add(key)
            if key in self._stores:
                told.stores[key] = store

    def ended(self, index: int) -> None:
        """Keep what the worker of slot *index* had told: it has ended."""
        told = self._told.pop(index, None)
        if told is not None:
            self._ended = sum_of([self._ended, self._placed(told).ended()])

    def figures(self) -> Figures:
        """Return the sum of all workers; takes some 5 us for each route of each worker."""
        live = [self._placed(told) for told in self._told.values()]
        total = sum_of([self._ended, *live, Figures(stores=tuple(self._shared()))])
        header, slots = self._page.header, self._page.live_slots()
        return replace(
            total,
            requests=header.ended_requests + sum(slot.requests for slot in slots),
            refused=header.ended_refused + sum(slot.refused for slot in slots),
            waited=header.ended_waited + sum(slot.waited for slot in slots),
            memory_errors=header.ended_memory_errors + sum(slot.memory_errors for slot in slots),
        )

    def _placed(self, told: _Told) -> Figures:
        """Return what was told, with the routes that have no place in the sum as one."""
        routes = [
            route if route.name in self._routes else replace(route, name=OTHER)
            for route in told.routes.values()
        ]
        return sum_of([Figures(routes=tuple(routes), stores=tuple(told.stores.values()))])


def security_events() -> Iterable[StoreFigures]:
    """Yield what the security monitor has counted, of all workers; nothing where there is none.

    The supervisor finds it in shared memory. No lock is taken.
    """
    from tonnage.ops.security import counted

    counts = counted()
    if counts is not None:
        yield StoreFigures("security", "events", counts)
