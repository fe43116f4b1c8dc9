"""Where each worker's fuse belongs: whom it stops, and whom it never meets."""

from __future__ import annotations

import pytest

from tonnage.governor.fuse import SLACK_BYTES, Growth, Strand, fuses
from tonnage.units import MIB

SLACK_MB = SLACK_BYTES // MIB


def strand(
    data: float = 50,
    *,
    untouched: float = 0,
    told: float | None = None,
    per_second: float = 0,
    promised: float = 0,
    most: float | None = None,
    fuse: float = 0,
) -> Strand:
    """Return a worker; sizes in MB. It has told of itself just now unless *told* says otherwise."""
    return Strand(
        data_bytes=int(data * MIB),
        untouched_bytes=int(untouched * MIB),
        told_bytes=int((data if told is None else told) * MIB),
        bytes_per_second=per_second * MIB,
        promised_bytes=int(promised * MIB),
        most_bytes=None if most is None else int(most * MIB),
        fuse_bytes=int(fuse * MIB),
    )


def fuses_mb(strands: list[Strand], free: float, claimed: float = 0) -> list[float]:
    """Return the fuses in MB, where so many MB are free, and so many that others were promised."""
    return [found / MIB for found in fuses(strands, int(free * MIB), int(claimed * MIB))]


def allowed_mb(strands: list[Strand], free: float, claimed: float = 0) -> list[float]:
    """Return how many MB each worker may still grow by."""
    found = zip(strands, fuses_mb(strands, free, claimed), strict=True)
    return [fuse - worker.data_bytes / MIB for worker, fuse in found]


def test_a_worker_alone_may_use_all_that_is_free() -> None:
    """Whether it grows or not."""
    assert fuses_mb([strand(50)], 200) == [250]
    assert fuses_mb([strand(50, per_second=400, fuse=250)], 200) == [250]


def test_the_fuse_of_a_burst_stays_where_it_is_while_it_grows() -> None:
    """What it takes is gone from what is free, so the sum does not change: there it stops."""
    found, fuse = [], 250.0
    for grown in range(0, 200, 8):
        burst = strand(50 + grown, told=50, per_second=400, fuse=fuse)
        (fuse,) = fuses_mb([burst], 200 - grown)
        found.append(fuse)

    assert set(found) == {250}


@pytest.mark.parametrize("free", [0, 1, 10, 40, 100, 300])
@pytest.mark.parametrize(
    "workers",
    [
        [strand(50), strand(60)],
        [strand(50, per_second=400, fuse=900), strand(60, fuse=900)],
        [strand(50, per_second=400), strand(60, per_second=100), strand(70)],
        [strand(50, promised=30, fuse=900), strand(60, promised=50, per_second=400, fuse=900)],
        [strand(90, told=50, per_second=400, fuse=900), strand(60, fuse=900), strand(70)],
        [strand(90, told=50, per_second=900), strand(99, told=60, per_second=90), strand(70)],
    ],
    ids=["quiet", "one burst", "two bursts", "promises", "one that grew", "two that grew"],
)
def test_together_they_never_allow_more_than_is_free(workers: list[Strand], free: float) -> None:
    """Also if all of them begin to grow at once, and the next look comes late."""
    assert sum(allowed_mb(workers, free)) <= free


def test_who_grows_has_most_of_what_is_free() -> None:
    """Nearly all, while it grows alone; of two, more who grows faster."""
    burst, quiet = allowed_mb([strand(50, per_second=600), strand(60)], 200)
    assert burst > 0.8 * 200
    assert quiet >= SLACK_MB

    faster, slower = allowed_mb([strand(50, per_second=300), strand(80, per_second=100)], 200)
    assert faster > 2 * slower


def test_an_innocent_worker_keeps_what_it_was_promised_and_slack() -> None:
    """While another's burst takes all that is left."""
    innocent = strand(60, promised=20, fuse=300)
    burst = strand(200, told=50, per_second=400, fuse=300)

    found, _ = fuses_mb([innocent, burst], 20 + 2 * SLACK_MB)

    assert found >= 60 + 20 + SLACK_MB


@pytest.mark.parametrize("step", [1, 3, 8, 40])
def test_a_burst_does_not_eat_the_slack_of_others_bit_by_bit(step: float) -> None:
    """However often is looked while it grows, and however much it took until then."""
    free, burst_mb, fuse, quiet_fuse = 200.0, 50.0, 0.0, 0.0
    for _ in range(400):
        burst = strand(burst_mb, told=50, per_second=400, fuse=fuse)
        fuse, quiet_fuse = fuses_mb([burst, strand(60, fuse=quiet_fuse)], free)
        grown = min(step, fuse - burst_mb)
        burst_mb, free = burst_mb + grown, free - grown

    assert fuse == burst_mb
    assert quiet_fuse >= 60 + SLACK_MB
    assert free >= SLACK_MB


def test_of_two_bursts_the_slower_has_some_room_too() -> None:
    """Other requests of that worker go on, where it grows in a thread."""
    fast, slow = strand(150, told=50, per_second=2400), strand(150, told=50, per_second=200)

    found = allowed_mb([fast, slow], 60)

    assert min(found) >= SLACK_MB
    assert sum(found) <= 60


def test_two_bursts_leave_the_slack_of_one() -> None:
    """Who fails first has let go of its own, while the other goes on growing."""
    fast, slow = strand(150, told=50, per_second=250), strand(150, told=50, per_second=240)

    for free in (16, 30, 60, 200):
        assert sum(allowed_mb([fast, slow], free)) <= free - SLACK_MB


def test_what_others_were_promised_is_not_the_bursts() -> None:
    """It may take what is free beyond that."""
    innocent, burst = strand(60, promised=30, fuse=300), strand(100, per_second=400, fuse=300)

    _, found = allowed_mb([innocent, burst], 100)

    assert 0 < found <= 70


def test_what_a_worker_grows_by_uses_its_promise_up() -> None:
    """Until it tells of itself again; then what it is promised is counted from there."""
    assert strand(50, promised=40).granted_bytes == 40 * MIB
    assert strand(80, told=50, promised=40).granted_bytes == 10 * MIB
    assert strand(120, told=50, promised=40).granted_bytes == 0
    assert strand(40, told=50, promised=40).granted_bytes == 40 * MIB


def test_slack_raises_nobodys_fuse() -> None:
    """Who grows up to its fuse is not given slack anew whenever it tells of itself."""
    spent = strand(190, told=190, per_second=400, fuse=200)

    assert fuses_mb([spent], 4) <= [200]


def test_what_is_reserved_and_not_touched_is_taken_off_what_is_free() -> None:
    """Whoever has reserved it: it can be touched at any moment, and no limit would be met."""
    assert fuses_mb([strand(50, untouched=30, fuse=300)], 100) == [120]

    reserved, other = allowed_mb([strand(50, untouched=30), strand(60)], 100)
    assert reserved + 30 + other <= 100


def test_an_innocent_request_has_its_memory_beside_a_job_that_may_come_for_all_of_it() -> None:
    """What the job has not taken is free; a log-in of 19 MB, and a thread, are let have of it."""
    (found,) = allowed_mb([strand(90, promised=19, fuse=300)], -20, claimed=150)

    assert found == 19 + SLACK_MB


def test_what_is_reserved_and_not_touched_leaves_promises_and_slack_whole() -> None:
    """The stacks of a library's threads are not what a request was promised."""
    (found,) = allowed_mb([strand(90, untouched=110, promised=19, fuse=300)], 110)

    assert found == 19 + SLACK_MB


def test_slack_comes_back_to_who_grows_slowly_beside_a_job() -> None:
    """By a thread now, by a page of a cache then: it would meet its fuse otherwise."""
    assert allowed_mb([strand(100, per_second=2, fuse=101)], -20, claimed=150) == [SLACK_MB]


def test_the_last_of_what_others_may_come_for_is_not_lent() -> None:
    """Where little is free, who has a claim on it may be just about to take it."""
    assert allowed_mb([strand(90, untouched=30, promised=19, fuse=300)], 30) == [0]
    assert allowed_mb([strand(90, promised=19, fuse=300)], -20, claimed=50) == [0]


@pytest.mark.parametrize("claimed", [0, 40, 90, 300])
@pytest.mark.parametrize("free", [-90, -10, 0, 10, 40, 100, 300])
@pytest.mark.parametrize(
    "workers",
    [
        [strand(50, promised=400, fuse=900)],
        [strand(50, promised=30, untouched=40), strand(60, promised=50, per_second=400, fuse=900)],
        [strand(50), strand(60, untouched=90, fuse=70), strand(70, per_second=300)],
    ],
    ids=["one", "two", "three"],
)
def test_what_is_lent_is_free(workers: list[Strand], free: float, claimed: float) -> None:
    """Together they may never grow by more than there is, whoever has a claim on it."""
    assert sum(allowed_mb(workers, free, claimed)) <= max(0, free + claimed)


@pytest.mark.parametrize("claimed", [0, 20, 60, 150])
def test_a_burst_has_no_more_of_what_jobs_were_promised_than_its_slack(claimed: float) -> None:
    """Though it tells of itself after each step, as a thread beside the event loop does."""
    burst_mb, free, fuse = 50.0, 0.0, 300.0
    for _ in range(100):
        burst = strand(burst_mb, per_second=400, fuse=fuse)
        (fuse,) = fuses_mb([burst], free, claimed)
        grown = min(8, fuse - burst_mb)
        burst_mb, free = burst_mb + grown, free - grown

    assert burst_mb <= 50 + SLACK_MB


def test_a_promise_raises_the_fuse() -> None:
    """Who was promised memory that is there is to have it."""
    assert fuses_mb([strand(190, promised=20, fuse=200)], 20) == [210]


@pytest.mark.parametrize("fuse", [0, 100, 400])
def test_worker_memory_bounds_the_fuse(fuse: float) -> None:
    """However much is free, whatever it was promised, and wherever its fuse was."""
    assert fuses_mb([strand(50, promised=80, most=120, fuse=fuse)], 400) == [120]


def test_a_fuse_rises_as_soon_as_memory_comes_free() -> None:
    """The next request is to have it."""
    assert fuses_mb([strand(50, fuse=100)], 300) == [350]


def test_where_nothing_is_free_nobody_may_grow() -> None:
    """Nor where less than nothing is; what a worker has is not taken from it."""
    for free in (0, -50):
        assert fuses_mb([strand(50, fuse=300), strand(60)], free) == [50, 60]


def test_without_workers_there_are_no_fuses() -> None:
    """While the first one starts."""
    assert fuses([], 100 * MIB) == []


def test_speed_is_taken_over_a_while() -> None:
    """One arena of the allocator, seen a millisecond later, is no burst of a gigabyte a second."""
    growth = Growth(100, 0.0)

    growth.note(150, 0.001)
    assert (growth.bytes_per_second, growth.now_bytes) == (0.0, 150)
    growth.note(200, 0.02)
    assert growth.bytes_per_second == pytest.approx(5000)


def test_what_shrinks_does_not_grow() -> None:
    """A speed is never negative."""
    growth = Growth(1000, 0.0)
    growth.note(100, 0.1)

    assert growth.bytes_per_second == 0.0
    assert growth.grown_bytes == 0


def test_what_has_grown_is_counted_from_a_moment_ago() -> None:
    """From the least within it; what was long before is forgotten."""
    growth = Growth(100, 0.0)
    for at, value in ((0.1, 60), (0.4, 200), (0.6, 300)):
        growth.note(value, at)
    assert (growth.before_bytes, growth.grown_bytes) == (60, 240)

    for at in (1.2, 1.8):
        growth.note(300, at)
    assert growth.grown_bytes == 0
