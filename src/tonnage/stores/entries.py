"""One entry of a cache, and what decides which of them stay.

A policy (:mod:`tonnage.stores.s3fifo`, :mod:`tonnage.stores.lru`) holds the entries by their keys
and says who leaves next. It knows no time, no tags and no locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable


class Entry:
    """One value, with all that the cache knows of it.

    It has no ``__init__``: that would cost more than all else that a set does.

    Attributes:
        key: what it is found by.
        value: what is found.
        weight: what both take, in bytes, with what the cache itself takes for them.
        uses: how often it was asked for since it came, or since it was last let off for it.
        expires_seconds: until when it is good; None: for as long as it stays.
        tags: what it may be invalidated by.
        place: where it stands, as its policy counts; 0: nowhere any more.
    """

    __slots__ = ("expires_seconds", "key", "place", "tags", "uses", "value", "weight")

    key: Hashable
    value: Any
    weight: int
    uses: int
    expires_seconds: float | None
    tags: tuple[str, ...]
    place: int


class Policy(Protocol):
    """Which entries stay."""

    #: What all weigh together.
    weight: int

    @property
    def entries(self) -> dict[Hashable, Entry]:
        """All entries by their keys; always the same dict, and changed by the policy alone.

        Whoever is asked for a value takes its entry with ``entries[key]`` and counts the use;
        ``entries.get(key)`` only looks.
        """

    def put(self, entry: Entry) -> None:
        """Put *entry* in; there is none of its key."""

    def reweigh(self, entry: Entry, weight: int) -> None:
        """Let *entry* weigh *weight* from now on, where it stands."""

    def remove(self, entry: Entry) -> None:
        """Take *entry* out."""

    def evict(self) -> Entry:
        """Take out who is worth least, and return it.

        Raises:
            IndexError: there is nobody.
        """

    def held(self) -> list[Entry]:
        """Return all that are there."""

    def clear(self) -> None:
        """Take everything out, and forget it."""
