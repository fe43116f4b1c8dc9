"""Which names get series of their own, so that an answer is bounded and no counter ever falls.

    named = Named(most_bytes=120_000)
    named.has("GET /", costs_bytes=1_800)       # the same answer for ever

First come, first served: what has once been shown is always shown, and what has once been left out
never is, since then the sum of those left out would fall. Keeps the names, whose size is bounded by
what they cost.
"""

from __future__ import annotations


class Named:
    """The names that were shown.

    Args:
        most_bytes: what all of them may take in an answer.
        most_left_out: of so many that did not fit the names are kept; after that none is added.
    """

    def __init__(self, most_bytes: int, most_left_out: int = 200) -> None:
        self._left_bytes = most_bytes
        self._most_left_out = most_left_out
        self._shown: set[str] = set()
        self._left_out: set[str] = set()

    def has(self, name: str, costs_bytes: int) -> bool:
        """Return whether *name*, which takes *costs_bytes* in an answer, is to be shown."""
        if name in self._shown:
            return True
        if name in self._left_out or len(self._left_out) >= self._most_left_out:
            return False
        if costs_bytes > self._left_bytes:
            self._left_out.add(name)
            return False
        self._left_bytes -= costs_bytes
        self._shown.add(name)
        return True
