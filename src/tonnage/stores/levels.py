"""Where a cache keeps its values beyond its own memory: what such a level is asked for.

    look = level.look("'event:7'", ("event:7",))
    if look.found is None:
        value = make()                           # may take its time
        level.keep("'event:7'", value, as_of=look.as_of, lasts_seconds=300, tags=("event:7",))

A cache looks into its own memory, then into the level of this machine (:class:`Level`), then into
the one across the network (:class:`FarLevel`), and then has the value made. What is found farther
out is kept nearer.

The one rule that all levels keep: a value made *as of* a moment is never given out once its key, or
one of its tags, was forgotten after that moment. So ``look`` says as of when, in whatever way
the level counts, and ``keep`` takes it back.

Levels know nothing of each other. A level never raises for what goes wrong outside: a disk that is
full or a server that is gone is a miss, and what could not be kept was not kept. What was forgotten
stays forgotten nevertheless. Keys are texts here (:mod:`tonnage.stores.names`); caches of one name
share what they have in a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Codec(Protocol):
    """Turns values into bytes and back, such as the modules ``pickle`` and ``marshal`` do."""

    def dumps(self, value: Any, /) -> bytes:
        """Return *value* as bytes; whatever this raises, the value is kept in memory only."""

    def loads(self, data: bytes, /) -> Any:
        """Return the value again; whatever this raises, it counts as not found."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value that is good.

    Attributes:
        value: it; None is a value too.
        left_seconds: how long it is still good for; infinity: for as long as it stays.
        tags: what it may be invalidated by, all of them.
    """

    value: Any
    left_seconds: float
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What a level says of a key.

    Attributes:
        found: what there is.
        as_of: when that was, as the level counts; for whoever makes the value now.
    """

    found: Found | None
    as_of: object = None


class Level(Protocol):
    """A level on this machine: each call takes microseconds, from any thread or event loop."""

    def look(self, key: str, tags: Sequence[str] = ()) -> Look:
        """Return what there is of *key*.

        Args:
            key: its name.
            tags: those that the caller would give it, as far as known; a level that has to ask for
                their versions can do so at once.
        """

    def keep(
        self, key: str, value: Any, *, as_of: object, lasts_seconds: float, tags: Sequence[str] = ()
    ) -> bool:
        """Keep *value*; return whether it could, and nothing was forgotten meanwhile.

        Args:
            key: its name.
            value: it.
            as_of: what :meth:`look` said before it was made; None: now.
            lasts_seconds: how long it is good for; infinity: for as long as it stays.
            tags: what it may be invalidated by.
        """

    def forget_key(self, key: str) -> None:
        """Have *key* not found any more; also what is being made for it just now."""

    def forget_tags(self, tags: Sequence[str]) -> None:
        """Have nothing found any more that has any of *tags*; nor what is being made with them."""

    def clear(self) -> None:
        """Have nothing found any more; nor what is being made."""


class FarLevel(Protocol):
    """A level across a network. Asked only where a caller can wait; told without waiting.

    The methods are those of :class:`Level`, but for two differences: :meth:`look` may take as long
    as a round trip and is called in threads only (:meth:`look_async` in an event loop), and what
    tells it something puts that into a bounded outbox and returns at once.
    """

    def look(self, key: str, tags: Sequence[str] = ()) -> Look:
        """Return what there is of *key*; the calling thread waits."""

    async def look_async(self, key: str, tags: Sequence[str] = ()) -> Look:
        """Return what there is of *key*; the calling task waits."""

    def keep(
        self, key: str, value: Any, *, as_of: object, lasts_seconds: float, tags: Sequence[str] = ()
    ) -> bool:
        """Send *value*; return whether it will be tried. *as_of* None: what is sent before counts,
        what is sent after does not.
        """

    def forget_key(self, key: str) -> None:
        """Tell this and all other instances to drop the entry of *key*."""

    def forget_tags(self, tags: Sequence[str]) -> None:
        """Tell this and all other instances to drop every entry with one of *tags*."""

    def clear(self) -> None:
        """Tell this and all other instances to drop every entry."""
