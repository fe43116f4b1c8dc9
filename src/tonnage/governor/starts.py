"""Whether another worker may start: only where there is room for what a start takes.

What an application loads in its startup, such as a model in its lifespan, is not known before a
worker has become ready. So the first one starts alone, and each further one if it fits beside those
that serve. Where nobody serves, one starts whatever is free. Pure.
"""

from __future__ import annotations

from enum import Enum


class Start(Enum):
    """What is to become of a worker that is missing."""

    NOW = "now"
    #: When one that is starting has become ready: then it is known what a start takes.
    AFTER_THE_FIRST = "after the first"
    #: When so much is free.
    WITH_ROOM = "with room"


def judge_start(*, serving: int, starting: int, start_bytes: int, free_bytes: int) -> Start:
    """Return whether a worker that is missing may start.

    Args:
        serving: how many workers are ready.
        starting: how many are not yet.
        start_bytes: what a start needs; 0: no worker has become ready yet.
        free_bytes: what is left to the limit.
    """
    if not serving and not starting:
        return Start.NOW
    if not start_bytes:
        return Start.AFTER_THE_FIRST
    # Those that are starting may have taken part of what they need: counted twice rather than not.
    room_bytes = free_bytes - starting * start_bytes
    return Start.NOW if room_bytes >= start_bytes else Start.WITH_ROOM
