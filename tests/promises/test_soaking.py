"""The parts of the soak that need no server: its timetable, its ledger, its trend, its verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import httpx
import pytest
from benchmarks.soaking.asking import Broken, Tally, unexplained
from benchmarks.soaking.ledger import Claims, Ledger
from benchmarks.soaking.timetable import SETTLE_SECONDS, Spell, is_calm, timetable
from benchmarks.soaking.trend import Trend, floors, trend
from benchmarks.soaking.verdict import FLAT_SHARE, Found, unordered, verdicts

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


def test_it_is_calm_where_no_fault_is_felt() -> None:
    """A fault is felt for a while after its end; one that has not ended is felt still."""
    over, lasts = Spell("leak", 100.0, 110.0), Spell("leak", 200.0)
    settled = 110.0 + SETTLE_SECONDS

    assert is_calm([], 0.0, 1.0)
    assert is_calm([over, lasts], 98.0, 99.0)
    assert not is_calm([over], 99.0, 101.0)
    assert not is_calm([over], settled - 1.0, settled + 1.0)
    assert is_calm([over, lasts], settled + 1.0, 199.0)
    assert not is_calm([over, lasts], 199.0, 201.0)
    assert not is_calm([lasts], 1000.0, 1001.0)


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


def test_a_photo_may_fail_if_its_sender_is_told() -> None:
    """It may be there all the same; how many have failed is no kind of record."""
    ledger = Ledger()
    for number in (1, 2):
        ledger.photos.ask(number)
        ledger.photos.acknowledge(number)
    assert ledger.photos.faults([1]) == ["1 lost"]

    ledger.photos.ask_back(2)
    ledger.failures["jobs_busy"] += 1

    assert ledger.photos.faults([1]) == ledger.photos.faults([1, 2]) == []
    assert (ledger.acknowledged()["photos"], "failures" in ledger.acknowledged()) == (1, False)


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
    """Of eight minutes five and a third count: five floors."""
    seconds = [float(number) for number in range(481)]
    assert trend(seconds, [MIB] * len(seconds)) is None
    assert trend([], []) is None


def test_a_floor_is_the_lowest_tenth_of_each_whole_minute() -> None:
    """With its middle. What is lower for a moment is none: a worker that was killed."""
    points = [(float(at), 3 if at == 10 else 100 + at) for at in range(130)]
    assert floors(points) == [(30.0, 105), (90.0, 166)]


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
        answer = httpx.Response(status, headers=headers, text="why")
        tally.note("GET /", answer, (200,), is_calm=status != 503)

    assert (tally.total, tally.refused) == (4, 2)
    assert (tally.calm, tally.calm_refused) == (3, 1)
    assert tally.bare == ["GET /: 429 why"]
    assert tally.unmeant == ["GET /: 500 why"]


def test_deaths_are_explained_by_kills_and_by_nothing_else() -> None:
    """One that was killed while it was leaving is no death."""
    assert unordered({"signal": 3, "oom": 0}, kills=3) == 0
    assert unordered({"signal": 2}, kills=3) == 0
    assert unordered({"signal": 4}, kills=3) == 1
    assert unordered({"signal": 2, "crash": 1, "brake": 1}, kills=3) == 2


def tally(**worse: object) -> Tally:
    """Return what became of 20,000 requests: a half met no fault, and ten of these were refused."""
    good = Tally(statuses=Counter({200: 19_000, 503: 1_000}), refused=1_000, calm=10_000,
                 calm_refused=10)  # fmt: skip
    return replace(good, **worse)  # type: ignore[arg-type]


GOOD = Found(
    kernel_kills=0,
    peak_bytes=400 * MIB,
    limit_bytes=512 * MIB,
    trend=Trend(MIB, -2 * MIB, 3 * MIB, hours=0.5),
    last_level="OK",
    calm_after_seconds=1.0,
    tally=tally(),
    kills=[10.0],
    deaths={"signal": 1, "oom": 0},
    health_answered=1000,
    health_failures=[Broken("GET /health", 10.1, 10.2)],
    acknowledged={"purchases": 5},
    stored={"purchases": []},
    oversold=0,
    exit_status=0,
)


BOUND = FLAT_SHARE * GOOD.limit_bytes


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
    unknown = Trend(0, -BOUND, BOUND + 1, hours=1.0)
    (told,) = [each for each in verdicts(replace(GOOD, trend=unknown)) if "memory" in each.promise]
    assert told.is_kept is None


def test_a_soak_in_which_all_is_refused_is_none() -> None:
    """Nor is one that has asked nothing."""
    refused = Tally(statuses=Counter({503: 100}), refused=100, calm=50, calm_refused=50)
    assert len(broken(replace(GOOD, tally=refused))) == 2
    assert len(broken(replace(GOOD, tally=Tally()))) == 2


GROWING = Trend(4 * BOUND, 2 * BOUND + 1, 6 * BOUND, hours=0.5)


@pytest.mark.parametrize(
    "worse",
    [
        {"kernel_kills": 1},
        {"stored": {"purchases": ["1 lost"]}},
        {"acknowledged": {"purchases": 0}},
        {"oversold": 1},
        {"trend": GROWING},
        {"last_level": "WARNING"},
        {"deaths": {"signal": 2}},
        {"deaths": {"crash": 1}},
        {"tally": tally(refused=2_001)},
        {"tally": tally(calm_refused=11)},
        {"tally": tally(calm=0, calm_refused=0)},
        {"tally": tally(bare=["GET /: 503"])},
        {"tally": tally(unmeant=["GET /: 500"])},
        {"tally": tally(broken=[Broken("GET /", 1.0, 2.0)])},
        {"health_failures": [Broken("GET /health", 1.0, 2.0)]},
        {"exit_status": 1},
    ],
    ids=lambda worse: next(iter(worse)),
)
def test_each_promise_can_be_broken(worse: dict[str, object]) -> None:
    """One at a time."""
    assert len(broken(replace(GOOD, **worse))) == 1  # type: ignore[arg-type]
