"""The claims: each is judged by figures, and none is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.beforeafter import figures
from benchmarks.beforeafter.claims import CLAIMS, Claim, Rule, judge, notes, reasons, unexplained

from tonnage.units import MIB


def claim(figure: str, rule: Rule, bound: float = 0.0) -> Claim:
    """Return a claim against the naive backend with all its memory."""
    return Claim("key", "fitflix", "said", figure, rule, bound)


@pytest.mark.parametrize(
    ("rule", "bound", "theirs", "ours", "measured", "verdict"),
    [
        ("lower by", 0.75, 800, 200, "800 MB → 200 MB (−75 %)", "reached"),
        ("lower by", 0.75, 800, 300, "800 MB → 300 MB (−62 %)", "not reached"),
        ("lower by", 0.75, 100, 200, "100 MB → 200 MB (+100 %)", "not reached"),
        ("at most", 400 * MIB, 800, 400, "800 MB → 400 MB", "reached"),
        ("at most", 400 * MIB, 800, 401, "800 MB → 401 MB", "not reached"),
        ("at least", 400 * MIB, 800, 401, "800 MB → 401 MB", "reached"),
        ("at least", 400 * MIB, 800, 399, "800 MB → 399 MB", "not reached"),
        ("instead", 0, 800, 399, "800 MB → 399 MB", "see below"),
    ],
)
def test_a_claim_is_judged_by_medians(
    rule: Rule, bound: float, theirs: int, ours: int, measured: str, verdict: str
) -> None:
    """What both have shown, and whether that is what was claimed."""
    runs = {
        "naive-wide": [{"peak_bytes": theirs * MIB}],
        "tonnage": [{"peak_bytes": n * MIB} for n in (1, ours, 9999)],
    }
    found = judge(claim("peak_bytes", rule, bound), runs)

    assert (found.measured, found.verdict) == (measured, verdict)


@pytest.mark.parametrize(
    ("rule", "bound", "before", "theirs", "ours", "verdict"),
    [
        ("at most", 10, 30, 30, 10, "reached"),
        ("at most", 10, 30, 29, 10, "kept; trouble not shown"),
        ("at most", 10, 30, 29, 11, "not reached"),
        ("at least", 10, 5, 5, 10, "reached"),
        ("at least", 10, 5, 6, 10, "kept; trouble not shown"),
        ("at least", 10, 5, None, 10, "kept; trouble not shown"),
        ("at least", 10, 5, 5, 9, "not reached"),
    ],
)
def test_a_difference_is_shown_only_where_there_was_trouble_before(
    rule: Rule, bound: float, before: float, theirs: float | None, ours: float, verdict: str
) -> None:
    """Who is as good as claimed has not yet become better."""
    told = Claim("key", "fibuca", "said", "image_seconds", rule, bound, before=before)
    naive = {} if theirs is None else {"image_seconds": theirs}

    found = judge(told, {"naive-wide": [naive], "tonnage": [{"image_seconds": ours}]})

    assert found.verdict == verdict


def test_what_was_not_measured_is_not_judged() -> None:
    """Neither where we have no figure, nor where a share of nothing is asked for."""
    assert judge(claim("peak_bytes", "at most", 1), {}).verdict == "not measured"
    alone = {"tonnage": [{"peak_bytes": 1.0}]}
    assert judge(claim("peak_bytes", "lower by", 0.1), alone).verdict == "not measured"
    assert judge(claim("peak_bytes", "at most", 1), alone).verdict == "reached"


def test_who_has_answered_nobody_is_compared_by_what_it_could_with_more() -> None:
    """Rather than not at all."""
    runs = {
        "naive-wide": [{"p50_seconds": 0.4}],
        "naive": [{"error_share": 1.0}],
        "tonnage": [{"p50_seconds": 0.1}],
    }
    faster = Claim("key", "fitflix", "said", "p50_seconds", "lower by", 0.3, "naive")
    assert judge(faster, runs).measured == "400 ms → 100 ms (−75 %)"


@pytest.mark.parametrize(
    ("fault", "told"),
    [({"error_share": 0.02}, "2.0% of requests failed"), ({"kernel_kills": 1.0}, "killed 1 times")],
)
def test_who_refuses_or_is_killed_has_reached_nothing(fault: figures.Figures, told: str) -> None:
    """However little memory that took."""
    small = {"peak_bytes": float(MIB)}
    runs = {"naive-wide": [{"peak_bytes": 9.0 * MIB}], "tonnage": [{**small, **fault}]}

    found = judge(claim("peak_bytes", "lower by", 0.5), runs)

    assert found.verdict == "not reached"
    assert told.split()[0] in found.measured


def test_each_claim_has_a_key_and_a_figure_of_its_own() -> None:
    """Keys are what reasons are found by; figures are those of the tables."""
    keys = [each.key for each in CLAIMS]

    assert len(set(keys)) == len(keys)
    assert {each.figure for each in CLAIMS} <= figures.TITLES.keys()


def test_a_reason_is_shown_where_one_is_needed() -> None:
    """And it is told where one is missing."""
    high = {"tonnage": [{"peak_bytes": 9.0}]}
    found = [
        judge(Claim(key, "fitflix", f"claim {key}", "peak_bytes", rule, bound, before=before), high)
        for key, rule, bound, before in _RULES
    ]

    why = {"missed": "too small a machine", "met": "nobody asks", "kept": "no figure before"}
    assert notes(found, why) == [
        "claim missed: too small a machine",
        "claim kept: no figure before",
    ]
    assert unexplained(found, why) == ["told"]


_RULES: tuple[tuple[str, Rule, float, float | None], ...] = (
    ("met", "at most", 9, None),
    ("missed", "at most", 8, None),
    ("kept", "at most", 9, 10),
    ("told", "instead", 0, None),
)


def test_reasons_are_for_claims_that_there_are(tmp_path: Path) -> None:
    """A wrong key is told; those of the project are right."""
    assert all(reasons().values())
    path = tmp_path / "why.toml"
    path.write_text('uptme = "since"')
    with pytest.raises(ValueError, match=r"why\.toml: uptme: no such claim: use one of .*uptime"):
        reasons(path)
