"""Which entries of a cache stay: those that were asked for last.

For comparison, and where exactly that is wanted. A scan over more than fits pushes everything out;
each lookup changes the order, which needs a lock, so that it is slower than with
:mod:`tonnage.stores.s3fifo`; and an entry takes some 70 bytes more. Weights say what leaves no
sooner and no later; they only add up.

Bounded by whoever calls :meth:`Lru.evict`. Knows no time and no tags: that is
:mod:`tonnage.stores.shelf`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tonnage.stores.entries import Entry


class _Recent(OrderedDict["Hashable", "Entry"]):
    """Entries in the order in which they were last asked for."""

    def __init__(self) -> None:
        super().__init__()
        # Looking up changes the order, and whoever looks up holds no other lock.
        self.ordering = threading.RLock()

    def __getitem__(self, key: Hashable) -> Entry:
        with self.ordering:
            entry = super().__getitem__(key)
            self.move_to_end(key)
            return entry


class Lru:
    """The entries of a cache by their keys, and who leaves next."""

    def __init__(self) -> None:
        self.entries = _Recent()
        self.weight = 0

    def put(self, entry: Entry) -> None:
        """Put *entry* in; there is none of its key."""
        with self.entries.ordering:
            self.entries[entry.key] = entry
        self.weight += entry.weight
        entry.place = 1

    def reweigh(self, entry: Entry, weight: int) -> None:
        """Let *entry* weigh *weight* from now on; it is the last to leave now."""
        self.weight += weight - entry.weight
        entry.weight = weight
        with self.entries.ordering:
            self.entries.move_to_end(entry.key)

    def remove(self, entry: Entry) -> None:
        """Take *entry* out."""
        with self.entries.ordering:
            del self.entries[entry.key]
        self.weight -= entry.weight
        entry.place = 0

    def evict(self) -> Entry:
        """Take out who was asked for longest ago, and return it.

        Raises:
            IndexError: there is nobody.
        """
        with self.entries.ordering:
            if not self.entries:
                raise IndexError("nobody is left to evict")
            # Not popitem, which would ask for the entry.
            entry = self.entries.get(next(iter(self.entries)))
            assert entry is not None
            self.remove(entry)
            return entry

    def held(self) -> list[Entry]:
        """Return all that are there."""
        with self.entries.ordering:
            return list(self.entries.values())

    def clear(self) -> None:
        """Take everything out."""
        with self.entries.ordering:
            self.entries.clear()
        self.weight = 0
