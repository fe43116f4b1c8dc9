"""What a cache forgets: in its own memory, in all workers, and on all levels that it has.

Promises: once something was forgotten, by whichever worker, no later lookup of any worker finds
it, and what was being made of it just then is not kept. The farthest level forgets first, then the
nearer ones, then this process's memory, and then the other workers hear of it
(:mod:`tonnage.stores.bulletin`): so nobody gets again from farther out what he has just forgotten.

Redis is told without waiting, so other instances hear of it a little later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tonnage.errors import StoreError
from tonnage.stores.arguments import tags_of
from tonnage.stores.bulletin import CLEAR, KEY, TAG, bulletin
from tonnage.stores.flights import Flights
from tonnage.stores.names import key_of, name_of
from tonnage.stores.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tonnage.stores.beyond import Beyond

V = TypeVar("V")


class ForgettingShelf(Shelf[V]):
    """A shelf that forgets together with others.

    Args:
        name: its name; those of one name forget together.
        beyond: the levels that it has beyond its memory.
        options: the shelf's.
    """

    def __init__(self, name: str, beyond: Beyond | None, **options: Any) -> None:
        super().__init__(**options)
        self.name = name
        self._beyond = beyond
        self._flights = Flights[V]()
        # How often something was forgotten: what was looked up beyond memory before is not kept.
        self._changes = 0
        self._board = bulletin()
        # The first says whether there is any notice that was not obeyed yet.
        self._notices = self._board.words
        self._board.join(self)

    def delete(self, key: Hashable) -> bool:
        """Take *key* out, in all workers; return whether this one had it."""
        known = name_of(key)
        if self._beyond is not None and known is not None:
            self._beyond.forget_key(known)
        was_there = self._delete(key)
        # A key that means nothing to others might be any of theirs.
        self._board.post(self.name, CLEAR if known is None else KEY, known or "", sender=self)
        return was_there

    def invalidate(self, *tags: str) -> int:
        """Take out what has any of *tags*, in all workers; return how many entries this one had.

        What is being made just now with such a tag reaches whoever waits for it, and is not kept.

        Raises:
            ConfigError: one of them is no text.
        """
        tags = tags_of(tags)
        if self._beyond is not None:
            self._beyond.forget_tags(tags)
        count = self._invalidate(tags)
        for tag in tags:
            self._board.post(self.name, TAG, tag, sender=self)
        return count

    def clear(self) -> int:
        """Take everything out, in all workers; return how many entries this one had."""
        if self._beyond is not None:
            self._beyond.clear()
        count = self._clear()
        self._board.post(self.name, CLEAR, sender=self)
        return count

    # What other workers say (tonnage.stores.bulletin).

    def hear(self, kind: int, what: str) -> None:
        """Drop the key or the tag *what*, or all, as *kind* says, from this process's memory."""
        # A worker that has just begun hears all that was said since the application was imported.
        if kind != CLEAR and not self._policy.entries and not self._flights.open:
            with self._changing:
                self._changes += 1
            return
        if kind == TAG:
            self._invalidate((what,))
            return
        if kind == KEY:
            try:
                self._delete(key_of(what))
                return
            except StoreError:
                pass  # whatever it means, it is not here any more
        self._clear()
        if self._beyond is not None and self._beyond.near is not None:
            self._beyond.near.settle()

    def forget(self, kind: int, what: str) -> None:
        """As :meth:`hear`, and from what this machine shares; tell its other workers to."""
        near = None if self._beyond is None else self._beyond.near
        if near is not None and kind == KEY:
            near.forget_key(what)
        elif near is not None and kind == TAG:
            near.forget_tags((what,))
        elif near is not None:
            near.clear()
        self.hear(kind, what)
        self._board.post(self.name, kind, what, sender=self)

    def _obey(self) -> None:
        """Forget what other workers have said since; before anything is looked up or kept."""
        if self._notices[0] != self._board.seen:
            self._board.catch_up()

    def _delete(self, key: Hashable) -> bool:
        with self._changing:
            self._changes += 1
            if self._flights.open:
                self._flights.void(key)
            return self._take_out(key, "deleted")

    def _invalidate(self, tags: tuple[str, ...]) -> int:
        with self._changing:
            self._changes += 1
            self._flights.void_tagged(tags)
            keys = {key for tag in tags for key in self._tagged.get(tag, ())}
            return sum(self._take_out(key, "invalidated") for key in keys)

    def _clear(self) -> int:
        with self._changing:
            self._changes += 1
            self._flights.void_all()
            return self._take_all_out("cleared")
