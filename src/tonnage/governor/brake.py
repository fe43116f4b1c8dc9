"""The brake: who is stopped, and for how long, when memory is about to run out.

Admission holds back what can be foreseen, and the fuse bounds what a worker can allocate. What
neither sees is left to the brake: shared memory, a child process, pages reserved long ago, a worker
without a fuse. It stops the one process that grows fastest, lets the others shrink, and then lets
it go on, or ends it.

Covers the decisions, from speeds and sizes. Does not cover signals and looking for processes
(:mod:`tonnage.server.braking`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Free memory that would run out within this time is as good as gone: it takes a few milliseconds
#: to stop a process, some tens to make the others give back, and a Python allocator fills 60 to
#: 200 MB in this time (240 to 780 MiB/s were measured).
HORIZON_SECONDS: Final = 0.25
#: A worker that has grown by so much beyond what its requests were promised grows unexpectedly.
LEAST_EXCESS_BYTES: Final = 4 * MIB
#: What is not the workers' own trembles by a few MB; growth up to this is none.
LEAST_OUTSIDE_BYTES: Final = 16 * MIB
#: Slower growth is left to reclaim and recycling.
LEAST_BYTES_PER_SECOND: Final = 32 * MIB
#: Who accounts for less than this share of the growth is not its cause.
LEAST_SHARE: Final = 0.25

#: A worker that holds less than this beyond what was promised is not ended.
WORTH_ENDING_BYTES: Final = 24 * MIB

#: How long a stopped process may wait for the others to shrink.
PATIENCE_SECONDS: Final = 0.25
#: The same for a program that the application has started.
PROGRAM_PATIENCE_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Mover:
    """A process that may be growing.

    Attributes:
        pid: the process.
        index: the slot of the worker that it is; None for any other process of ours.
        bytes_per_second: how fast it grows.
        bound_bytes: what it can still grow by, where a fuse bounds it; None: nothing does.
        excess_bytes: what it has grown by beyond what its requests were promised.
    """

    pid: int
    index: int | None
    bytes_per_second: float
    bound_bytes: int | None
    excess_bytes: int = 0

    @property
    def grows_unexpectedly(self) -> bool:
        """Whether it has grown beyond what its requests were promised."""
        return self.excess_bytes >= LEAST_EXCESS_BYTES


@dataclass(frozen=True, slots=True)
class Danger:
    """Memory is about to run out.

    Attributes:
        seconds: in how long, at the present speed.
        outside: whether what grows is not the workers' own memory.
    """

    seconds: float
    outside: bool


def danger(
    free_bytes: int,
    bytes_per_second: float,
    outside_bytes_per_second: float,
    floor_bytes: int,
    workers: Sequence[Mover],
) -> Danger | None:
    """Return what threatens, if anything does.

    Args:
        free_bytes: what is left to the limit.
        bytes_per_second: how fast use grows.
        outside_bytes_per_second: how fast grows what is not the workers' own.
        floor_bytes: what must stay free.
        workers: every worker.

    What was promised is no danger, however fast it is taken, nor is what a fuse will stop in time.
    """
    # The fuses together leave the floor free, so what they hold does not come below half of it.
    least_bytes = floor_bytes / 2
    if free_bytes >= least_bytes and bytes_per_second < LEAST_BYTES_PER_SECOND:
        return None
    inside = 0.0
    for worker in workers:
        if worker.grows_unexpectedly:
            growth = worker.bytes_per_second * HORIZON_SECONDS
            is_bounded = worker.bound_bytes is not None and free_bytes >= least_bytes
            inside += min(growth, worker.bound_bytes or 0) if is_bounded else growth
    outside = outside_bytes_per_second * HORIZON_SECONDS
    if inside + outside <= max(0.0, free_bytes - least_bytes):
        return None
    return Danger(max(0.0, free_bytes / max(bytes_per_second, 1.0)), outside > inside)


def victim(movers: Sequence[Mover], bytes_per_second: float) -> Mover | None:
    """Return who grows fastest, if that one causes the growth; never one that does not grow.

    Nor a worker that grows by what its requests were promised.
    """
    growing = [
        mover
        for mover in movers
        if mover.bytes_per_second and (mover.index is None or mover.grows_unexpectedly)
    ]
    fastest = max(growing, key=lambda mover: mover.bytes_per_second, default=None)
    if fastest is None or fastest.bytes_per_second < LEAST_SHARE * bytes_per_second:
        return None
    return fastest


class Then(Enum):
    """What becomes of a stopped process."""

    WAIT = "wait"
    RESUME = "resume"
    END = "end"


def after_stop(
    mover: Mover, *, stopped_seconds: float, free_bytes: int, needed_bytes: int, floor_bytes: int
) -> Then:
    """Return what to do with a process that was stopped.

    Args:
        mover: the process, as it is now.
        stopped_seconds: for how long it has been.
        free_bytes: what is free now.
        needed_bytes: what must be free for it to go on whatever it is.
        floor_bytes: what must stay free.

    It goes on where its fuse bounds it within what is free. A worker that has taken little is not
    ended: it happened to be there while another took the last memory.
    """
    if free_bytes >= needed_bytes:
        return Then.RESUME
    if mover.bound_bytes is not None and mover.bound_bytes <= free_bytes - floor_bytes / 2:
        return Then.RESUME
    # No request but its own waits for a program that the application has started.
    patience = PATIENCE_SECONDS if mover.index is not None else PROGRAM_PATIENCE_SECONDS
    if stopped_seconds < patience and free_bytes > floor_bytes:
        return Then.WAIT
    is_guilty = mover.index is None or mover.excess_bytes >= WORTH_ENDING_BYTES
    return Then.END if is_guilty else Then.RESUME
