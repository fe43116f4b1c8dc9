"""What a worker counts of its requests: by route, how they were answered and how long that took.

Every answer that goes out counts once, those of Tonnage's own layers too: refusals for want of
memory, those of the limits on the path, and the 503 for a request that ran out of memory. A stream
counts when it ends, or when its client has gone. A WebSocket counts once, when its handshake is
answered (as 1xx where it was accepted), and the time is that of the handshake. What operators ask
does not count (:data:`~tonnage.web.routes.OPERATIONS`).

Bounded: :data:`~tonnage.ops.figures.records.MOST_ROUTES` routes by name, all others together as
:data:`~tonnage.ops.figures.records.OTHER`. Whoever asks for paths that are not there makes no
names: one is made of a template that the framework has shown, or of a path that was answered well,
and those made of paths take half of the places at most.

Costs a request half a microsecond. Has no lock: all of it is called in the event loop's thread.
Telling the supervisor is :mod:`tonnage.ops.figures.telling`'s.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from tonnage.ops.figures.records import (
    BUCKETS_SECONDS,
    LONGEST_NAME_CHARS,
    MOST_ROUTES,
    OTHER,
)
from tonnage.web.respond import was_shed
from tonnage.web.routes import OPERATIONS, ROUTE, framework_name, without_body_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tonnage.web.respond import Scope

#: The status of a request that nothing was answered to; it is counted with 1xx.
NO_STATUS: Final = 100

_SHED: Final = (429, 503)
_WRONG_METHOD: Final = 405
# What the gate calls routes, by paths among others, and what they count as.
_MOST_ALIASES: Final = 4 * MOST_ROUTES
_MOST_BY_PATH: Final = MOST_ROUTES // 2


class Tally:
    """What is counted of one route, since the worker began."""

    __slots__ = ("buckets", "name", "seconds", "shed", "statuses")

    def __init__(self, name: str) -> None:
        self.name = name
        self.statuses = [0] * 5
        self.shed = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS_SECONDS) + 1)

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(self.statuses)

    def row(self) -> list[Any]:
        """Return it as it is told, for :func:`~tonnage.ops.figures.telling.route_of` to read."""
        return [self.name, self.statuses, self.shed, self.seconds, self.buckets]


class Counting:
    """The tallies of one worker.

    Args:
        seen: what the gate calls the route of a request that has not come to it; None: it does not
            know the path.
    """

    def __init__(self, seen: Callable[[Scope], str | None] = lambda scope: None) -> None:
        self._seen = seen
        self._other = Tally(OTHER)
        self._by_name = {OTHER: self._other}
        self._by_path = 0
        # Operators' requests are tallied where nobody looks.
        self._tallies: dict[Any, Tally] = {OPERATIONS: Tally(OPERATIONS)}

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            scope: the request, as the server has it.
            status: of the answer; for less than 400 only its class matters.
            seconds: how long it took, from its head to the end of the answer.
        """
        try:
            tally = self._tallies[scope[ROUTE]]
        except KeyError:
            tally = self._find(scope, status)
        tally.statuses[status // 100 - 1] += 1
        tally.buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        tally.seconds += seconds
        if status >= 429 and status in _SHED and was_shed.get():
            was_shed.set(False)  # a later request of the connection may inherit it
            tally.shed += 1

    def count_unread(self, status: int) -> None:
        """Count an answer of Tonnage's own to what was not read as a request."""
        self._other.statuses[status // 100 - 1] += 1
        self._other.buckets[0] += 1
        self._other.shed += status in _SHED

    def tallies(self) -> Iterator[Tally]:
        """Yield those that have counted something."""
        return (tally for tally in self._by_name.values() if tally.requests)

    def _find(self, scope: Scope, status: int) -> Tally:
        try:
            return self._named(scope, status)
        except MemoryError:
            # The request is answered, and must not fail for this.
            return self._other

    def _named(self, scope: Scope, status: int) -> Tally:
        known = scope.get(ROUTE) or self._seen(scope)
        template = framework_name(scope)
        if template is None and known is None:
            return self._other
        name = (template or without_body_class(known or "", scope))[:LONGEST_NAME_CHARS]
        tally = self._by_name.get(name)
        if tally is None:
            if not self._may_begin(status, has_template=template is not None):
                return self._other
            tally = self._by_name[name] = Tally(name)
            self._by_path += template is None
        if known is not None and len(self._tallies) < _MOST_ALIASES:
            self._tallies[known] = tally
        return tally

    def _may_begin(self, status: int, *, has_template: bool) -> bool:
        """Whether the route of an answer of *status* may have a place of its own from now on."""
        if len(self._by_name) >= MOST_ROUTES:
            return False
        if has_template:
            return status != _WRONG_METHOD
        return (200 <= status < 400 or status == 500) and self._by_path < _MOST_BY_PATH
