"""What is judged without measuring: the results in benchmarks/results, which anybody can read."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from benchmarks import beforeafter
from benchmarks.beforeafter import tables
from benchmarks.record import REPORT, RESULTS, load_all


def test_where_nothing_is_saved_nothing_is_judged(tmp_path: Path) -> None:
    """Rather than that every claim was not measured; and nothing is written."""
    parser = argparse.ArgumentParser()
    beforeafter.add_options(parser)
    chosen = parser.parse_args(["--saved", "--images", str(tmp_path / "images")])
    chosen.results = tmp_path

    with pytest.raises(SystemExit, match=r"nothing is saved in .*: measure first, without"):
        beforeafter.run(chosen)
    assert list(tmp_path.iterdir()) == []


def test_the_page_says_what_follows_from_what_is_saved() -> None:
    """The claims are judged anew; their section names the command that measured."""
    saved = {
        each.name.removeprefix(f"{tables.NAME}-"): each
        for each in load_all(RESULTS)
        if each.name.startswith(f"{tables.NAME}-")
    }
    found = tables.of_claims(saved)
    page = REPORT.read_text()

    assert sorted(saved) == ["eventide", "fibuca", "fitflix", "lvlup"]
    assert found.details["unexplained"] == []
    assert found.command == "python -m benchmarks beforeafter"
    assert "\n".join(found.markdown().splitlines()) in page
    assert all("\n".join(each.markdown().splitlines()) in page for each in saved.values())
