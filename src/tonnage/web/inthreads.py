"""What threads hold, shared among the requests that have work in one.

Nobody can tell which thread has allocated what: the process's size is all there is to read. But
their sum is known, and that is what counts for what may be promised to others: of *n* requests that
take *w* each and hold *s* together, *n w - s* are still to come, whoever holds it. So each is taken
to hold *s / n*, worked out anew whenever something changes or somebody comes or goes. What a
request is still charged with at its end is the others', since it holds nothing any more.

What a share says of one request's need is a lower bound: see
:meth:`~tonnage.governor.costs.RouteCost.observe`. Does not read anything itself; the meter does
(:mod:`tonnage.web.meter`). Bounded by the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.governor.costs import NOISE_BYTES
from tonnage.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.governor.admission import Request

#: A step may change as much by itself, at any time: not worth asking who is in a thread.
SMALL_BYTES: Final = 256 * KIB


class InThreads:
    """The requests that have work in a thread, and what they hold together."""

    def __init__(
        self,
        find: Callable[[], Iterable[Request]],
        grow: Callable[[Request, int], object],
    ) -> None:
        """Begin with nobody.

        Args:
            find: the requests that have work in a thread just now.
            grow: charges a request with bytes, or takes them off.
        """
        self._find = find
        self._grow = grow
        self._members: frozenset[Request] = frozenset()
        self._held_bytes = 0

    def charge(self, delta_bytes: int) -> None:
        """Share what has grown while no step was running."""
        members = frozenset(self._find())
        if members == self._members:
            if members and delta_bytes:
                self._hold(self._held_bytes + delta_bytes)
            return
        # Whoever leaves is charged with its share until it comes again or ends, as it may hold a
        # result that it has yet to send.
        self._held_bytes -= sum(request.shared_bytes for request in self._members - members)
        self._held_bytes += sum(request.shared_bytes for request in members - self._members)
        self._members = members
        self._hold(self._held_bytes + delta_bytes if members else 0)

    def end(self, request: Request) -> None:
        """Give back to the others what *request*, which has ended, was charged with for them.

        Not where that was little: what it has left behind for good, as in a cache, stays its own.
        """
        if self._members and request.later_worst_bytes > NOISE_BYTES:
            self._hold(self._held_bytes + request.shared_bytes)

    def take(self, request: Request, delta_bytes: int) -> int:
        """Charge what of a growth within a step of *request* was a thread's; return what was not.

        A thread can have its turn in the middle of a step, as where the step writes to a socket. A
        request whose own work is done in threads allocates little in its steps; and none can free
        what it does not hold.
        """
        if abs(delta_bytes) < SMALL_BYTES:
            return delta_bytes
        members = set(self._find())
        works_in_threads = request.was_in_thread or request in members
        if not members - {request}:
            return delta_bytes
        if delta_bytes > 0:
            theirs = delta_bytes if works_in_threads else 0
        else:
            own_bytes = int(request.taken_bytes()) - request.shared_bytes
            theirs = min(0, max(0, own_bytes) + delta_bytes)
        if theirs:
            self.charge(theirs)
        return delta_bytes - theirs

    def _hold(self, size_bytes: int) -> None:
        # Less than nothing for a moment: who has just left has a share in what was freed since.
        self._held_bytes = size_bytes
        members = self._members
        for request in members:
            request.was_in_thread = True
            request.was_shared = request.was_shared or len(members) > 1
            self._share(request, max(0, size_bytes) // len(members))

    def _share(self, request: Request, size_bytes: int) -> None:
        if size_bytes != request.shared_bytes:
            self._grow(request, size_bytes - request.shared_bytes)
            request.shared_bytes = size_bytes
