"""What is counted, in frozen records that add up: over workers, and over those that have ended.

    total = sum_of([worker_0, worker_1, ended])      # counts never fall, not over a recycle either

Counts are since the start of the server. What is "now" is of live workers alone. Pure. Bounded:
:data:`MOST_ROUTES` routes by name, the others under :data:`OTHER`, and :data:`MOST_STORES` stores.
Who counts is :mod:`tonnage.ops.figures.counting`, in the worker; who adds up is
:mod:`tonnage.server.figures`, in the supervisor.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Upper ends of the buckets of a route's latencies; one more bucket has what is slower.
BUCKETS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
MOST_ROUTES: Final = 100
#: The route of all that have no place of their own: paths that no route has, and those beyond.
OTHER: Final = "(other)"
MOST_STORES: Final = 100
#: Of routes, of stores, and so of labels of metrics.
LONGEST_NAME_CHARS: Final = 160


@dataclass(frozen=True, slots=True)
class RouteFigures:
    """What was answered on one route.

    Attributes:
        name: method and template, as ``GET /events/{id}``.
        statuses: answers by class, five of them: 1xx (and none at all), 2xx, 3xx, 4xx, 5xx.
        shed: of these, those that Tonnage refused (429 and 503), as it had no room.
        seconds: how long all of them took together, from the head to the end of the answer.
        buckets: how many took how long, each bucket by itself; one more than BUCKETS_SECONDS.
    """

    name: str
    statuses: tuple[int, ...] = (0, 0, 0, 0, 0)
    shed: int = 0
    seconds: float = 0.0
    buckets: tuple[int, ...] = (0,) * (len(BUCKETS_SECONDS) + 1)

    @property
    def requests(self) -> int:
        """How many were answered, refused ones among them."""
        return sum(self.statuses)

    def plus(self, other: RouteFigures) -> RouteFigures:
        """Return both together, under the name of this one."""
        return RouteFigures(
            self.name,
            tuple(a + b for a, b in zip(self.statuses, other.statuses, strict=True)),
            self.shed + other.shed,
            self.seconds + other.seconds,
            tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True)),
        )

    def quantile_seconds(self, share: float) -> float | None:
        """Return the time within which *share* of the requests were answered; None: there are none.

        Linear within a bucket, as Prometheus's ``histogram_quantile`` has it; the last bucket has
        no end, and counts as long as it begins.
        """
        total = sum(self.buckets)
        if not total:
            return None
        wanted, seen, begin = share * total, 0, 0.0
        for count, end in zip(self.buckets, BUCKETS_SECONDS, strict=False):
            if count and seen + count >= wanted:
                return begin + (end - begin) * (wanted - seen) / count
            seen, begin = seen + count, end
        return begin


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """What a cache, a writer, a pool or the like says of itself.

    Attributes:
        kind: ``cache``, ``writer``, ``pool``, ``heartbeats``, ``redis``, ``uploads``, ``logs``, ...
        name: its own among those of its kind.
        counts: what only ever grows, since the start: ``{"hits": 812, "misses": 14}``.
        now: what goes up and down: ``{"entries": 90, "used_bytes": 31200}``. Of times
            (``..._seconds``) the longest counts for all workers, of others the sum.
        is_shared: what is "now" is said of all workers by each of them (a cache that they share),
            so one worker's word holds, and is not added to the others'.
    """

    kind: str
    name: str
    counts: Mapping[str, float] = field(default_factory=dict)
    now: Mapping[str, float] = field(default_factory=dict)
    is_shared: bool = False

    def plus(self, other: StoreFigures) -> StoreFigures:
        """Return both together."""
        counts, now = dict(self.counts), dict(self.now)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0) + count
        for name, value in other.now.items():
            if self.is_shared or name not in now:
                now.setdefault(name, value)
            elif name.endswith("_seconds"):
                now[name] = max(now[name], value)
            else:
                now[name] += value
        return StoreFigures(self.kind, self.name, counts, now, self.is_shared)

    def ended(self) -> StoreFigures:
        """Return what stays of it when its worker has ended: what was counted."""
        return replace(self, now={})


@dataclass(frozen=True, slots=True)
class Figures:
    """All that one process, or a whole server, has counted.

    Attributes:
        requests: requests that came to the application's gate, WebSockets among them; what a limit
            has refused before that is in the routes alone.
        refused: of these, those refused for want of memory or of a place in the queue.
        waited: of these, those that waited for memory.
        memory_errors: requests that ran out of memory.
        routes: by name, in no order.
        stores: by kind and name, in no order.
    """

    requests: int = 0
    refused: int = 0
    waited: int = 0
    memory_errors: int = 0
    routes: tuple[RouteFigures, ...] = ()
    stores: tuple[StoreFigures, ...] = ()

    def ended(self) -> Figures:
        """Return what stays of it when its worker has ended."""
        return replace(self, stores=tuple(store.ended() for store in self.stores))


def sum_of(parts: Iterable[Figures]) -> Figures:
    """Return *parts* as one; routes and stores beyond their bounds are one, or left out."""
    routes: dict[str, RouteFigures] = {}
    stores: dict[tuple[str, str], StoreFigures] = {}
    requests = refused = waited = memory_errors = 0
    for part in parts:
        requests += part.requests
        refused += part.refused
        waited += part.waited
        memory_errors += part.memory_errors
        for route in part.routes:
            name = route.name if route.name in routes or len(routes) < MOST_ROUTES else OTHER
            routes[name] = routes.get(name, RouteFigures(name)).plus(route)
        for store in part.stores:
            key = store.kind, store.name
            if key in stores:
                stores[key] = stores[key].plus(store)
            elif len(stores) < MOST_STORES:
                stores[key] = store
    return Figures(
        requests, refused, waited, memory_errors, tuple(routes.values()), tuple(stores.values())
    )
