"""Those who hold memory that they could give back: caches, queues, buffers, the user's own objects.

    class Pages:
        name = "pages"

        @property
        def used_bytes(self) -> int: ...

        def shrink(self, target_bytes: int) -> int: ...  # the bytes it has freed

    tonnage.register(pages, priority=10)

Promises: what is registered is held weakly, so a cache that is dropped disappears from here too.
At most :data:`MAX_CONSUMERS` at a time. Registering is safe from any thread, and what is registered
while the application is imported is registered in every worker forked from there. A consumer that
raises, lies or dawdles is named in the log, once a minute, and does not stop the others.

Also here, and pure: how far each must shrink at which level (:func:`targets`).

Does not say when to shrink (:mod:`tonnage.governor.reclaim`) and measures nothing; who calls
``shrink`` is :mod:`tonnage.server.reclaimer`. Without it, as under another server, being
registered changes nothing.
"""

from __future__ import annotations

import logging
import operator
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage.errors import TonnageError
from tonnage.governor.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

logger = logging.getLogger("tonnage.consumers")

MAX_CONSUMERS: Final = 256
DEFAULT_PRIORITY: Final = 100
# A shrink holds up every request of its worker for as long as it takes.
SLOW_SECONDS: Final = 0.1
COMPLAINT_SECONDS: Final = 60.0
# Whoever keeps nothing of what is registered here has registered nothing: so soon after, that was
# not meant.
DROPPED_SECONDS: Final = 1.0
# 1 PB. The sum of all goes into a signed 64-bit word of the shared page.
LARGEST_BYTES: Final = 1 << 50
LONGEST_NAME: Final = 48


class Consumer(Protocol):
    """Whoever holds memory that can be had back."""

    @property
    def name(self) -> str:
        """What logs and pages call it. Read once, when it is registered."""

    @property
    def used_bytes(self) -> int:
        """What it holds now, in bytes, as well as it knows. Asked ten times a second: be quick."""

    def shrink(self, target_bytes: int, /) -> int:
        """Bring ``used_bytes`` down to *target_bytes* at most, if it can; return the bytes freed.

        Called in the event loop's thread: no request of the worker goes on meanwhile, and what the
        loop's own code touches needs no lock. Where other threads use the same object, as those of
        sync routes and of WSGI applications do, it needs one.
        """


@dataclass(frozen=True, slots=True)
class Use:
    """What one consumer holds; lower priorities give way first."""

    name: str
    priority: int
    used_bytes: int


def targets(level: Level, uses: Iterable[Use], need_bytes: int) -> list[tuple[str, int]]:
    """Return to how many bytes whom to shrink, in this order.

    At WARNING those of the lowest priority number first, the largest of these first, each at most
    down to half, until *need_bytes* come free; from CRITICAL on everybody to nothing; at OK nobody.
    """
    if level < Level.WARNING:
        return []
    ordered = sorted(uses, key=lambda use: (use.priority, -use.used_bytes))
    if level >= Level.CRITICAL:
        return [(use.name, 0) for use in ordered]
    found = []
    for use in ordered:
        give = min(max(need_bytes, 0), use.used_bytes // 2)
        if give:
            found.append((use.name, use.used_bytes - give))
            need_bytes -= give
    return found


class Registration:
    """A consumer's place in the registry, until :meth:`close`. It keeps nothing alive."""

    __slots__ = ("_entry", "_registry")

    def __init__(self, registry: Registry, entry: _Entry) -> None:
        self._registry = registry
        self._entry = entry

    @property
    def name(self) -> str:
        """What it is called: the consumer's name, with a number behind if that was taken."""
        return self._entry.name

    def close(self) -> None:
        """Take the consumer out again; a second time changes nothing."""
        self._registry.remove(self._entry)


@dataclass(slots=True, eq=False)
class _Entry:
    name: str
    priority: int
    consumer: Callable[[], Consumer | None]
    quiet_until_seconds: float = float("-inf")


class Registry:
    """The consumers of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # At most MAX_CONSUMERS. Replaced and never changed, so that reading it needs no lock: a
        # shrink may register one and end another.
        self._entries: tuple[_Entry, ...] = ()
        self._quiet_until_seconds = float("-inf")
        # Who was gone right after it was registered, until that is said.
        self._dropped = ""
        # Reentrant, since a finalizer that ends one may run while this thread registers. A fork
        # cannot find it held by another thread: a process with threads is not forked from.
        self._writing = threading.RLock()

    def register(self, consumer: Consumer, priority: int = DEFAULT_PRIORITY) -> Registration:
        """Let *consumer* take part in giving memory back; lower *priority* numbers give way first.

        It is held weakly: keep it yourself, as the registration does not. ``register(Cache())``
        alone registers nothing; the log has a warning where an object is gone within
        :data:`DROPPED_SECONDS`. Registered again, it gets the new priority.

        Raises:
            TypeError: it is no consumer, or cannot be referred to weakly.
            TonnageError: there are :data:`MAX_CONSUMERS` already.
        """
        name = _checked_name(consumer)
        reference = _weakly(consumer, name, self._on_dropped(name))
        with self._writing:
            living = [
                each
                for each in self._entries
                if (held := each.consumer()) is not None and held is not consumer
            ]
            if len(living) >= MAX_CONSUMERS:
                raise TonnageError(
                    f"{name!r} cannot be registered: there are {MAX_CONSUMERS} consumers already; "
                    "register the one object that holds many small caches instead of each of them"
                )
            entry = _Entry(_unused(name, living), priority, reference)
            self._entries = (*living, entry)
        return Registration(self, entry)

    def _on_dropped(self, name: str) -> Callable[[object], None]:
        """Return what is to be called when the consumer *name* is gone."""
        begun = self._clock()

        def complain(_reference: object) -> None:
            if sys.is_finalizing():
                return  # everything goes
            # Said when somebody asks for memory: in a script that ends with it, nobody does.
            now = self._clock()
            if now - begun < DROPPED_SECONDS and now >= self._quiet_until_seconds:
                # One line: an application may make and drop many, as it likes.
                self._quiet_until_seconds = now + COMPLAINT_SECONDS
                self._dropped = name

        return complain

    def remove(self, entry: _Entry) -> None:
        """Take out one entry; for :meth:`Registration.close`."""
        with self._writing:
            self._entries = tuple(each for each in self._entries if each is not entry)

    def bounds(self) -> list[tuple[str, int]]:
        """Return, of those that say it as ``max_bytes``, what each may hold at most."""
        found = [(entry.name, self._most_bytes(entry, each)) for entry, each in self._living()]
        return [(name, most_bytes) for name, most_bytes in found if most_bytes > 0]

    def uses(self) -> list[Use]:
        """Return what each living consumer says it holds; one that cannot say so holds nothing."""
        return [
            Use(entry.name, entry.priority, self._used_bytes(entry, consumer))
            for entry, consumer in self._living()
        ]

    def shrink(self, name: str, target_bytes: int) -> int:
        """Shrink the consumer *name*; return the bytes it says it freed, 0 if it failed or went."""
        for entry, consumer in self._living():
            if entry.name == name:
                return self._shrink(entry, consumer, target_bytes)
        return 0

    def __len__(self) -> int:
        return sum(1 for _ in self._living())

    def _living(self) -> Iterator[tuple[_Entry, Consumer]]:
        if self._dropped:
            dropped, self._dropped = self._dropped, ""
            logger.warning(
                "consumer %s is gone right after it was registered, and gives nothing back: "
                "keep the object, for example in a module's variable; register() does not",
                dropped,
            )
        for entry in self._entries:
            consumer = entry.consumer()
            if consumer is not None:
                yield entry, consumer

    def _used_bytes(self, entry: _Entry, consumer: Consumer) -> int:
        try:
            return self._sensible(entry, "used_bytes", consumer.used_bytes)
        except Exception:  # noqa: BLE001  (the user's code: one broken cache must not stop the rest)
            self._complain(entry, "its used_bytes failed; it counts as empty", failed=True)
            return 0

    def _most_bytes(self, entry: _Entry, consumer: Consumer) -> int:
        try:
            most_bytes = getattr(consumer, "max_bytes", None)
        except Exception:  # noqa: BLE001  (as above)
            self._complain(entry, "its max_bytes failed; it counts as unbounded", failed=True)
            return 0
        return most_bytes if type(most_bytes) is int else 0

    def _shrink(self, entry: _Entry, consumer: Consumer, target_bytes: int) -> int:
        begun = self._clock()
        try:
            freed = self._sensible(entry, "shrink", consumer.shrink(target_bytes))
        except Exception:  # noqa: BLE001  (as above)
            self._complain(entry, "its shrink failed", failed=True)
            return 0
        lasted = self._clock() - begun
        if lasted > SLOW_SECONDS:
            self._complain(entry, f"its shrink took {lasted:.2f} s and held up every request")
        return freed

    def _sensible(self, entry: _Entry, what: str, said: Any) -> int:
        """Return *said* as a size between 0 and :data:`LARGEST_BYTES`.

        Raises:
            TypeError: it is no whole number.
        """
        count = operator.index(said)
        if 0 <= count <= LARGEST_BYTES:
            return count
        self._complain(entry, f"its {what} said {_digits(count)} bytes, which cannot be")
        return 0 if count < 0 else LARGEST_BYTES

    def _complain(self, entry: _Entry, what: str, *, failed: bool = False) -> None:
        now = self._clock()
        if now >= entry.quiet_until_seconds:
            entry.quiet_until_seconds = now + COMPLAINT_SECONDS
            logger.warning("consumer %s: %s", entry.name, what, exc_info=failed)


def _checked_name(consumer: Consumer) -> str:
    """Return the name of *consumer*; what is wrong with it shows here and not under pressure."""
    kind = type(consumer)
    name = getattr(consumer, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"{kind.__qualname__} is no consumer: it needs a name, a str not empty")
    if not callable(getattr(consumer, "shrink", None)):
        raise TypeError(f"{name!r} is no consumer: it needs shrink(target_bytes) -> freed_bytes")
    if _is_coroutine_function(consumer.shrink):
        raise TypeError(f"{name!r} is no consumer: its shrink is async, and must be a plain method")
    # Looked up in the class, since the property itself may not work yet in __init__.
    used = getattr(kind, "used_bytes", None)
    if callable(used):
        raise TypeError(f"{name!r} is no consumer: its used_bytes is a method; make it a @property")
    if used is None and not hasattr(consumer, "used_bytes"):
        raise TypeError(f"{name!r} is no consumer: it needs used_bytes, an int property")
    return name[:LONGEST_NAME]


def _weakly(
    consumer: Consumer, name: str, on_dropped: Callable[[object], None]
) -> Callable[[], Consumer | None]:
    try:
        return weakref.ref(consumer, on_dropped)
    except TypeError:
        raise TypeError(
            f"{name!r} cannot be registered: {type(consumer).__qualname__} has __slots__ without "
            "'__weakref__', and it is held weakly: add that (dataclass: weakref_slot=True)"
        ) from None


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    # Here, since inspect is large and only whoever registers something needs it.
    from inspect import iscoroutinefunction

    return iscoroutinefunction(function)


def _unused(name: str, entries: Iterable[_Entry]) -> str:
    """Return *name*, or ``name-2`` and so on where it is taken."""
    taken = {entry.name for entry in entries}
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _digits(count: int) -> str:
    # Python refuses to print integers of more than 4300 digits.
    return str(count) if count.bit_length() <= 128 else f"2**{count.bit_length() - 1}"


#: What :func:`tonnage.register` registers in.
registry: Final = Registry()
register = registry.register
