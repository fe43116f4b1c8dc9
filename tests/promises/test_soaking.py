"""The parts of the soak that need no server: its timetable, its ledger, its trend, its verdicts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import httpx
import pytest
from benchmarks.soaking.asking import Broken, Tally, unexplained
from benchmarks.soaking.ledger import Claims
from benchmarks.soaking.timetable import timetable
from benchmarks.soaking.trend import Trend, floors, trend
from benchmarks.soaking.verdict import FLAT_BYTES_PER_HOUR, Found, verdicts

from tonnage.units import MIB

KINDS = ["no database", "killed worker", "leak"]


def test_the_timetable_has_every_kind_before_any_again() -> None:
    """And is the same for the same seed."""
    planned = timetable(KINDS, seconds=600, every_seconds=20, seed=1)

    assert len(planned) == 27
    for begin in range(0, 27, 3):
        assert {fault.kind for fault in planned[begin : begin + 3]} == set(KINDS)
    assert planned == timetable(KINDS, seconds=600, every_seconds=20, seed=1)
    assert planned != timetable(KINDS, seconds=600, every_seconds=20, seed=2)


@pytest.mark.parametrize("seconds", [24, 600, 1800])
def test_faults_come_one_at_a_time(seconds: float) -> None:
    """None in the first moments, none in the last, and none while another is there."""
    planned = timetable(KINDS, seconds=seconds, every_seconds=6, seed=3)

    assert planned[0].at_seconds >= min(30, seconds / 10)
    assert planned[-1].at_seconds + planned[-1].seconds <= seconds - min(30, seconds / 10)
    for one, other in pairwise(planned):
        assert one.at_seconds + one.seconds < other.at_seconds


def test_what_was_acknowledged_has_to_be_there() -> None:
    """What was asked for and not answered may be, and all else may not."""
    claims = Claims[str]()
    for key in ("kept", "lost", "unknown"):
        claims.ask(key)
    claims.acknowledge("kept")
    claims.acknowledge("lost")

    assert len(claims) == 2
    assert claims.faults(["kept", "lost"]) == []
    assert claims.faults(["kept", "lost", "unknown"]) == []
    assert claims.faults(["kept"]) == ["1 lost"]
    assert claims.faults(["kept", "lost", "lost"]) == ["1 twice"]
    assert claims.faults(["kept", "lost", "strange"]) == ["1 never asked for, or given back"]


def test_what_was_given_back_has_to_be_gone() -> None:
    """But not before that was acknowledged, too."""
    claims = Claims[str]()
    claims.ask("seat")
    claims.acknowledge("seat")

    claims.ask_back("seat")
    assert claims.faults([]) == claims.faults(["seat"]) == []

    claims.acknowledge_back("seat")
    assert claims.faults([]) == []
    assert claims.faults(["seat"]) == ["1 never asked for, or given back"]


def test_a_saw_is_flat_and_what_its_floor_gains_is_seen() -> None:
    """In half an hour, looked at twice a second: teeth of 100 MB in 100 s."""
    seconds = [number / 2 for number in range(3600)]
    saw = [(150 + (at % 100)) * MIB for at in seconds]
    flat = trend(seconds, [int(each) for each in saw])
    rising = trend(
        seconds, [int(y + at / 3600 * 60 * MIB) for at, y in zip(seconds, saw, strict=True)]
    )

    assert flat is not None
    assert flat.least <= 0 <= flat.most
    assert rising is not None
    assert rising.bytes_per_hour == pytest.approx(60 * MIB, rel=0.3)
    assert rising.least > 0


def test_a_short_run_has_no_trend() -> None:
    """Of a quarter of an hour ten minutes count: five floors."""
    seconds = [float(number) for number in range(901)]
    assert trend(seconds, [MIB] * len(seconds)) is None
    assert trend([], []) is None


def test_a_floor_is_the_least_of_each_whole_while() -> None:
    """With its moment."""
    points = [(0.0, 5), (60.0, 3), (119.0, 4), (120.0, 7), (180.0, 8), (240.0, 1)]
    assert floors(points) == [(60.0, 3), (120.0, 7)]


def test_a_request_may_break_with_a_killed_worker() -> None:
    """If it was under way, or sent before the connection was closed; not before, and not later."""
    before, during, dying, later = (
        Broken("GET /", began, ended)
        for began, ended in ((8.0, 9.0), (9.0, 11.0), (10.5, 10.6), (12.0, 13.0))
    )
    assert unexplained([before, during, dying, later], [10.0]) == [before, later]
    assert unexplained([during], []) == [during]


def test_a_refusal_has_to_say_when_to_come_again() -> None:
    """Any other status that nobody meant is no refusal."""
    tally = Tally()
    for status, headers in ((200, {}), (503, {"retry-after": "1"}), (429, {}), (500, {})):
        tally.note("GET /", httpx.Response(status, headers=headers, text="why"), (200,))

    assert (tally.total, tally.refused) == (4, 2)
    assert tally.bare == ["GET /: 429 why"]
    assert tally.unmeant == ["GET /: 500 why"]


GOOD = Found(
    kernel_kills=0,
    peak_bytes=400 * MIB,
    limit_bytes=512 * MIB,
    trend=Trend(MIB, -2 * MIB, 3 * MIB),
    last_level="OK",
    calm_after_seconds=1.0,
    tally=Tally(),
    kills=[10.0],
    health_answered=1000,
    health_failures=[Broken("GET /health", 10.1, 10.2)],
    acknowledged={"purchases": 5},
    stored={"purchases": []},
    oversold=0,
    exit_status=0,
)


def broken(found: Found) -> list[str]:
    """Return the promises that are broken."""
    return [each.promise for each in verdicts(found) if each.is_kept is False]


def test_all_is_kept_where_nothing_is_wrong() -> None:
    """A soak too short for a trend breaks nothing, and says that it is."""
    assert broken(GOOD) == []
    short = verdicts(replace(GOOD, trend=None))
    assert [each.row()[2] for each in short if each.is_kept is None] == ["cannot be told"]


def test_memory_is_not_called_flat_where_that_is_not_known() -> None:
    """An interval that holds both is no proof of either."""
    unknown = Trend(0, -FLAT_BYTES_PER_HOUR, 2 * FLAT_BYTES_PER_HOUR)
    (told,) = [each for each in verdicts(replace(GOOD, trend=unknown)) if "memory" in each.promise]
    assert told.is_kept is None


GROWING = Trend(2 * FLAT_BYTES_PER_HOUR, FLAT_BYTES_PER_HOUR + 1, 3 * FLAT_BYTES_PER_HOUR)


@pytest.mark.parametrize(
    "worse",
    [
        {"kernel_kills": 1},
        {"stored": {"purchases": ["1 lost"]}},
        {"acknowledged": {"purchases": 0}},
        {"oversold": 1},
        {"trend": GROWING},
        {"last_level": "WARNING"},
        {"tally": Tally(bare=["GET /: 503"])},
        {"tally": Tally(unmeant=["GET /: 500"])},
        {"tally": Tally(broken=[Broken("GET /", 1.0, 2.0)])},
        {"health_failures": [Broken("GET /health", 1.0, 2.0)]},
        {"exit_status": 1},
    ],
    ids=lambda worse: next(iter(worse)),
)
def test_each_promise_can_be_broken(worse: dict[str, object]) -> None:
    """One at a time."""
    assert len(broken(replace(GOOD, **worse))) == 1  # type: ignore[arg-type]
