"""Waiting: descriptors and what to call when they are ready, and signals as a queue.

``selectors`` knows no POLLPRI, by which the kernel tells of memory events, so this is ``poll``.
"""

from __future__ import annotations

import select
import signal
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

READ: Final = select.POLLIN


class HasFileno(Protocol):
    """Anything with a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Reactor:
    """Descriptors and their callbacks."""

    def __init__(self) -> None:
        self._poll = select.poll()
        # As many as there are descriptors; each owner unregisters its own.
        self._callbacks: dict[int, Callable[[], object]] = {}

    def register(self, source: HasFileno, call: Callable[[], object], events: int = READ) -> None:
        """Call *call* whenever *source* is ready."""
        self._poll.register(source.fileno(), events)
        self._callbacks[source.fileno()] = call

    def unregister(self, source: HasFileno) -> None:
        """Forget *source*, which must still be open; harmless if it is not registered."""
        fd = source.fileno()
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def wait(self, timeout_seconds: float) -> None:
        """Wait for the first ready descriptor or the time-out, and call what is due."""
        found = self._poll.poll(max(0.0, timeout_seconds) * 1000)
        for fd, call in [(fd, self._callbacks[fd]) for fd, _ in found]:
            # One callback may have unregistered another's descriptor, and the next that was opened
            # has its number: whether that is ready is not known yet.
            if self._callbacks.get(fd) is call:
                call()


class Signals:
    """Signals, received as descriptors are: queued by the handler, handled in the loop.

    The queue holds :data:`MOST_OF_A_KIND` of each number: a second one may mean more than the
    first, a third does not, and a flood of one takes no other's place.
    """

    MOST_OF_A_KIND: Final = 2

    def __init__(self, numbers: Iterable[int]) -> None:
        self._pending: deque[int] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._note) for number in numbers}

    def fileno(self) -> int:
        """Return the descriptor that becomes readable with a signal."""
        return self._reader.fileno()

    def take(self) -> list[int]:
        """Return the signals that have come since the last call."""
        with suppress(BlockingIOError):
            self._reader.recv(4096)
        taken = []
        while self._pending:
            taken.append(self._pending.popleft())
        return taken

    def close(self) -> None:
        """Put the handlers back that were there before."""
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._pending.count(number) < self.MOST_OF_A_KIND:
            self._pending.append(number)
