"""What the stacks of this process's threads reserve of its data.

RLIMIT_DATA counts a stack whole, however little of it is touched.
"""

from __future__ import annotations

import os
import resource
import threading
from contextlib import suppress
from typing import Final

from tonnage.units import MIB

# The default of 8 MB is never touched, but is counted by RLIMIT_DATA and RLIMIT_AS. Deep recursion
# in C (nested JSON, regular expressions) still has room in 1 MB.
STACK_BYTES = MIB
# Of threads that are not Python's, where the limit of stacks is none: what glibc takes then.
_FOREIGN_STACK_BYTES: Final = 2 * MIB


def bound_stacks() -> None:
    """Give threads that are started from now on a stack of :data:`STACK_BYTES`."""
    threading.stack_size(STACK_BYTES)


class Stacks:
    """What the stacks of this process's threads reserve of its data.

    Python touches some 40 to 100 KB of each. The C library keeps those of threads that have ended,
    and gives them to new ones.
    """

    # As many of 1 MB as glibc keeps: 40 MB (nptl/allocatestack.c, stack_cache_maxsize).
    _MOST_KEPT: Final = 40

    def __init__(self) -> None:
        """Begin; in the process whose threads these are."""
        self._mapped = 0
        soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
        self._foreign_bytes = _FOREIGN_STACK_BYTES if soft == resource.RLIM_INFINITY else soft
        # None: no /proc.
        self._tasks: int | None = None
        with suppress(OSError):
            self._tasks = os.open("/proc/self/task", os.O_RDONLY | os.O_CLOEXEC)

    def reserved_bytes(self) -> int:
        """Return what they reserve now, those that are kept among them."""
        active = threading.active_count()
        self._mapped = max(active, min(self._mapped, active + self._MOST_KEPT))
        return self._mapped * STACK_BYTES

    def foreign_bytes(self) -> int:
        """Return about what stacks of threads reserve that Python does not know.

        libuv starts four at the first look-up of a name, each with the default of 8 MB. One that
        has just ended in Python counts for a moment.
        """
        if self._tasks is None:
            return 0
        # A directory has two links more than it has directories in it: 1 us, and no list.
        foreign = os.fstat(self._tasks).st_nlink - 2 - threading.active_count()
        return max(0, foreign) * self._foreign_bytes
