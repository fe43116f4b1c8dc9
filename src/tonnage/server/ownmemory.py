"""What a worker holds, as it reads that of itself: for its meter, its ledger and its upkeep.

Three figures of the kernel's, from one file that stays open, and what the allocator keeps. Read at
each request's beginning and end, so it takes some microseconds and allocates next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.governor.ledger import Holding
from tonnage.host.processes import PAGE_BYTES, Statm, StatmSample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.governor.admission import Request
    from tonnage.governor.page import Slot
    from tonnage.host.malloc import Heap
    from tonnage.host.stacks import Stacks


class OwnMemory:
    """The memory of this process. The worker of *slot* has *heap*, and threads with *stacks*."""

    def __init__(self, slot: Slot, heap: Heap, stacks: Stacks) -> None:
        self._slot = slot
        self._heap = heap
        self._stacks = stacks
        self._statm = Statm()

    def holding(self) -> Holding:
        """Return what is held, and note in the slot what of it stacks have reserved."""
        stacks = self._stacks
        self._slot.stacks_bytes = stacks.reserved_bytes() + stacks.foreign_bytes()
        resident, shared, data = self._statm.pages()
        private_bytes = (resident - shared) * PAGE_BYTES
        return Holding(private_bytes, self._heap.kept_bytes(), data * PAGE_BYTES)

    def sample(self) -> StatmSample:
        """Return the kernel's figures of this moment."""
        return self._statm.read()

    def data_in_use(self) -> int:
        """Return the bytes of data that are in use: not free in the allocator, nor a stack.

        Free is also what a trim has handed back: it is filled again without growth of the data.
        """
        # A stack is no request's, although it is mapped while one asks for a thread.
        data_bytes = self._statm.pages()[2] * PAGE_BYTES
        return data_bytes - self._heap.free_bytes() - self._stacks.reserved_bytes()

    def besides(self, requests: Iterable[Request]) -> int:
        """Return what came since the start and is none of the running *requests*', in bytes."""
        explained = sum(request.grown_bytes for request in requests)
        return self.holding().private_bytes - self._slot.baseline_bytes - explained
