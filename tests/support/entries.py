"""Entries for policies, which know them by key and weight alone."""

from __future__ import annotations

from collections.abc import Hashable

from tonnage.stores.entries import Entry


def entry_of(key: Hashable, weight: int = 1) -> Entry:
    """Return one that has not been asked for."""
    entry = Entry()
    entry.key = key
    entry.value = None
    entry.weight = weight
    entry.uses = 0
    entry.expires_seconds = None
    entry.tags = ()
    entry.place = 0
    return entry
