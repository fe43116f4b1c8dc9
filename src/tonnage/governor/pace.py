"""When to look again: seldom while there is room, often while it is being filled.

The rule is earlyoom's: headroom divided by the speed at which it could be filled. Kernel
notifications (:mod:`tonnage.host.wakeups`) come on top; this pace holds where there are none.
"""

from __future__ import annotations

from tonnage.units import MIB

SHORTEST_SECONDS = 0.005
LONGEST_SECONDS = 1.0

# What is assumed to be possible although not yet seen. A pure Python allocator was measured at 240
# to 780 MiB/s; half of the lower figure keeps a quiet server at a few looks a second and is
# overruled by the measured speed as soon as memory really moves.
ASSUMED_BYTES_PER_SECOND = 120 * MIB

# Looks per filling: the sample must arrive well before the mark does.
SAFETY = 4.0


def next_look_seconds(
    headroom_bytes: int, growth_bytes_per_second: float, *, busy: bool = True
) -> float:
    """Return how long to wait before the next sample.

    Args:
        headroom_bytes: what is left to the limit.
        growth_bytes_per_second: how fast use has grown of late; shrinking counts as zero.
        busy: whether any connection is open; without, an eighth of the speed is assumed possible.
    """
    assumed = ASSUMED_BYTES_PER_SECOND if busy else ASSUMED_BYTES_PER_SECOND / 8
    speed = max(growth_bytes_per_second, assumed)
    wait = max(headroom_bytes, 0) / speed / SAFETY
    return min(max(wait, SHORTEST_SECONDS), LONGEST_SECONDS)
