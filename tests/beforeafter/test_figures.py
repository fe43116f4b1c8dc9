"""The figures of a run: sums of answers, and how they are written."""

from __future__ import annotations

import pytest
from benchmarks.beforeafter import figures
from benchmarks.beforeafter.crowd import OK, TIMED_OUT, Answer, Played
from benchmarks.beforeafter.told import Told

from tonnage.units import MIB


def played(*answers: tuple[float, float, str]) -> Played:
    """Return a load of ten seconds with these answers."""
    return Played(0.0, 10.0, [Answer("looks", *each) for each in answers])


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
    assert figures.of_answers(played()) == {"per_second": 0, "concurrency": 0}


def test_only_good_answers_in_time_count_as_served_at_once() -> None:
    """One that ends as another begins is not at once with it."""
    done = played((0, 2, OK), (1, 3, OK), (2, 4, OK), (0, 1, "500"), (0, 9, OK))
    assert figures.of_answers(done)["concurrency"] == 2


def test_times_without_an_answer_are_summed_and_the_longest_is_told() -> None:
    """From probes at equal distances."""
    found = figures.of_probes([True, False, False, True, False], 0.25)
    assert found == {
        "silent_seconds": 0.75,
        "longest_silence_seconds": 0.5,
        "up_share": pytest.approx(0.4),
    }


def test_records_are_lost_where_fewer_were_made_than_acknowledged() -> None:
    """More may be made than was acknowledged; paths that are no tables do not count."""
    acknowledged = {"events": 100, "revenue": 100, "beat": 7}
    found = figures.of_records(acknowledged, {"events": 90, "revenue": 120, "users": 3})

    # None of 100 purchases may hide behind many events.
    assert found == {"lost_share": pytest.approx(0.1)}
    assert figures.of_records({"beat": 7}, {"events": 90}) == {}


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
