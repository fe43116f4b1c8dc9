"""How the time that a writer has for its end is shared out.

Promises: most of it is for delivering what is there; a part is kept for the sink, which has
connections to let go of, so that both together end in time. Pure.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Kept for the sink: so long at most, and so large a part of all of it.
SINK_SECONDS: Final = 2.0
SINK_SHARE: Final = 0.25
#: However late it is, the sink is closed: one that does not wait for anybody needs no longer.
LEAST_SECONDS: Final = 0.05


class Deadline:
    """When a writer has to be closed.

    Args:
        seconds: from now on.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at_seconds = clock() + seconds
        self._sink_seconds = min(SINK_SECONDS, seconds * SINK_SHARE)

    @property
    def for_delivering_seconds(self) -> float:
        """How long records may be delivered from now on; 0: no longer."""
        return max(0.0, self._at_seconds - self._sink_seconds - self._clock())

    @property
    def for_sink_seconds(self) -> float:
        """How long the sink may take from now on."""
        return max(LEAST_SECONDS, self._at_seconds - self._clock())
