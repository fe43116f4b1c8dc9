"""What a worker tells its supervisor of what it counts: once a second, of what has changed.

    telling.beat(now_seconds)      # some times a second
    telling.tell()                 # before the worker ends

Promises that each row stands for itself: it says all that was counted of one route or store since
the worker began, so one that comes twice, late or never does no harm. A message is at most
:data:`~tonnage.host.channel.LONGEST_BYTES`; one that the channel does not take is tried again a
second later. What a worker has counted in the second before it is killed is lost.

Covers both ends: the worker's (:class:`Telling`) and how the supervisor reads a row
(:func:`route_of`, :func:`store_of`).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tonnage.ops.figures.records import RouteFigures, StoreFigures
from tonnage.ops.figures.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tonnage.ops.figures.counting import Counting

EVERY_SECONDS: Final = 1.0
# Of rows in one message; a single row is smaller than 6 KB.
_MOST_BYTES: Final = 12 * 1024

Row = list[Any]


@dataclass(frozen=True, slots=True)
class Counted:
    """The message: of each route and store that has changed a row."""

    routes: list[Row] = field(default_factory=list)
    stores: list[Row] = field(default_factory=list)


class Telling:
    """Tells what has changed.

    Args:
        counting: the worker's tallies.
        send: sends a message; returns whether it was taken.
        stores: the worker's stores.
    """

    def __init__(
        self, counting: Counting, send: Callable[[Counted], bool], stores: Stores | None = None
    ) -> None:
        self._counting = counting
        self._send = send
        self._stores = stores or Stores()
        # When this second's is due, and of each route and store what was told last: how many
        # requests, or a hash. As many as these have.
        self._due_seconds = 0.0
        self._told: dict[object, int] = {}

    def beat(self, now_seconds: float) -> None:
        """Tell, if it is time; to be called some times a second."""
        if now_seconds >= self._due_seconds:
            self._due_seconds = now_seconds + EVERY_SECONDS
            self.tell()

    def tell(self, patience_seconds: float = 0.0) -> bool:
        """Tell what has changed since it was told; return whether all of it was taken.

        Args:
            patience_seconds: for how long a channel that is full is tried again.
        """
        until = time.monotonic() + patience_seconds
        for name, rows in self._messages():
            message = Counted(**{name: [row for _, _, row in rows]})
            while not self._send(message):
                if time.monotonic() >= until:
                    return False
                time.sleep(0.005)
            self._told.update((key, version) for key, version, _ in rows)
        return True

    def _messages(self) -> Iterator[tuple[str, list[tuple[object, int, Row]]]]:
        for name, rows in (("routes", self._routes()), ("stores", self._changed_stores())):
            for part in _parts(rows):
                yield name, part

    def _routes(self) -> Iterator[tuple[object, int, Row]]:
        for tally in self._counting.tallies():
            requests = tally.requests
            if self._told.get(tally.name) != requests:
                yield tally.name, requests, tally.row()

    def _changed_stores(self) -> Iterator[tuple[object, int, Row]]:
        for each in self._stores.look():
            row = [each.kind, each.name, dict(each.counts), dict(each.now), each.is_shared]
            version = hash((tuple(each.counts.items()), tuple(each.now.items())))
            key = each.kind, each.name
            if self._told.get(key) != version:
                yield key, version, row


def route_of(row: Row) -> RouteFigures:
    """Return what a row of ``routes`` says."""
    name, statuses, shed, seconds, buckets = row
    return RouteFigures(name, tuple(statuses), shed, seconds, tuple(buckets))


def store_of(row: Row) -> StoreFigures:
    """Return what a row of ``stores`` says."""
    return StoreFigures(*row)


def _parts(
    rows: Iterable[tuple[object, int, Row]],
) -> Iterator[list[tuple[object, int, Row]]]:
    """Yield *rows* in parts, each of which fits into a message."""
    part: list[tuple[object, int, Row]] = []
    size_bytes = 0
    for row in rows:
        row_bytes = len(json.dumps(row[2])) + 2
        if part and size_bytes + row_bytes > _MOST_BYTES:
            yield part
            part, size_bytes = [], 0
        part.append(row)
        size_bytes += row_bytes
    if part:
        yield part
