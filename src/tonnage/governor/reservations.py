"""Memory that running code is about to take, asked for before it takes it.

    async with reserved(40 * MIB):        # in an event loop
        rows = await fetch()
    with reserved(40 * MIB):              # in a thread
        rows = fetch()

Promises: inside, so much is kept free for it, and no other request is let in with it. It waits for
its turn a bounded time, and then raises :class:`~tonnage.errors.MemoryShortError`, which is a 503.
What is inside should be what allocates, and no more: what it has allocated counts by itself, so
that both are counted until it is left.

Outside a worker of ``tonnage run`` nothing is asked, and all of it is granted at once. Who decides
is the worker's :class:`Reserver` (:mod:`tonnage.web.reserving`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType


class Reserver(Protocol):
    """Whoever grants memory in this process."""

    async def enter(self, wanted: reserved) -> None:
        """Wait until *wanted* fits, and keep it; raises MemoryShortError when it takes too long."""

    def enter_in_thread(self, wanted: reserved) -> None:
        """Do the same in a thread that is not the event loop's."""

    def leave(self, wanted: reserved) -> None:
        """Keep it no longer; from any thread, and nothing happens a second time."""

    def taken(self, size_bytes: int) -> None:
        """See :func:`taken`."""


_reserver: Reserver | None = None


def use(reserver: Reserver | None) -> None:
    """Have *reserver* be asked in this process."""
    global _reserver  # one for a process
    _reserver = reserver


def taken(size_bytes: int) -> None:
    """Say that the request being served holds so many bytes that were allocated outside its steps.

    For what a callback of the event loop makes of what it receives, as asyncpg does of rows: what
    a request takes in its own steps, and in threads, is measured. To be called in its task.
    """
    if _reserver is not None and size_bytes > 0:
        _reserver.taken(size_bytes)


class reserved:  # noqa: N801  (written as a function, as those of contextlib are)
    """A context in which *size_bytes* are kept free for what runs in it.

    Raises:
        MemoryShortError: on entering, when so much did not come free in time.
    """

    __slots__ = ("_reserver", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._reserver = _reserver

    async def __aenter__(self) -> None:
        if self._reserver is not None:
            await self._reserver.enter(self)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __enter__(self) -> None:
        if self._reserver is not None:
            self._reserver.enter_in_thread(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._reserver is not None:
            self._reserver.leave(self)
