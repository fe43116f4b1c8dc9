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
        # Less than nothing where what those who have left are charged with is free already; never
        # by more than that.
        self._held_bytes = 0
        # Those who have left and not ended; bounded by what is in flight.
        self._left: set[Request] = set()

    def charge(self, delta_bytes: int) -> None:
        """Share what has grown while no step was running."""
        members = frozenset(self._find())
        if members == self._members:
            if delta_bytes and (members or self._left):
                self._change(delta_bytes)
            return
        # Whoever leaves is charged with its share until it comes again or ends, as it may hold a
        # result that it has yet to send. Of one that has ended it is the others'.
        left = {request for request in self._members - members if not _is_over(request)}
        self._held_bytes -= sum(request.shared_bytes for request in left)
        self._held_bytes += sum(request.shared_bytes for request in members & self._left)
        self._left = (self._left | left) - members
        self._members = members
        self._change(delta_bytes)

    def end(self, request: Request) -> None:
        """Give back to the others what *request*, which has ended, was charged with for them.

        Not where that was little: what it has left behind for good, as in a cache, stays its own.
        """
        if request not in self._left:
            return
        self._left.remove(request)
        was_little = request.later_worst_bytes <= NOISE_BYTES
        self._hold(self._held_bytes + (0 if was_little else request.shared_bytes))

    def take(self, request: Request, delta_bytes: int) -> int:
        """Charge what of a growth within a step of *request* was a thread's; return what was not.

        A thread can have its turn in the middle of a step, as where the step writes to a socket. A
        request whose own work is done in threads allocates little in its steps; and none can free
        what it does not hold.
        """
        if abs(delta_bytes) < SMALL_BYTES:
            return delta_bytes
        members = set(self._find())
        in_threads = members - {request}
        if not in_threads and not self._left - {request}:
            return delta_bytes
        if delta_bytes > 0:
            works_in_threads = request.was_in_thread or request in members
            theirs = delta_bytes if in_threads and works_in_threads else 0
        else:
            own_bytes = int(request.taken_bytes()) - request.shared_bytes
            theirs = min(0, max(0, own_bytes) + delta_bytes)
        if theirs:
            self.charge(theirs)
        return delta_bytes - theirs

    def _change(self, delta_bytes: int) -> None:
        # What grows while nobody is in a thread is nobody's.
        self._hold(self._held_bytes + (delta_bytes if self._members else min(0, delta_bytes)))

    def _hold(self, size_bytes: int) -> None:
        # Whoever has left has a share in what was freed since, and that comes back with its end:
        # forgotten, it would count as held by those who are there then, and be missing from what is
        # kept free for them.
        charged_bytes = sum(request.shared_bytes for request in self._left)
        members = self._members
        self._held_bytes = max(size_bytes, -charged_bytes)
        if not members:
            self._held_bytes = min(0, self._held_bytes)
        for request in members:
            request.was_in_thread = True
            request.was_shared = request.was_shared or len(members) > 1
            self._share(request, max(0, size_bytes) // len(members))

    def _share(self, request: Request, size_bytes: int) -> None:
        if size_bytes != request.shared_bytes:
            self._grow(request, size_bytes - request.shared_bytes)
            request.shared_bytes = size_bytes


def _is_over(request: Request) -> bool:
    return request.has_ended and not request.threads
