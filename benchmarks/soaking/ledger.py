"""What was acknowledged to clients, to be compared in the end with what is stored.

A client writes down what it asks for before it asks, and that it was acknowledged when the answer
has come. In between nobody can know: what was asked for and not acknowledged may be stored or not.
Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, fields
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Claims(Generic[Key]):
    """Records of one kind, each with a key of its own; bounded by the length of the run."""

    def __init__(self) -> None:
        self._asked: set[Key] = set()
        self._acknowledged: set[Key] = set()

    def __len__(self) -> int:
        return len(self._acknowledged)

    def ask(self, key: Key) -> None:
        """Note that *key* is going to be asked for."""
        self._asked.add(key)

    def acknowledge(self, key: Key) -> None:
        """Note that *key* was said to be stored."""
        self._acknowledged.add(key)

    def ask_back(self, key: Key) -> None:
        """Note that *key* is going to be given back."""
        self._acknowledged.discard(key)

    def acknowledge_back(self, key: Key) -> None:
        """Note that *key* was said to be given back."""
        self._asked.discard(key)

    def faults(self, stored: Iterable[Key]) -> list[str]:
        """Return what is wrong with what is *stored*; empty if nothing is."""
        times = Counter(stored)
        wrong = {
            "lost": sum(key not in times for key in self._acknowledged),
            "twice": sum(count > 1 for count in times.values()),
            "never asked for, or given back": sum(key not in self._asked for key in times),
        }
        return [f"{count} {what}" for what, count in wrong.items() if count]


@dataclass(slots=True)
class Ledger:
    """What clients of the four backends hold: each kind by what tells two of them apart."""

    #: LvlUp's purchases, by the shop's number.
    purchases: Claims[str] = field(default_factory=Claims)
    #: FitFlix's registrations, by event and address.
    registrations: Claims[tuple[int, str]] = field(default_factory=Claims)
    #: Eventide's bookings, by event and user.
    bookings: Claims[tuple[int, int]] = field(default_factory=Claims)
    #: Fibuca's members, by name.
    members: Claims[str] = field(default_factory=Claims)
    #: Fibuca's applications, by what they state.
    applications: Claims[str] = field(default_factory=Claims)
    #: Fibuca's photos, by the member's number: acknowledged when one is taken, and given back where
    #: its sender is told that it became no portrait.
    photos: Claims[int] = field(default_factory=Claims)
    #: Why photos became no portrait, as their senders were told.
    failures: Counter[str] = field(default_factory=Counter)

    def acknowledged(self) -> dict[str, int]:
        """Return how many of each kind are acknowledged."""
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: len(claims) for name, claims in held.items() if isinstance(claims, Claims)}
