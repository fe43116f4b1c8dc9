"""When memory is about to run out, who is stopped, and what becomes of that one."""

from __future__ import annotations

import pytest

from tonnage.governor.brake import (
    HORIZON_SECONDS,
    LEASH_AFTER_SECONDS,
    LEASH_BYTES_PER_SECOND,
    LEASH_SECONDS,
    LEAST_BYTES_PER_SECOND,
    LEAST_EXCESS_BYTES,
    PATIENCE_SECONDS,
    PAUSE_SECONDS,
    PROGRAM_PATIENCE_SECONDS,
    QUIET_SECONDS,
    WORTH_ENDING_BYTES,
    Danger,
    Mover,
    Then,
    after_stop,
    danger,
    on_leash,
    victim,
)
from tonnage.units import MIB

FLOOR_BYTES = 16 * MIB


def worker(
    index: int, per_second: float, *, bound: float | None = None, excess: float = 64
) -> Mover:
    """Return a worker that grows by so many MB a second, up to so many MB.

    It has grown by *excess* MB more than it was promised.
    """
    bound_bytes = None if bound is None else int(bound * MIB)
    return Mover(1000 + index, index, per_second * MIB, bound_bytes, int(excess * MIB))


def threat(free: float, workers: list[Mover], *, outside: float = 0) -> Danger | None:
    """Return the danger where so many MB are free and *outside* MB a second are nobody's."""
    total = outside * MIB + sum(each.bytes_per_second for each in workers)
    return danger(int(free * MIB), total, outside * MIB, FLOOR_BYTES, workers)


@pytest.mark.parametrize(
    ("free", "workers", "is_danger"),
    [
        (40, [worker(0, 400)], True),
        (400, [worker(0, 400)], False),
        # 100 MB come within the horizon, and half the floor is kept.
        (108, [worker(0, 400)], False),
        (107, [worker(0, 400)], True),
        # Two that nothing bounds, each of them slow enough.
        (60, [worker(0, 120), worker(1, 120)], True),
        # Slow growth is for reclaim and recycling, however little is left.
        (9, [worker(0, 31)], False),
        (-5, [worker(0, 400)], True),
    ],
)
def test_it_is_danger_if_free_memory_ends_within_the_horizon(
    free: float, workers: list[Mover], is_danger: bool
) -> None:
    """As far as nothing else stops it."""
    assert (HORIZON_SECONDS, LEAST_BYTES_PER_SECOND) == (0.25, 32 * MIB)

    assert (threat(free, workers) is not None) is is_danger


@pytest.mark.parametrize(("bound", "is_danger"), [(32, False), (33, True), (None, True)])
def test_what_a_fuse_will_stop_is_no_danger(bound: float | None, is_danger: bool) -> None:
    """However fast it comes; a fuse that is too high for what is free does not help."""
    assert (threat(40, [worker(0, 1000, bound=bound)]) is not None) is is_danger


@pytest.mark.parametrize(("excess", "is_danger"), [(0, False), (3.9, False), (4, True)])
def test_what_was_promised_is_no_danger(excess: float, is_danger: bool) -> None:
    """A request may take what it was let in for as fast as it can."""
    assert LEAST_EXCESS_BYTES == 4 * MIB

    assert (threat(40, [worker(0, 1000, excess=excess)]) is not None) is is_danger


def test_growth_that_is_no_workers_is_danger() -> None:
    """Shared memory and child processes have no fuse and were promised nothing."""
    found = threat(80, [worker(0, 100, bound=10)], outside=400)

    assert found is not None
    assert found.outside
    assert found.seconds == pytest.approx(0.16)


def test_a_workers_own_growth_is_not_outside() -> None:
    """Then no other process is looked for, which takes time."""
    found = threat(40, [worker(0, 400)], outside=100)

    assert found is not None
    assert not found.outside


def test_danger_is_told_with_the_time_that_is_left() -> None:
    """None, where nothing is free any more."""
    found = threat(-1, [worker(0, 500)])

    assert found is not None
    assert found.seconds == 0


@pytest.mark.parametrize(
    ("per_second", "chosen"),
    [
        ([100, 400, 300], 1),
        # Nobody is its cause.
        ([100, 110, 120], None),
        ([0, 0, 0], None),
        ([125, 0, 0], 0),
        ([], None),
    ],
)
def test_the_one_that_grows_fastest_is_stopped(per_second: list[float], chosen: int | None) -> None:
    """If it causes a quarter of the growth at least: an innocent one is not stopped instead."""
    movers = [worker(index, speed) for index, speed in enumerate(per_second)]

    found = victim(movers, 500 * MIB)

    assert (None if found is None else found.index) == chosen


def test_who_does_not_grow_is_never_stopped() -> None:
    """Not even where use has just ceased to grow."""
    assert victim([worker(0, 0), worker(1, 0)], 0.0) is None


def test_who_grows_by_what_it_was_promised_is_not_stopped() -> None:
    """The fastest of those that do not is; a program was promised nothing, and may be."""
    granted, other = worker(0, 400, excess=3.9), worker(1, 200, excess=4)
    program = Mover(7, None, 300 * MIB, None)

    assert victim([granted, other], 600 * MIB) is other
    assert victim([granted, other, program], 600 * MIB) is program
    assert victim([granted], 600 * MIB) is None


STOPPED = worker(0, 400, excess=64)
FUSED = worker(0, 400, bound=30, excess=64)
INNOCENT = worker(0, 400, excess=WORTH_ENDING_BYTES / MIB - 1)
PROGRAM = Mover(7, None, 400 * MIB, None)


# So much must be free for these to go on while they are looked at.
NEAR_MB = 16 + LEASH_BYTES_PER_SECOND / MIB * LEASH_SECONDS


@pytest.mark.parametrize(
    ("mover", "seconds", "free", "then"),
    [
        (STOPPED, 0.0, 35, Then.WAIT),
        (STOPPED, PATIENCE_SECONDS - 0.01, 35, Then.WAIT),
        (STOPPED, PATIENCE_SECONDS, 35, Then.END),
        # The others take the very last: there is no time left.
        (STOPPED, 0.0, 16, Then.END),
        # What it wants may fit.
        (STOPPED, LEASH_AFTER_SECONDS - 0.01, NEAR_MB, Then.WAIT),
        (STOPPED, LEASH_AFTER_SECONDS, NEAR_MB, Then.LEASH),
        # The others have shrunk.
        (STOPPED, 0.0, 100, Then.LEASH),
        # What its fuse still allows fits into what is free; half the floor stays.
        (FUSED, 0.0, 38, Then.RESUME),
        (FUSED, 0.0, 35, Then.WAIT),
        (FUSED, PATIENCE_SECONDS, 35, Then.END),
        # It happened to be there.
        (INNOCENT, 0.0, 35, Then.WAIT),
        (INNOCENT, PATIENCE_SECONDS, 35, Then.RESUME),
        # Nobody but the request that started it waits for a program.
        (PROGRAM, PROGRAM_PATIENCE_SECONDS - 0.01, 35, Then.WAIT),
        (PROGRAM, PROGRAM_PATIENCE_SECONDS, 35, Then.END),
        (PROGRAM, PROGRAM_PATIENCE_SECONDS, 100, Then.LEASH),
        # It may be the faster from now on.
        (PROGRAM, PROGRAM_PATIENCE_SECONDS, 63, Then.END),
        (PROGRAM, PROGRAM_PATIENCE_SECONDS, 64, Then.LEASH),
    ],
)
def test_a_stopped_one_goes_on_once_there_is_room_or_ends(
    mover: Mover, seconds: float, free: float, then: Then
) -> None:
    """It waits for as long as patience lasts; who took little is not ended."""
    found = after_stop(
        mover,
        stopped_seconds=seconds,
        free_bytes=int(free * MIB),
        needed_bytes=100 * MIB,
        floor_bytes=FLOOR_BYTES,
    )

    assert found is then


@pytest.mark.parametrize(
    ("quiet_seconds", "free", "then"),
    [
        (0.0, NEAR_MB, Then.LEASH),
        (QUIET_SECONDS - 0.01, NEAR_MB, Then.LEASH),
        # It has what it wanted.
        (QUIET_SECONDS, NEAR_MB, Then.RESUME),
        (0.0, NEAR_MB - 1, Then.STOP),
        # Somebody else has taken that.
        (PAUSE_SECONDS, NEAR_MB - 1, Then.RESUME),
        # Twice what it could take within the horizon.
        (0.0, 16 + 200, Then.RESUME),
        (0.0, 16 + 199, Then.LEASH),
    ],
)
def test_one_on_a_leash_goes_on_until_little_is_free(
    quiet_seconds: float, free: float, then: Then
) -> None:
    """As long as it grows; a stopped process could not show that it has what it wanted."""
    found = on_leash(
        STOPPED,
        quiet_seconds=quiet_seconds,
        free_bytes=int(free * MIB),
        floor_bytes=FLOOR_BYTES,
    )

    assert found is then
