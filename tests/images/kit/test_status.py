"""How far a job is, as it is told; no I/O."""

from __future__ import annotations

import json

import pytest

from tonnage.images.kit.status import BEAT_SECONDS, LOST_SECONDS, Made, State, Status
from tonnage.problem import Problem

MADE = Made("image/png", 4, 3, 100, "tag")
NEW = Status("id", State.WAITING, 1000.0, about="ann", place=2)
RUNNING = NEW.running(1001.0)
DONE = RUNNING.done(1002.0, MADE, until=1602.0)
STORING = RUNNING.storing(1001.5)
FAILED = RUNNING.failed(1002.0, Problem(500, "job_failed", "it failed"))


@pytest.mark.parametrize("status", [NEW, RUNNING, STORING, DONE, FAILED, RUNNING.cancelled(1002.0)])
def test_it_comes_back_from_json(status: Status) -> None:
    """The same, types included."""
    assert Status.from_fields(json.loads(json.dumps(status.as_fields()))) == status


@pytest.mark.parametrize(
    ("status", "after_seconds", "expected"),
    [
        (NEW, LOST_SECONDS, State.WAITING),
        (NEW, LOST_SECONDS + 1, State.FAILED),
        (RUNNING, LOST_SECONDS + 1, State.FAILED),
        (FAILED, 10 * LOST_SECONDS, State.FAILED),
        (DONE, 599.0, State.DONE),
        (DONE, 600.0, State.EXPIRED),
    ],
)
def test_time_passes(status: Status, after_seconds: float, expected: State) -> None:
    """A worker that is silent is gone, and so is its job; pictures are kept for a while."""
    assert status.as_of(status.at + after_seconds).state is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (NEW, State.CANCELLED),
        (RUNNING, State.CANCELLED),
        (STORING, State.RUNNING),
        (STORING.done(1002.0, MADE, until=1602.0), State.EXPIRED),
        # Somebody wanted it gone before: afterwards nobody can.
        (FAILED, State.CANCELLED),
    ],
)
def test_nobody_wants_it(status: Status, expected: State) -> None:
    """It is ended, unless its picture is there or just being stored."""
    unwanted = status.when_unwanted()
    assert (unwanted.state, unwanted.about) == (expected, "ann")


def test_a_worker_may_miss_a_beat() -> None:
    """Being lost takes several."""
    assert 3 * BEAT_SECONDS <= LOST_SECONDS
    assert NEW.alive(2000.0).as_of(2000.0 + LOST_SECONDS).state is State.WAITING


def test_each_change_has_a_number_of_its_own() -> None:
    """By which clients know what they have heard; being alive is no change."""
    assert [each.version for each in (NEW, NEW.alive(1.0), RUNNING, STORING)] == [0, 0, 1, 1]
    assert DONE.version == 2
    assert DONE.as_of(9999.0).version == 3


def test_what_is_told_fits_the_state() -> None:
    """A place while it waits, the picture when it is done, the reason if it failed."""
    assert NEW.described() == {"id": "id", "status": "waiting", "place": 2}
    assert RUNNING.described() == STORING.described() == {"id": "id", "status": "running"}
    assert DONE.described()["picture"] == {
        "type": "image/png",
        "width": 4,
        "height": 3,
        "bytes": 100,
    }
    assert FAILED.described()["problem"]["detail"] == "it failed"
