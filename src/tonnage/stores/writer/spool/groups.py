"""Who waits for the same fsync ("group commit").

Promises: what is added while the disk is busy goes to it together, with one fsync for all, in the
order it was added; what is one parcel goes as one. Whoever gives up before his group has begun is
taken out of it; later nobody knows.

Bounded: at most *max_bytes* are on their way to the disk, and whoever comes then waits for that.
Safe from any thread and any event loop. Does not write.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from tonnage.errors import WriterClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.errors import StoreError


class Parcel:
    """Records of one caller, as payloads, that are added all or none."""

    __slots__ = ("payloads", "size_bytes")

    def __init__(self, payloads: list[bytes], size_bytes: int) -> None:
        self.payloads = payloads
        #: What they take on the disk.
        self.size_bytes = size_bytes


class Group:
    """Parcels that go to the disk together."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.size_bytes = 0
        self.has_begun = False
        #: Its result is the error that all of them met, None if there was none.
        self.over: Final[Future[StoreError | None]] = Future()
        self._waiters: dict[asyncio.AbstractEventLoop, asyncio.Future[StoreError | None]] = {}

    async def wait(self) -> StoreError | None:
        """Return what became of it; whoever is cancelled here leaves the others waiting."""
        loop = asyncio.get_running_loop()
        # One for each loop, touched there alone, so that a thousand who wait wake it once.
        waiter = self._waiters.get(loop)
        if waiter is None:
            waiter = self._waiters[loop] = asyncio.wrap_future(self.over, loop=loop)
        return await asyncio.shield(waiter)


class Groups:
    """The groups of one writer that are not on the disk yet.

    Args:
        name: the writer's.
        group_bytes: what one takes; a larger parcel goes alone.
        max_bytes: what all take; a larger parcel goes when there is no other.
        on_new: called for each group that is to begin, in the thread that adds to it, before that
            is in it; under the lock, which :meth:`begin` waits for. What it raises, whoever adds
            gets, and nothing was taken.
    """

    def __init__(
        self, name: str, *, group_bytes: int, max_bytes: int, on_new: Callable[[], object]
    ) -> None:
        self._name = name
        self._group_bytes = group_bytes
        self._max_bytes = max_bytes
        self._on_new = on_new
        self._lock = threading.Lock()
        self._is_closed = False
        # The oldest first, which alone may have begun.
        self._groups: deque[Group] = deque()
        self.size_bytes = 0
        #: Records, not parcels.
        self.count = 0

    def join(self, parcel: Parcel) -> Group | None:
        """Return the group in which *parcel* goes; None: too much is on its way already.

        Raises:
            WriterClosedError: nothing is taken any more.
        """
        cost = parcel.size_bytes
        with self._lock:
            if self._is_closed:
                raise WriterClosedError(
                    f"writer {self._name!r} is closed and takes no more records"
                )
            if self._groups and self.size_bytes + cost > self._max_bytes:
                return None
            last = group = self._groups[-1] if self._groups else None
            if group is None or group.has_begun or group.size_bytes + cost > self._group_bytes:
                group = Group()
            if not group.parcels:
                self._on_new()
            if group is not last:
                self._groups.append(group)
            group.parcels.append(parcel)
            group.size_bytes += cost
            self.size_bytes += cost
            self.count += len(parcel.payloads)
        return group

    def leave(self, group: Group, parcel: Parcel) -> None:
        """Take *parcel* out of *group* again, unless it is too late for that."""
        with self._lock:
            if group.has_begun or parcel not in group.parcels:
                return
            group.parcels.remove(parcel)
            group.size_bytes -= parcel.size_bytes
            self.size_bytes -= parcel.size_bytes
            self.count -= len(parcel.payloads)

    def begin(self) -> list[bytes] | None:
        """Return the payloads of the oldest, which from now on takes no more; None: none is there.

        It has to be postponed or ended before another begins.
        """
        with self._lock:
            if not self._groups:
                return None
            self._groups[0].has_begun = True
            return [payload for parcel in self._groups[0].parcels for payload in parcel.payloads]

    def postpone(self) -> None:
        """Have the group that was begun begin later."""
        with self._lock:
            self._groups[0].has_begun = False

    def end(self, error: StoreError | None) -> bool:
        """Tell the group that was begun what became of it; return whether there is another."""
        with self._lock:
            group = self._groups.popleft()
            self.size_bytes -= group.size_bytes
            self.count -= sum(len(parcel.payloads) for parcel in group.parcels)
            more = bool(self._groups)
        group.over.set_result(error)
        return more

    def close(self) -> None:
        """Take nothing any more; what is here is still to be written."""
        with self._lock:
            self._is_closed = True

    def first(self) -> Group | None:
        """Return the oldest; when it is over, there is some room again."""
        with self._lock:
            return self._groups[0] if self._groups else None
