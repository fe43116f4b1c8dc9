"""The figures of a run: sums of answers, and how they are written."""

from __future__ import annotations

import pytest
from benchmarks.beforeafter import figures
from benchmarks.beforeafter.crowd import OK, TIMED_OUT, Answer, Played
from benchmarks.beforeafter.told import Told

from tonnage.units import MIB


def played(*answers: tuple[float, float, str]) -> Played:
    """Return a load of ten seconds with these answers."""
    return Played(0.0, 10.0, [Answer("looks", 1, *each) for each in answers])


def test_requests_are_counted_once_each() -> None:
    """Rates by what came in time; times of good answers; shares of all."""
    done = played((0, 1, OK), (0, 3, OK), (9, 11, OK), (1, 9, TIMED_OUT), (5, 6, "503"))
    found = figures.of_answers(done)

    assert found["per_second"] == 0.2
    assert found["p50_seconds"] == 2
    assert found["error_share"] == pytest.approx(2 / 5)
    assert found["timeout_share"] == pytest.approx(1 / 5)
    assert "image_seconds" not in found


def test_without_any_answer_there_are_no_times() -> None:
    """What is not known is left out."""
    assert figures.of_answers(played()) == {"per_second": 0, "clients_served": 0}


def test_served_at_once_are_those_who_get_good_answers_and_no_others() -> None:
    """In each window of five seconds: one who fails, or waits, is not served in it."""
    answers = [
        Answer("looks", client, at, at + 0.1, OK) for client in range(1, 5) for at in range(15)
    ]
    done = Played(0.0, 15.0, answers)
    assert figures.of_answers(done)["clients_served"] == 4

    # The first fails in two windows of three, the second waits in two; each spoils two.
    answers += [Answer("looks", 1, 1, 1.2, "503"), Answer("looks", 1, 6, 6.1, "503")]
    answers += [Answer("looks", 2, 4, 6.5, OK)]
    assert figures.of_answers(done)["clients_served"] == 2

    # But to a file, for which some servers let people wait until they are done with it.
    answers += [Answer("sends", 3, 4, 14.5, OK, is_file=True)]
    assert figures.of_answers(done)["clients_served"] == 2


def test_the_best_moment_is_not_what_is_told() -> None:
    """Forty at once for a moment, and nobody else in a minute."""
    burst = [Answer("looks", client, 0.0, 1.0, OK) for client in range(40)]
    assert figures.of_answers(Played(0.0, 60.0, burst))["clients_served"] == 0
    # One window is the least, however short a load is.
    assert figures.of_answers(Played(0.0, 2.0, burst))["clients_served"] == 40


def test_times_without_an_answer_are_summed_and_the_longest_is_told() -> None:
    """From probes at equal distances."""
    found = figures.of_probes([True, False, False, True, False], [True, True, True, False], 0.25)
    assert found == {
        "silent_seconds": 0.75,
        "longest_silence_seconds": 0.5,
        "up_share": pytest.approx(0.4),
        # Health may be answered while users are not.
        "health_share": 0.75,
    }


def test_each_acknowledged_record_is_looked_for_by_its_key() -> None:
    """As many others as there may be do not stand in for it."""
    acknowledged = {"events": {"1-1", "1-2", "1-3", "1-4"}, "purchases": {"shop-1", "shop-2"}}
    stored = {"events": {"1-1", "1-2", "1-3", "1-4"}, "purchases": {"shop-1", "made-1", "made-2"}}
    found = figures.records(acknowledged, stored.__getitem__)

    assert found == {"events": figures.Records(4, 0), "purchases": figures.Records(2, 1)}
    # Purchases do not hide behind many events.
    assert figures.of_records(found) == {"lost_share": 0.5}
    assert figures.of_records({}) == {}


def test_a_cell_has_the_median_and_the_range_of_those_who_know() -> None:
    """A dash where nobody does."""
    runs = [{"p50_seconds": 0.1}, {"p50_seconds": 2.0}, {"p50_seconds": 0.3}, {}]

    assert figures.cell(runs, "p50_seconds") == "300 ms (100 ms to 2.0 s)"
    assert figures.cell(runs[:1], "p50_seconds") == "100 ms"
    assert figures.cell(runs, "p99_seconds") == "-"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("peak_bytes", 812 * MIB, "812 MB"),
        ("writer_bytes", 1.5 * MIB, "1.5 MB"),
        ("log_bytes", 3000, "2.9 KB"),
        ("log_bytes", 0, "0 MB"),
        ("error_share", 0.0004, "0.04 %"),
        ("up_share", 0.9991, "99.91 %"),
        ("cache_hits_share", 0.5, "50.0 %"),
        ("error_share", 1, "100 %"),
        ("p50_seconds", 0.0123, "12.3 ms"),
        ("silent_seconds", 12, "12.0 s"),
        ("query_rows", 1234.5, "1,234 rows"),
        ("per_second", 0.5, "0"),
    ],
)
def test_figures_are_written_with_their_units(name: str, value: float, text: str) -> None:
    """Shares near to none or all have one digit more."""
    assert figures.written(name, value) == text


def test_what_tonnage_says_of_itself() -> None:
    """Counts as they were last, sizes as they were at most; two caches are one figure."""
    cache = {"hits": 80, "stale_hits": 0, "misses": 20, "shared_hits": 5, "redis_hits": 0}
    first = {
        "status": {"jobs": {"started": 1, "held_bytes": 120 * MIB}},
        "stores": [
            {"kind": "cache", "name": "days", "counts": cache, "now": {}},
            {"kind": "cache", "name": "games", "counts": cache, "now": {}},
            {
                "kind": "writer",
                "name": "events",
                "counts": {"added": 50, "dropped": 1},
                "now": {"used_bytes": 900},
            },
        ],
    }
    told = Told()
    told.note(first)
    last = {**first["stores"][2], "counts": {"added": 200, "dropped": 1}}  # type: ignore[index]
    last["now"] = {"used_bytes": 100}
    told.note({"status": {"jobs": {"started": 1, "held_bytes": 0}}, "stores": [last]})

    assert told.figures() == {
        "job_bytes": 120 * MIB,
        "writer_bytes": 900,
        "dropped_share": 0.005,
    }
    told.note(first)
    assert told.figures()["cache_hits_share"] == pytest.approx(0.85)
    assert Told().figures() == {}
