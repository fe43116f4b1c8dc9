"""What threads hold is shared among who works in them, and the sum is what there is."""

from __future__ import annotations

from tonnage.governor.admission import Request
from tonnage.governor.costs import RouteCost
from tonnage.units import MIB
from tonnage.web.inthreads import InThreads


class Threads:
    """Requests that come into threads and leave them."""

    def __init__(self) -> None:
        self.busy: set[Request] = set()
        self.shared = InThreads(lambda: self.busy, lambda request, size: request.grow(size))
        self._route = RouteCost("GET /", memoryview(bytearray(16 * 8)).cast("d"))

    def come(self) -> Request:
        """Return a request that has work in a thread from now on."""
        request = Request(self._route, 0.0, first_done=True)
        self.busy.add(request)
        self.shared.charge(0)
        return request

    def leave(self, request: Request) -> None:
        """Have its work be done."""
        self.busy.remove(request)
        self.shared.charge(0)

    def end(self, request: Request) -> None:
        """Have it end."""
        request.has_ended = True
        self.shared.end(request)


def test_what_is_free_by_the_end_of_who_had_a_share_in_it_is_nobodys() -> None:
    """The share of who is answered comes back to nobody once it is free."""
    threads = Threads()
    first, second = threads.come(), threads.come()
    threads.shared.charge(16 * MIB)
    assert first.taken_bytes() == second.taken_bytes() == 8 * MIB

    # The block was the second one's, and is freed while the first one is answered.
    threads.leave(first)
    threads.shared.charge(-16 * MIB)
    threads.leave(second)
    third = threads.come()
    threads.end(first)
    assert third.taken_bytes() == 0

    # All that it allocates is its own.
    threads.shared.charge(16 * MIB)
    assert third.taken_bytes() == 16 * MIB


def test_what_is_freed_while_nobody_is_in_a_thread_was_of_those_who_were() -> None:
    """It is not given to those who come before they end."""
    threads = Threads()
    first = threads.come()
    threads.shared.charge(16 * MIB)
    threads.leave(first)
    threads.shared.charge(-16 * MIB)
    second = threads.come()
    threads.end(first)
    assert second.taken_bytes() == 0


def test_what_others_free_is_no_debt_of_those_who_come_later() -> None:
    """No more is owed than those who have left are charged with."""
    threads = Threads()
    first = threads.come()
    threads.shared.charge(4 * MIB)
    # A cache was emptied meanwhile.
    threads.shared.charge(-64 * MIB)
    threads.leave(first)
    threads.end(first)
    second = threads.come()
    threads.shared.charge(16 * MIB)
    assert second.taken_bytes() == 16 * MIB


def test_who_ends_before_its_thread_leaves_its_share_to_the_others() -> None:
    """And once only."""
    threads = Threads()
    first, second = threads.come(), threads.come()
    threads.shared.charge(16 * MIB)
    threads.end(first)
    threads.leave(first)
    assert second.taken_bytes() == 16 * MIB
    threads.shared.charge(-16 * MIB)
    assert second.taken_bytes() == 0
