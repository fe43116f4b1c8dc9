"""One making of a value for everybody who misses it at the same time ("single flight").

Promises: of those who ask for one key at once, one makes the value and the others get that, or the
error. Whoever needs a key to make that very key gets an error instead of waiting for himself; two
that need each other's are not told. What was declared void meanwhile reaches who waits, and is not
kept. A task goes on when those who wait for it are cancelled; nobody else would know that it was
needed.

Bounded by who is asking: there is one flight for each key that somebody waits for or refreshes.
Keeps nothing itself (:mod:`tonnage.stores.cache`).
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from tonnage.errors import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Hashable, Iterable

V = TypeVar("V")

logger = logging.getLogger("tonnage.stores")


#: Threads that make stale values anew, for each cache; beyond them, stale values wait their turn.
MOST_REFRESHING: Final = 4


class Flight(Generic[V]):
    """A value that is being made."""

    def __init__(self, key: Hashable, tags: tuple[str, ...]) -> None:
        self.key = key
        self.tags = tags
        #: Whether it is not to be kept: what it was made of has changed.
        self.is_void = False
        self.is_over = threading.Event()
        #: The thread that makes it.
        self.maker = threading.get_ident()
        self.error: BaseException | None = None
        self.values: list[V] = []


class Flights(Generic[V]):
    """The flights of one cache."""

    def __init__(self) -> None:
        # Reentrant: the collector may run code meanwhile that uses the cache.
        self._lock = threading.RLock()
        self._in_threads: dict[Hashable, Flight[V]] = {}
        # A task belongs to its event loop.
        self._in_tasks: dict[tuple[asyncio.AbstractEventLoop, Hashable], asyncio.Task[V]] = {}
        self._may_refresh = threading.Semaphore(MOST_REFRESHING)
        #: What is being made, in threads and tasks, by its key.
        self.open: dict[Hashable, list[Flight[V]]] = {}
        #: How many got what another had made.
        self.shared = 0

    def make(
        self,
        key: Hashable,
        tags: Iterable[str],
        make: Callable[[], V],
        keep: Callable[[Flight[V], V], None],
    ) -> V:
        """Return what *make* makes, here or in the thread that has begun with it already.

        Raises:
            Exception: what *make* has raised.
            StoreError: this thread makes it already.
        """
        with self._lock:
            flight = self._in_threads.get(key)
            is_mine = flight is None
            if flight is None:
                flight = self._in_threads[key] = Flight(key, tuple(tags))
                self._begin(flight)
            elif flight.maker == threading.get_ident():
                raise _needs_itself(key)
            else:
                self.shared += 1
        if is_mine:
            return self._fly(flight, make, keep)
        flight.is_over.wait()
        if flight.error is not None:
            raise flight.error
        return flight.values[0]

    def begin_in_thread(
        self,
        key: Hashable,
        tags: Iterable[str],
        make: Callable[[], V],
        keep: Callable[[Flight[V], V], None],
    ) -> None:
        """Have *make* called in a thread of its own, unless it is being made, or too many are.

        What it raises goes to the log. Where no thread can be started, nothing happens.
        """
        if key in self._in_threads or not self._may_refresh.acquire(blocking=False):
            return

        def refresh() -> None:
            try:
                self.make(key, tags, make, keep)
            except Exception:
                logger.exception("a stale value could not be made anew")
            finally:
                self._may_refresh.release()

        thread = threading.Thread(target=refresh, name="tonnage-refresh", daemon=True)
        try:
            thread.start()
        except (MemoryError, RuntimeError):
            # No room for another thread: there is a stale value, and whoever asks next tries again.
            self._may_refresh.release()

    def task(
        self,
        key: Hashable,
        tags: Iterable[str],
        make: Callable[[], Awaitable[V]],
        keep: Callable[[Flight[V], V], None],
    ) -> asyncio.Task[V]:
        """Return the task that makes the value of *key* in this event loop; it may be begun.

        Raises:
            StoreError: it is the task that asks.
        """
        # Only here: an application without event loops need not load them.
        from asyncio import current_task, get_running_loop

        loop = get_running_loop()
        with self._lock:
            found = self._in_tasks.get((loop, key))
            if found is not None:
                if found is current_task():
                    raise _needs_itself(key)
                self.shared += 1
                return found
            flight: Flight[V] = Flight(key, tuple(tags))
            self._begin(flight)

        async def fly() -> V:
            try:
                value = await make()
                keep(flight, value)
                return value
            finally:
                # Only now: until it is kept, it has to hear that it is void.
                with self._lock:
                    self._end(flight)
                    self._in_tasks.pop((loop, key), None)

        try:
            # Without the lock: an eager task runs here, and may be over when it comes back.
            task = loop.create_task(fly())
        except BaseException:
            with self._lock:
                self._end(flight)
            raise
        with self._lock:
            if not task.done():
                self._in_tasks[loop, key] = task
        task.add_done_callback(_look_at)
        return task

    def void(self, key: Hashable) -> None:
        """Discard the result of every flight for *key*: whoever waits gets it, nobody keeps it."""
        with self._lock:
            for flight in self.open.get(key, ()):
                flight.is_void = True

    def void_tagged(self, tags: Iterable[str]) -> None:
        """Discard the result of every flight with one of *tags*."""
        void = set(tags)
        with self._lock:
            for flights in self.open.values():
                for flight in flights:
                    flight.is_void = flight.is_void or not void.isdisjoint(flight.tags)

    def void_all(self) -> None:
        """Discard the result of every flight that is under way."""
        with self._lock:
            for flights in self.open.values():
                for flight in flights:
                    flight.is_void = True

    # With the lock held.

    def _begin(self, flight: Flight[V]) -> None:
        self.open.setdefault(flight.key, []).append(flight)

    def _end(self, flight: Flight[V]) -> None:
        flights = self.open[flight.key]
        flights.remove(flight)
        if not flights:
            del self.open[flight.key]

    def _fly(
        self,
        flight: Flight[V],
        make: Callable[[], V],
        keep: Callable[[Flight[V], V], None],
    ) -> V:
        try:
            value = make()
            flight.values.append(value)
            keep(flight, value)
            return value
        except BaseException as error:
            flight.error = error
            raise
        finally:
            # Only now: until it is kept, it has to hear that it is void.
            with self._lock:
                self._end(flight)
                del self._in_threads[flight.key]
            flight.is_over.set()


def _needs_itself(key: Hashable) -> StoreError:
    return StoreError(f"to make the value of {key!r:.200}, its own value is asked for")


def _look_at(task: asyncio.Task[V]) -> None:
    """Take notice of an error that nobody may have waited for."""
    if not task.cancelled():
        task.exception()
