"""The tables of runs that nobody has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.beforeafter import tables
from benchmarks.beforeafter.scenario import read
from benchmarks.record import machine
from tests.beforeafter.test_scenario import MINIMAL, write


def way(title: str, *peaks_mb: int, failed: int = 0) -> dict[str, Any]:
    """Return what is kept of one way: a run for each of *peaks_mb*."""
    outcomes = {"looks": {"ok": 50, "503": failed} if failed else {"ok": 50}}
    runs = [{"figures": {"peak_bytes": mb * 2**20}, "outcomes": outcomes} for mb in peaks_mb]
    return {"title": title, "runs": runs}


def test_a_backend_has_a_row_for_each_figure_that_is_known(tmp_path: Path) -> None:
    """A column for each way, and what failed most in each."""
    ways = {"naive": way("as it was", 500, 700, 600, failed=7), "tonnage": way("on Tonnage", 100)}
    found = tables.of_backend(read(write(tmp_path, MINIMAL)), ways, 3, 512 * 2**20, machine())

    assert found.columns == ["", "as it was", "on Tonnage"]
    assert found.rows == [["memory, peak of samples", "600 MB (500 MB to 700 MB)", "100 MB"]]
    assert found.notes[-1] == "failed, as it was: 21x 503 in 'looks'."


def test_what_a_figure_depends_on_stands_below_it(tmp_path: Path) -> None:
    """What the scenario says of itself, by what is probed, and what became of each kind."""
    naive = way("as it was", 500, 700)
    for run in naive["runs"]:
        run["records"] = {"events": {"acknowledged": 1000, "lost": 2}}
    scenario = read(write(tmp_path, f'notes = ["The load fits the cache."]\n{MINIMAL}'))
    found = tables.of_backend(scenario, {"naive": naive}, 3, 512 * 2**20, machine())

    assert "The load fits the cache." in found.notes
    assert any("`GET /events`" in note for note in found.notes)
    assert "acknowledged, as it was: 2,000 events, 4 lost." in found.notes


def test_the_claims_are_judged_by_what_is_saved(tmp_path: Path) -> None:
    """All are in the table, also those of backends that were not measured."""
    ways = {"naive-wide": way("as it was", 1000), "tonnage": way("on Tonnage", 300)}
    backend = tables.of_backend(read(write(tmp_path, MINIMAL)), ways, 3, 512 * 2**20, machine())
    found = tables.of_claims({"fitflix": backend})

    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["75 % lower peak memory"] == ["fitflix", "1000 MB → 300 MB (−70 %)", "not reached"]
    assert rows["never over 400 MB"][-1] == "reached"
    assert rows["60 to 75 % lower memory"] == ["lvlup", "-", "not measured"]
