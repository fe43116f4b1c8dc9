"""The brake: who is stopped, and for how long, when memory is about to run out.

Admission holds back what can be foreseen, and the fuse bounds what a worker can allocate. What
neither sees is left to the brake: shared memory, a child process, pages reserved long ago, a worker
without a fuse. It stops the one that grows fastest, lets the others shrink, and then lets it go on,
or ends it. One is a worker, or all programs of the application together: several that a request has
started take the last memory faster than they could be stopped one after another.

A stopped process cannot show that it has what it wanted. Where more is free than it takes in
:data:`LEASH_SECONDS` it therefore goes on, looked at all the time, as on a leash; it is ended only
where next to nothing is left.

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

#: Who is looked at all the time is stopped this long before memory runs out: ten looks.
LEASH_SECONDS: Final = 0.05
#: How soon it may go on like that; the others give back most within this time.
LEASH_AFTER_SECONDS: Final = 0.05
#: So fast it may grow at any time, whatever was seen: the faster of the allocators measured, and
#: the supervisor may be kept from looking for as long as several looks.
LEASH_BYTES_PER_SECOND: Final = 960 * MIB
#: Who has not grown for so long has what it wanted.
QUIET_SECONDS: Final = 0.25
#: Who has not grown for so long is not who grows just now.
PAUSE_SECONDS: Final = 0.03

#: How long a stopped process may wait for the others to shrink.
PATIENCE_SECONDS: Final = 0.25
#: The same for a program that the application has started.
PROGRAM_PATIENCE_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Mover:
    """A process that may be growing; or all programs of the application together.

    Attributes:
        pid: the process; of several, the largest.
        index: the slot of the worker that it is; None for programs.
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
    def most_bytes_per_second(self) -> float:
        """How fast it may grow at any time."""
        return max(self.bytes_per_second, LEASH_BYTES_PER_SECOND)

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
    """What becomes of a process that is stopped, or on a leash."""

    WAIT = "wait"
    RESUME = "resume"
    LEASH = "leash"
    STOP = "stop"
    END = "end"


def near_bytes(mover: Mover, floor_bytes: int) -> int:
    """Return how much must be free for *mover* to go on while it is looked at all the time."""
    return floor_bytes + int(mover.most_bytes_per_second * LEASH_SECONDS)


def after_stop(
    mover: Mover, *, stopped_seconds: float, free_bytes: int, needed_bytes: int, floor_bytes: int
) -> Then:
    """Return what to do with a process that was stopped.

    Args:
        mover: the process, as it is now.
        stopped_seconds: for how long it has been.
        free_bytes: what is free now.
        needed_bytes: what must be free for it to go on at once.
        floor_bytes: what must stay free.

    It goes on where its fuse bounds it within what is free. A worker that has taken little is not
    ended: it happened to be there while another took the last memory.
    """
    if mover.bound_bytes is not None and mover.bound_bytes <= free_bytes - floor_bytes / 2:
        return Then.RESUME
    if free_bytes >= near_bytes(mover, floor_bytes):
        is_time = stopped_seconds >= LEASH_AFTER_SECONDS or free_bytes >= needed_bytes
        return Then.LEASH if is_time else Then.WAIT
    # No request but its own waits for a program that the application has started.
    patience = PATIENCE_SECONDS if mover.index is not None else PROGRAM_PATIENCE_SECONDS
    if stopped_seconds < patience and free_bytes > floor_bytes:
        return Then.WAIT
    is_guilty = mover.index is None or mover.excess_bytes >= WORTH_ENDING_BYTES
    return Then.END if is_guilty else Then.RESUME


def on_leash(mover: Mover, *, quiet_seconds: float, free_bytes: int, floor_bytes: int) -> Then:
    """Return what to do with a process that goes on while it is looked at all the time.

    Args:
        mover: the process; its speed is the fastest that it was seen to have.
        quiet_seconds: since when it has not grown.
        free_bytes: what is free now.
        floor_bytes: what must stay free.

    It is let off once it has what it wanted, or so much is free that it is no danger.
    """
    horizon_bytes = mover.bytes_per_second * HORIZON_SECONDS
    is_far = free_bytes >= floor_bytes + 2 * horizon_bytes
    if is_far or quiet_seconds >= QUIET_SECONDS:
        return Then.RESUME
    if free_bytes >= near_bytes(mover, floor_bytes):
        return Then.LEASH
    # What somebody else takes is not held against it.
    return Then.STOP if quiet_seconds < PAUSE_SECONDS else Then.RESUME
