"""A process without room for another thread, as a worker at its memory limit is; and with it again.

For a forked child (:mod:`tests.support.forking`), since it stays so until that ends.
"""

from __future__ import annotations

import resource

from tonnage.host.processes import StatmSample
from tonnage.units import MIB
from tonnage.web.threadstart import make_room_for_threads

_LIMIT_BYTES = 1 << 40


class ThreadRoom:
    """Whether a thread can be started in this process; at first none can."""

    def __init__(self) -> None:
        self.is_there = False
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (_LIMIT_BYTES, hard))
        make_room_for_threads(self._read)

    def _read(self) -> StatmSample:
        return StatmSample(0, 0, 0 if self.is_there else _LIMIT_BYTES - MIB)
