"""The stores of a worker from look to look: counts that only grow, and what is now.

    StoreFigures("cache", "events", counts={"hits": 812, ...}, now={"entries": 90, ...})

Promises that counts never fall, whatever the application does with its stores: what one had counted
that is gone, or begins anew, stays. Two of one kind and name are one.

Does not read them itself (:mod:`tonnage.ops.figures.sources`). Bounded:
:data:`~tonnage.ops.figures.records.MOST_STORES`, those that came first, with names of
:data:`~tonnage.ops.figures.records.LONGEST_NAME_CHARS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.ops.figures.records import LONGEST_NAME_CHARS, MOST_STORES, StoreFigures
from tonnage.ops.figures.sources import read_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Stores:
    """The stores of this process, from look to look.

    Args:
        read: yields what they say now.
    """

    def __init__(self, read: Callable[[], Iterator[StoreFigures]] = read_all) -> None:
        self._read = read
        # What was said last, and what has to be added to it so that no count falls.
        self._last: dict[tuple[str, str], StoreFigures] = {}
        self._lost: dict[tuple[str, str], dict[str, float]] = {}

    def look(self) -> list[StoreFigures]:
        """Return what they say; of one that is gone what it had counted."""
        found: dict[tuple[str, str], StoreFigures] = {}
        for each in self._read():
            key = each.kind, each.name[:LONGEST_NAME_CHARS]
            if key in found:
                found[key] = found[key].plus(each)
            elif key in self._last or len(self._last.keys() | found.keys()) < MOST_STORES:
                found[key] = each
        gone = {
            key: StoreFigures(*key, is_shared=last.is_shared)
            for key, last in self._last.items()
            if key not in found
        }
        return [self._kept(key, each) for key, each in (found | gone).items()]

    def _kept(self, key: tuple[str, str], said: StoreFigures) -> StoreFigures:
        lost = self._lost.setdefault(key, {})
        last = self._last.get(key, said)
        for name, count in last.counts.items():
            fallen = count - said.counts.get(name, 0)
            if fallen > 0:
                lost[name] = lost.get(name, 0) + fallen
        self._last[key] = said
        counts = {
            name: said.counts.get(name, 0) + lost.get(name, 0)
            for name in (*said.counts, *(lost.keys() - said.counts.keys()))
        }
        return StoreFigures(*key, counts, said.now, said.is_shared)
